"""A movement engine with a hand on the clock, and the things it hears."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import TypeVar

from dsmip.core.types import Attachments, Instant
from dsmip.movement.actions import AddressFlags, AttachmentsChanged, DhcpLease, MovementAction
from dsmip.movement.engine import InterfaceConfig, MovementEngine
from dsmip.movement.identifiers import StableIdentifiers
from dsmip.movement.networks import KnownNetworks
from dsmip.wire.icmpv6 import (
    AdvertisementInterval,
    Mtu,
    NDOption,
    NeighborAdvertisement,
    PrefixInformation,
    RouterAdvertisement,
)

SECRET = bytes(range(32))
MAC = bytes.fromhex("020000000001")
LINK_LOCAL = IPv6Address("fe80::1:1")
HOME = IPv6Network("2001:db8:f::/64")

R1, R1_MAC, P1 = IPv6Address("fe80::a"), bytes.fromhex("0200000000a1"), IPv6Network("2001:db8:a::/64")
R2, R2_MAC, P2 = IPv6Address("fe80::b"), bytes.fromhex("0200000000b1"), IPv6Network("2001:db8:b::/64")

GATEWAY, GATEWAY_MAC = IPv4Address("10.1.0.1"), bytes.fromhex("0200000000a4")
OTHER_GATEWAY, OTHER_GATEWAY_MAC = IPv4Address("10.2.0.1"), bytes.fromhex("0200000000b4")

Kind = TypeVar("Kind", bound=MovementAction)


def advertisement(
    *prefixes: IPv6Network,
    lifetime: int = 1800,
    valid: int = 86400,
    preferred: int = 14400,
    on_link: bool = True,
    autonomous: bool = True,
    mtu: int | None = None,
    interval: int | None = None,
) -> RouterAdvertisement:
    """A Router Advertisement; `interval` in milliseconds."""
    options: list[NDOption] = [
        PrefixInformation(prefix, on_link, autonomous, False, valid, preferred) for prefix in prefixes
    ]
    if mtu is not None:
        options.append(Mtu(mtu))
    if interval is not None:
        options.append(AdvertisementInterval(interval))
    return RouterAdvertisement(router_lifetime=lifetime, options=tuple(options))


class Bench:
    """The engine, the time, and every action since the last `take`."""

    def __init__(
        self,
        interfaces: Sequence[InterfaceConfig] = (InterfaceConfig("u0"),),
        home: IPv6Network | None = HOME,
        memory: KnownNetworks | None = None,
        optimistic: bool = True,
    ) -> None:
        self.now = Instant(100.0, 1_000_100.0)
        self.memory = KnownNetworks() if memory is None else memory
        self.engine = MovementEngine(
            interfaces, home, StableIdentifiers(SECRET), self.memory, optimistic=optimistic
        )

    def take(self) -> list[MovementAction]:
        """The actions since the last time."""
        return self.engine.actions()

    def only(self, kind: type[Kind]) -> list[Kind]:
        """The actions of one kind since the last `take` or `only`."""
        return [action for action in self.take() if isinstance(action, kind)]

    def pass_time(self, seconds: float) -> None:
        """Let time pass, ticking whenever the engine wants."""
        end = self.now.monotonic + seconds
        for _ in range(1000):
            due = self.engine.timeout()
            if due is None or due > end:
                break
            self._at(max(due, self.now.monotonic))
            self.engine.tick(self.now)
        else:
            raise AssertionError("the engine ticks without end")
        self._at(end)

    def _at(self, monotonic: float) -> None:
        self.now = Instant(monotonic, self.now.unix + monotonic - self.now.monotonic)

    @property
    def attachments(self) -> Attachments:
        """What was published last."""
        return self.engine.attachments

    @property
    def addresses(self) -> list[str]:
        """The care-of addresses published last."""
        return [str(care_of.address) for care_of in self.attachments.care_of]

    def networks(self) -> list[str]:
        """Their networks."""
        return [care_of.network for care_of in self.attachments.care_of]

    def published(self) -> int:
        """How often attachments were published since the last `take`."""
        return len(self.only(AttachmentsChanged))

    # What happens ------------------------------------------------------------------------------------------

    def up(self, interface: str = "u0", *, link_local: bool = True) -> None:
        if link_local:
            self.address(LINK_LOCAL, AddressFlags.NONE, interface)
        self.engine.link_up(interface, 7, MAC, self.now)

    def down(self, interface: str = "u0") -> None:
        self.engine.link_down(interface, self.now)

    def hear(
        self,
        router: IPv6Address,
        mac: bytes,
        message: RouterAdvertisement,
        interface: str = "u0",
    ) -> None:
        self.engine.router_advertisement(interface, router, mac, message, self.now)

    def answer(self, router: IPv6Address, mac: bytes, interface: str = "u0") -> None:
        message = NeighborAdvertisement(router, router=True, solicited=True, override=True)
        self.engine.neighbor_advertisement(interface, mac, message, self.now)

    def address(self, address: IPv6Address | IPv4Address, flags: AddressFlags, interface: str = "u0") -> None:
        self.engine.address_added(interface, address, 64 if address.version == 6 else 24, flags, self.now)

    def lease(
        self,
        address: str = "10.1.0.9",
        gateway: IPv4Address = GATEWAY,
        lifetime: float | None = 3600.0,
        server_mac: bytes = GATEWAY_MAC,
        interface: str = "u0",
    ) -> DhcpLease:
        lease = DhcpLease(
            address=IPv4Address(address),
            prefix_length=24,
            obtained=self.now.unix,
            lifetime=lifetime,
            gateway=gateway,
            server=gateway,
            server_mac=server_mac,
        )
        self.engine.lease_granted(interface, lease, self.now)
        return lease

    def arp(self, gateway: IPv4Address = GATEWAY, mac: bytes = GATEWAY_MAC, interface: str = "u0") -> None:
        self.engine.arp_reply(interface, gateway, mac, self.now)
