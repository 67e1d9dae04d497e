"""A fleet of mobile routers and the Binding Updates they send, built before any clock runs.

Every vehicle has a home address, a mobile network prefix, an IPv4 home address and a key of its own. Those
with an even number are in IPv6 networks, the others in IPv4 networks behind a NAT. From round to round each
moves to another care-of address, so no update is a mere refresh: the most that a Binding Update can ask for.

In a multihomed fleet every tenth vehicle has two care-of addresses, in two IPv6 networks: one Binding Update
registers both (RFC 5648), which in IPv4 networks only those can do whose NAT is known already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from dsmip.core.authentication import MINIMUM_SPI, SecurityAssociation, ntp_timestamp
from dsmip.core.types import DSMIP_PORT, IPAddress, MobileNodeEntry
from dsmip.wire.constants import BUFlag
from dsmip.wire.messages import BindingUpdate, encode_message
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    IPv4CareOfAddress,
    IPv4HomeAddress,
    MessageIdentifier,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    MobilityOption,
)
from dsmip.wire.packet import UdpOuter, encapsulate_udp, encode_packet

HOME_AGENT = IPv6Address("2001:db8:1::2")
HOME_AGENT_IPV4 = IPv4Address("192.0.2.2")
HOME_PREFIX = IPv6Network("2001:db8:100::/64")
IPV4_HOME_PREFIX = IPv4Network("10.64.0.0/12")
MOBILE_PREFIX = IPv6Network("2001:db8:a000::/36")
#: Where vehicles are: two networks of each kind, for even and odd rounds.
VISITED = (IPv6Address("2001:db8:200::"), IPv6Address("2001:db8:201::"))
#: The same for the second care-of addresses of those that have two.
VISITED_AS_WELL = (IPv6Address("2001:db8:202::"), IPv6Address("2001:db8:203::"))
IPV4_VISITED = IPv4Address("172.16.0.0")
NAT_POOLS = (IPv4Address("100.64.0.0"), IPv4Address("100.96.0.0"))

#: The most vehicles that the addresses above suffice for, and the fewest with one of each kind.
LARGEST = 1 << 20
LEAST = 10
#: Lifetime asked for, in units of 4 seconds.
LIFETIME = 900
#: In a multihomed fleet each vehicle whose number this divides has two care-of addresses: an even number, so
#: that they are in IPv6 networks.
MULTIHOMED_EVERY = 10
_FLAGS = BUFlag.A | BUFlag.H | BUFlag.R
_FIRST_NAT_PORT = 20000


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One mobile router of the fleet, numbered from 1; `multihomed` are those with two care-of addresses."""

    number: int
    multihomed: bool = False

    @property
    def behind_nat(self) -> bool:
        """Whether it is in IPv4 networks behind a NAT."""
        return self.number % 2 == 1

    @property
    def home_address(self) -> IPv6Address:
        """In the home prefix."""
        return HOME_PREFIX[0x10000 + self.number]

    @property
    def ipv4_home_address(self) -> IPv4Address:
        """In the IPv4 home prefix."""
        return IPV4_HOME_PREFIX[self.number]

    @property
    def prefix(self) -> IPv6Network:
        """The network behind it."""
        return IPv6Network((int(MOBILE_PREFIX.network_address) + (self.number << 64), 64))

    @property
    def identifier(self) -> str:
        """Its NAI (RFC 4283)."""
        return f"vehicle-{self.number}"

    @property
    def spi(self) -> int:
        """The SPI of its security association: with one key each, it need not differ."""
        return MINIMUM_SPI

    @property
    def key(self) -> bytes:
        """The key of its security association: the same in every run."""
        return hashlib.sha256(b"fleet %d" % self.number).digest()[:16]

    def care_of(self, number: int) -> IPAddress:
        """The address it has in a round, as it sees it itself."""
        if self.behind_nat:
            return IPV4_VISITED + self.number
        return VISITED[number % 2] + self.number

    def care_ofs(self, number: int) -> tuple[IPAddress, ...]:
        """All the addresses it has in a round: `care_of` first, and of the multihomed another one."""
        first = self.care_of(number)
        return (first, VISITED_AS_WELL[number % 2] + self.number) if self.multihomed else (first,)

    def nat_source(self, number: int) -> tuple[IPv4Address, int]:
        """Address and port the home agent sees in a round, of a vehicle behind a NAT."""
        return NAT_POOLS[number % 2] + self.number, _FIRST_NAT_PORT + number % 40000

    def entry(self) -> MobileNodeEntry:
        """What the home agent is configured to know."""
        return MobileNodeEntry(
            home_address=self.home_address,
            identifier=self.identifier,
            spi=self.spi,
            key=self.key,
            prefixes=(self.prefix,),
            ipv4_home_address=self.ipv4_home_address,
        )

    def update(
        self, number: int, unix: float, *, place: int | None = None, lifetime: int = LIFETIME
    ) -> bytes:
        """The Binding Update of a round as a whole packet, stamped with the time of day `unix`.

        From where the vehicle was in the round `place`, None = in this one. `lifetime` is in units.
        """
        place = number if place is None else place
        care_of = self.care_of(place)
        message = BindingUpdate(
            number % 65536,
            _FLAGS,
            lifetime,
            (
                *self._addresses(place),
                MobileNetworkPrefix.of(self.prefix),
                IPv4HomeAddress(self.ipv4_home_address),
                MobileNodeIdentifier(self.identifier.encode()),
                MessageIdentifier(ntp_timestamp(unix)),
                Authentication(self.spi, b""),
            ),
        )
        home = self.home_address
        sign = SecurityAssociation(self.spi, self.key, self.identifier).signer(care_of, home)
        header = encode_message(message, home, HOME_AGENT, sign)
        if isinstance(care_of, IPv4Address):
            source, port = self.nat_source(place)
            outer = UdpOuter(source, port, HOME_AGENT_IPV4, DSMIP_PORT)
            return encapsulate_udp(encode_packet(home, HOME_AGENT, header), outer)
        return encode_packet(care_of, HOME_AGENT, header, home_address=home)

    def _addresses(self, place: int) -> tuple[MobilityOption, ...]:
        """The options that say where it is."""
        care_of = self.care_of(place)
        if self.multihomed:
            addresses = enumerate(self.care_ofs(place), 1)
            return tuple(BindingIdentifier(bid, priority=bid, care_of=address) for bid, address in addresses)
        if isinstance(care_of, IPv4Address):
            return (IPv4CareOfAddress(care_of),)
        return (AlternateCareOfAddress(care_of),)


def vehicles(count: int, *, multihomed: bool = False) -> list[Vehicle]:
    """The first `count` of the fleet, a tenth of them with two care-of addresses if it is `multihomed`.

    Raises ValueError beyond LARGEST.
    """
    if count > LARGEST:
        raise ValueError(f"a fleet of {count}: there are addresses for {LARGEST}")
    return [Vehicle(number, multihomed and number % MULTIHOMED_EVERY == 0) for number in range(1, count + 1)]


def care_of_addresses(fleet: Iterable[Vehicle]) -> int:
    """How many care-of addresses everybody together has."""
    return sum(2 if vehicle.multihomed else 1 for vehicle in fleet)


def updates(fleet: Iterable[Vehicle], number: int, unix: float) -> list[bytes]:
    """The Binding Updates of everybody in a round (numbered from 1)."""
    return [vehicle.update(number, unix) for vehicle in fleet]
