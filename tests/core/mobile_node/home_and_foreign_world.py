"""Several uplinks, one of which may be the home link, and the real home agent behind both."""

from __future__ import annotations

from dataclasses import replace

from mobile_node_bench import HOME, at
from multihomed_world import MULTIHOMED, POLICY
from real_home_agent_world import CONFIG, RealWorld

from dsmip.core.actions import (
    Action,
    ComeHome,
    LeaveHome,
    MeetHome,
    NoteNeighbor,
    SendDatagram,
    SendIPv4,
    SendPacket,
    SettleHome,
    ShareHome,
)
from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.policy import InterfacePolicy, UplinkChoice
from dsmip.core.types import Attachments, CareOfAddress, HomeAttachment

MAC = bytes.fromhex("02005e000001")
AT_HOME = replace(HOME, link_layer=MAC)
HOME_BID = 5

#: The home link is the best there is.
WITH_HOME = replace(
    MULTIHOMED,
    multihoming=replace(
        POLICY,
        interfaces=(*POLICY.interfaces, InterfacePolicy(HOME.interface, UplinkChoice(preference=5))),
    ),
)
WITH_LINK = replace(CONFIG, home_link=True, dad=False)


class HomeWorld(RealWorld):
    """`on_link`: the home address is answered for there. `native`: nothing passes the tunnel device."""

    def __init__(
        self, config: MobileNodeConfig = WITH_HOME, agent: HomeAgentConfig = WITH_LINK, **options: object
    ) -> None:
        super().__init__(config, agent, **options)
        self.home: HomeAttachment | None = None
        self.on_link = False
        self.native = False
        self.met: list[HomeAttachment] = []
        self.neighbors: list[bytes] = []

    def be(self, *care_of: CareOfAddress, home: HomeAttachment | None = AT_HOME) -> list[Action]:
        """These care-of addresses are there from now on, and the home link or not."""
        self.here, self.home = care_of, home
        self.node.attachments_changed(Attachments(home, care_of), at(self.time))
        return self.drain()

    def _does(self, action: Action) -> None:
        super()._does(action)
        match action:
            case ComeHome():
                self.on_link = True
            case ShareHome():
                self.on_link, self.native = True, False
            case SettleHome():
                self.on_link = self.native = True
            case MeetHome(home=home):
                self.met.append(home)
            case LeaveHome():
                self.on_link = self.native = False
            case _:
                pass

    def heard(self, action: Action) -> None:
        if isinstance(action, NoteNeighbor):
            self.neighbors.append(action.link_layer)

    def _alive(self, interface: str) -> bool:
        if self.home is not None and interface == self.home.interface:
            return interface not in self.dead
        return super()._alive(interface)

    def _interface(self, action: SendPacket | SendDatagram | SendIPv4) -> str:
        return action.interface

    @property
    def bound(self) -> set[int]:
        """Binding identifiers at the home agent."""
        binding = self.agent.binding
        return {one.bid for one in binding.care_ofs} if binding is not None else set()

    @property
    def home_bound(self) -> bool:
        binding = self.agent.binding
        return binding is not None and binding.at_home
