"""Several uplinks, one of them behind a NAT, and the real home agent's engine at the other end."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from mobile_node_bench import HOME_AGENT_IPV4, Sent, at
from mobile_node_world import HOME_AGENT_CONFIG
from multihomed_world import MULTIHOMED, NATED, Bound, MultihomedWorld

from dsmip.core.actions import Action, InstallBinding, SendDatagram, SendIPv4, SendPacket
from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.types import Binding, FlowBinding, UdpEndpoint
from dsmip.wire.extensions import Extensions
from dsmip.wire.packet import UdpOuter, encapsulate_udp
from dsmip.wire.pathprobe import ProbePayload

OUTSIDE = IPv4Address("203.0.113.77")
CONFIG = replace(HOME_AGENT_CONFIG, extensions=Extensions.PROBES | Extensions.DUPLICATION)


class RealHomeAgent:
    """The home agent's engine, seen as the hand-made one is."""

    knows_flows = True
    extensions = Extensions.PROBES

    def __init__(self, config: HomeAgentConfig) -> None:
        self.config = config
        self.engine = HomeAgent(config)

    @property
    def binding(self) -> Binding | None:
        return next(iter(self.engine.bindings.values()), None)

    @property
    def bindings(self) -> dict[int, Bound]:
        if self.binding is None:
            return {}
        return {
            one.bid: Bound(NATED.address if one.care_of == OUTSIDE else one.care_of, one.priority)
            for one in self.binding.care_ofs
        }

    @property
    def order(self) -> list[int]:
        return [one.bid for one in self.binding.care_ofs] if self.binding is not None else []

    @property
    def flows(self) -> dict[int, FlowBinding]:
        return {flow.fid: flow for flow in self.binding.flows} if self.binding is not None else {}

    def restart(self) -> None:
        self.engine = HomeAgent(self.config)


class RealWorld(MultihomedWorld):
    """`port` is where the NAT in front of the second modem maps to; it may change its mind."""

    agent: RealHomeAgent  # type: ignore[assignment]

    def __init__(
        self, config: MobileNodeConfig = MULTIHOMED, agent: HomeAgentConfig = CONFIG, **options: object
    ) -> None:
        super().__init__(config, **options)  # type: ignore[arg-type]
        self.agent = RealHomeAgent(agent)
        self.port = 40001
        self.installed: list[Binding] = []

    def run(self, until: float) -> list[Action]:
        actions = super().run(until)
        self.agent.engine.tick(at(self.time))
        self.agent.engine.actions()
        return actions

    def heard(self, action: Action) -> None:
        """The home agent wants something done."""

    def _outside(self, local: UdpEndpoint) -> UdpEndpoint:
        return UdpEndpoint(OUTSIDE, self.port) if local.address == NATED.address else local

    def _update_arrives(self, sent: Sent) -> None:
        action = sent.action
        if isinstance(action, SendDatagram):
            source = self._outside(action.local)
            outer = UdpOuter(source.address, source.port, action.remote.address, action.remote.port)
            data = encapsulate_udp(action.payload, outer)
        else:
            data = action.packet
        self.agent.engine.receive(data, at(self.time))
        for answer in self.agent.engine.actions():
            self.heard(answer)
            if isinstance(answer, InstallBinding):
                self.installed.append(answer.binding)
            elif isinstance(answer, SendPacket):
                self._later(
                    action.interface, lambda answer=answer: self.node.receive(answer.packet, at(self.time))
                )
            elif isinstance(answer, SendDatagram) and isinstance(action, SendDatagram):
                outer = UdpOuter(HOME_AGENT_IPV4, 4191, action.local.address, action.local.port)
                back = encapsulate_udp(answer.payload, outer)
                self._later(action.interface, lambda back=back: self.node.receive(back, at(self.time)))

    def _probe_arrives(self, action: SendPacket | SendDatagram | SendIPv4, payload: ProbePayload) -> None:
        binding = self.agent.binding
        entry = binding.care_of_binding(payload.bid) if binding is not None else None
        if entry is None:
            return
        if isinstance(action, SendDatagram) and entry.nat_source != self._outside(action.local):
            return
        data = payload.encode()
        sequence = payload.sequence & 0xFFFF
        self._later(
            action.interface, lambda: self.node.echo_reply(payload.bid, sequence, at(self.time), data)
        )
