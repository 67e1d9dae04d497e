"""Mobile nodes and routers as the tests write their packets, and the configuration that serves them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from dsmip.core.authentication import SecurityAssociation, ntp_timestamp
from dsmip.wire.constants import BUFlag, NextHeader
from dsmip.wire.icmpv6 import EchoRequest
from dsmip.wire.messages import BindingAcknowledgement, BindingUpdate, encode_message
from dsmip.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    MessageIdentifier,
    MobileNodeIdentifier,
    MobilityOption,
)
from dsmip.wire.packet import Packet, encode_packet
from tests.conformance.home_agent.world import HOME_AGENT, Frame, icmpv6

AH = BUFlag.A | BUFlag.H
KEY = bytes(range(16))
SPI = 0x1000

#: How many of each kind the home agent is configured with. No two tests share one.
NODES, ROUTERS, PREFIX_HOMED, KEYED = 250, 250, 20, 20

SETTINGS = """\
mobile_prefixes = ["2001:db8:4000::/36", "2001:db8:5000::/36"]
error_rate = 100000.0
home_agent_preference = 10
"""


@dataclass(frozen=True)
class Mobile:
    """One mobile node; `number` tells it from others of its kind."""

    number: int
    home: IPv6Address
    prefixes: tuple[IPv6Network, ...] = ()
    identifier: str = ""

    @property
    def care_of(self) -> IPv6Address:
        """Its address on the first foreign link."""
        return IPv6Address((0x20010DB802000000 << 64) + (int(self.home) & 0xFFFF_FFFF_FFFF_FFFF))

    @property
    def other_care_of(self) -> IPv6Address:
        """Its address on the second foreign link."""
        return IPv6Address((0x20010DB803000000 << 64) + (int(self.home) & 0xFFFF_FFFF_FFFF_FFFF))

    @property
    def link_local(self) -> IPv6Address:
        return IPv6Address((0xFE80 << 112) + (int(self.home) & 0xFFFF_FFFF_FFFF_FFFF))

    @property
    def mac(self) -> bytes:
        """Its link-layer address when it is at home."""
        return b"\x02\x0d" + (int(self.home) & 0xFFFF_FFFF).to_bytes(4)

    @property
    def flags(self) -> BUFlag:
        """The flags of its Binding Updates: those of a mobile router if it has prefixes."""
        return AH | BUFlag.R if self.prefixes else AH

    def host(self, number: int = 0) -> IPv6Address:
        """A node in one of its mobile networks."""
        return self.prefixes[number][0x77]

    def message(
        self,
        *,
        sequence: int = 15,
        flags: BUFlag | None = None,
        lifetime: int = 105,
        care_of: IPv6Address | None = None,
        alternate: IPv6Address | None = None,
        options: Iterable[MobilityOption] = (),
        home: IPv6Address | None = None,
        unix: float | None = None,
    ) -> bytes:
        """The mobility header of a Binding Update with an Alternate Care-of Address option.

        `unix` is the time of day of an authenticated one.
        """
        home, care_of = home or self.home, alternate or care_of or self.care_of
        all_options: list[MobilityOption] = [AlternateCareOfAddress(care_of), *options]
        signer = None
        if unix is not None:
            all_options += [
                MobileNodeIdentifier(self.identifier.encode()),
                MessageIdentifier(ntp_timestamp(unix)),
                Authentication(SPI, b""),
            ]
            signer = SecurityAssociation(SPI, KEY, self.identifier).signer(care_of, home)
        chosen = self.flags if flags is None else flags
        return encode_message(
            BindingUpdate(sequence, chosen, lifetime, tuple(all_options)), home, HOME_AGENT, signer
        )

    def update(
        self,
        *,
        sequence: int = 15,
        flags: BUFlag | None = None,
        lifetime: int = 105,
        care_of: IPv6Address | None = None,
        options: Iterable[MobilityOption] = (),
        home: IPv6Address | None = None,
        unix: float | None = None,
    ) -> bytes:
        """A Binding Update from a foreign link."""
        source, home = care_of or self.care_of, home or self.home
        header = self.message(
            sequence=sequence,
            flags=flags,
            lifetime=lifetime,
            care_of=source,
            options=options,
            home=home,
            unix=unix,
        )
        return encode_packet(source, HOME_AGENT, header, home_address=home)

    def update_at_home(
        self, *, sequence: int = 16, lifetime: int = 0, option: bool = False, flags: BUFlag | None = None
    ) -> bytes:
        """A de-registration from the home link, with or without a home address option."""
        header = self.message(sequence=sequence, flags=flags, lifetime=lifetime, alternate=self.home)
        return encode_packet(self.home, HOME_AGENT, header, home_address=self.home if option else None)

    def probe(self, care_of: IPv6Address | None = None) -> bytes:
        """An echo request with a home address option: answered if there is such a binding."""
        return icmpv6(EchoRequest(7, 1), care_of or self.care_of, HOME_AGENT, home_address=self.home)

    def table(self) -> str:
        """Its part of the home agent's configuration file."""
        lines = [f'[[mobile_node]]\nname = "m{int(self.home):x}"\nhome_address = "{self.home}"']
        if self.prefixes:
            lines.append("mobile_network_prefixes = [" + ", ".join(f'"{p}"' for p in self.prefixes) + "]")
        if self.identifier:
            lines.append(f'identifier = "{self.identifier}"\nspi = {SPI}\nkey = "{KEY.hex()}"')
        else:
            lines.append('authentication = "none"')
        return "\n".join(lines) + "\n"


def node(number: int) -> Mobile:
    """A mobile node with a home address on the home link."""
    return Mobile(number, IPv6Address(f"2001:db8:100::1:{number + 1:x}"))


def router(number: int) -> Mobile:
    """A mobile router with a home address on the home link and two prefixes."""
    prefixes = tuple(IPv6Network(f"2001:db8:{0x4000 + 2 * number + i:x}::/64") for i in range(2))
    return Mobile(number, IPv6Address(f"2001:db8:100::2:{number + 1:x}"), prefixes)


def prefix_homed(number: int) -> Mobile:
    """A mobile router with a home address out of its own prefix."""
    prefix = IPv6Network(f"2001:db8:{0x5000 + number:x}::/64")
    return Mobile(number, prefix[1], (prefix,))


def keyed(number: int) -> Mobile:
    """A mobile router that has to authenticate itself."""
    made = router(ROUTERS + number)
    home = IPv6Address(f"2001:db8:100::3:{number + 1:x}")
    return Mobile(number, home, made.prefixes, f"keyed{number}@example.com")


_KINDS = ((node, NODES), (router, ROUTERS), (prefix_homed, PREFIX_HOMED), (keyed, KEYED))


def settings() -> str:
    """The part of the configuration file that is about mobile nodes."""
    tables = [make(number).table() for make, count in _KINDS for number in range(count)]
    return SETTINGS + "".join(tables)


@dataclass
class Supply:
    """Mobile nodes nobody has used yet."""

    def __post_init__(self) -> None:
        self._made = {make.__name__: iter([make(n) for n in range(count)]) for make, count in _KINDS}

    def _next(self, kind: str) -> Mobile:
        made: Iterator[Mobile] = self._made[kind]
        return next(made)

    def node(self) -> Mobile:
        return self._next("node")

    def router(self) -> Mobile:
        return self._next("router")

    def prefix_homed(self) -> Mobile:
        return self._next("prefix_homed")

    def keyed(self) -> Mobile:
        return self._next("keyed")


def acknowledgement(frames: Iterable[Frame]) -> tuple[Packet, BindingAcknowledgement]:
    """The one Binding Acknowledgement among them."""
    found = acknowledgements(frames)
    assert len(found) == 1, [message for _, message in found]
    return found[0]


def acknowledgements(frames: Iterable[Frame]) -> list[tuple[Packet, BindingAcknowledgement]]:
    """All of them."""
    return [
        (frame.packet, frame.message)
        for frame in frames
        if frame.packet is not None and isinstance(frame.message, BindingAcknowledgement)
    ]


def tunnelled(frames: Iterable[Frame]) -> list[tuple[Packet, bytes]]:
    """Packets in IPv6-in-IPv6: the outer packet, and the inner one as it is."""
    return [
        (frame.packet, frame.packet.payload)
        for frame in frames
        if frame.packet is not None and frame.packet.next_header == NextHeader.IPV6
    ]


def in_tunnel(inner: bytes, care_of: IPv6Address) -> bytes:
    """A reverse-tunnelled packet."""
    return encode_packet(care_of, HOME_AGENT, inner, NextHeader.IPV6)
