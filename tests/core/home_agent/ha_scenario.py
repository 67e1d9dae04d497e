"""A home agent, mobile nodes that write Binding Updates by hand, and readers for what comes back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from random import Random
from typing import TypeVar

from dsmip.core.actions import (
    Action,
    Drop,
    InstallBinding,
    RemoveBinding,
    SendDatagram,
    SendPacket,
    StartDad,
    StoreBinding,
)
from dsmip.core.authentication import SecurityAssociation, ntp_timestamp
from dsmip.core.home_agent.engine import HomeAgent, HomeAgentConfig
from dsmip.core.types import Binding, Instant, IPAddress, MobileNodeEntry
from dsmip.wire.constants import BUFlag
from dsmip.wire.icmpv6 import Icmpv6Message, PrefixInformation, RouterAdvertisement, encode_icmpv6
from dsmip.wire.messages import (
    BindingAcknowledgement,
    BindingUpdate,
    covered_octets,
    decode_message,
    encode_message,
)
from dsmip.wire.options import (
    Authentication,
    IPv4CareOfAddress,
    MessageIdentifier,
    MobileNodeIdentifier,
    MobilityOption,
    find,
)
from dsmip.wire.packet import Packet, UdpOuter, decode_packet, encapsulate_udp, encode_packet

HA = IPv6Address("2001:db8:100::1")
HA4 = IPv4Address("192.0.2.1")
HOME_PREFIX = IPv6Network("2001:db8:100::/64")
HOME = IPv6Address("2001:db8:100::1234")
OWN_LINK_LOCAL = IPv6Address("fe80::a")
ROUTER = IPv6Address("fe80::b")
ALL_NODES = IPv6Address("ff02::1")
COA1 = IPv6Address("2001:db8:200::5678")
COA2 = IPv6Address("2001:db8:300::9abc")
CORRESPONDENT = IPv6Address("2001:db8:400::cafe")
MNP1 = IPv6Network("2001:db8:1001::/64")
MNP2 = IPv6Network("2001:db8:1002::/64")
COA4 = IPv4Address("198.51.100.7")
NAT4 = IPv4Address("203.0.113.99")
HOME4 = IPv4Address("192.0.2.44")
KEY = bytes(range(16))
SPI = 0x1000
NAI = "mr1@example.com"

ENTRY = MobileNodeEntry(
    home_address=HOME,
    identifier=NAI,
    spi=SPI,
    key=KEY,
    prefixes=(MNP1, MNP2),
    ipv4_home_address=HOME4,
    ipv4_prefixes=(IPv4Network("192.0.2.64/28"),),
)
PLAIN_ENTRY = replace(ENTRY, authentication="none", spi=0, key=b"")
CONFIG = HomeAgentConfig(
    address=HA,
    ipv4_address=HA4,
    home_prefixes=(HOME_PREFIX,),
    ipv4_home_prefixes=(IPv4Network("192.0.2.0/24"),),
    mobile_nodes=(ENTRY,),
)
#: Whatever the monotonic clock says when a test begins, and the time of day then.
START = Instant(5000.0, 1_800_000_000.0)

_Kind = TypeVar("_Kind")

AH = BUFlag.A | BUFlag.H
AHR = AH | BUFlag.R


@dataclass
class Mobile:
    """Writes Binding Updates as `entry` would. `timestamp` None = the time of day plus a tick per message."""

    entry: MobileNodeEntry = ENTRY
    home_agent: IPv6Address = HA
    key: bytes = KEY
    spi: int = SPI
    sent: int = 0

    def update(
        self,
        *,
        now: Instant = START,
        sequence: int = 15,
        flags: BUFlag = AH,
        lifetime: int = 105,
        source: IPv6Address = COA1,
        home_address: IPv6Address | None = None,
        hao: bool = True,
        mac_care_of: IPAddress | None = None,
        options: Iterable[MobilityOption] = (),
        identifier: str | None = NAI,
        timestamp: int | None = None,
        with_timestamp: bool = True,
        sign: bool | None = None,
    ) -> bytes:
        """A Binding Update over IPv6."""
        home = home_address or self.entry.home_address
        header = self.header(
            now,
            sequence,
            flags,
            lifetime,
            home,
            mac_care_of or source,
            options,
            identifier,
            timestamp,
            with_timestamp,
            sign,
        )
        return encode_packet(source, self.home_agent, header, home_address=home if hao else None)

    def update_in_udp(
        self,
        *,
        now: Instant = START,
        sequence: int = 15,
        flags: BUFlag = AH,
        lifetime: int = 105,
        care_of: IPv4Address | None = COA4,
        outer: IPv4Address = COA4,
        port: int = 4191,
        options: Iterable[MobilityOption] = (),
        identifier: str | None = NAI,
        timestamp: int | None = None,
        with_timestamp: bool = True,
        sign: bool | None = None,
        hao: IPv6Address | None = None,
        mac_care_of: IPAddress | None = None,
    ) -> bytes:
        """A Binding Update in UDP over IPv4 (RFC 5555 section 4.4.2)."""
        home = self.entry.home_address
        all_options = (*options, *((IPv4CareOfAddress(care_of),) if care_of else ()))
        header = self.header(
            now,
            sequence,
            flags,
            lifetime,
            home,
            mac_care_of or care_of or home,
            all_options,
            identifier,
            timestamp,
            with_timestamp,
            sign,
        )
        inner = encode_packet(home if hao is None else COA1, self.home_agent, header, home_address=hao)
        return encapsulate_udp(inner, UdpOuter(outer, port, HA4, 4191))

    def header(
        self,
        now: Instant,
        sequence: int,
        flags: BUFlag,
        lifetime: int,
        home: IPv6Address,
        mac_care_of: IPAddress,
        options: Iterable[MobilityOption],
        identifier: str | None,
        timestamp: int | None,
        with_timestamp: bool,
        sign: bool | None,
    ) -> bytes:
        self.sent += 1
        signed = self.entry.authentication == "mn-ha" if sign is None else sign
        all_options: list[MobilityOption] = [*options]
        if identifier is not None:
            all_options.append(MobileNodeIdentifier(identifier.encode()))
        if signed:
            if with_timestamp:
                stamp = ntp_timestamp(now.unix) + self.sent if timestamp is None else timestamp
                all_options.append(MessageIdentifier(stamp))
            all_options.append(Authentication(self.spi, b""))
        message = BindingUpdate(sequence, flags, lifetime, tuple(all_options))
        signer = SecurityAssociation(self.spi, self.key, NAI).signer(mac_care_of, home) if signed else None
        return encode_message(message, home, self.home_agent, signer)


@dataclass
class Outcome:
    """The actions of one engine call, sorted."""

    actions: list[Action]
    acknowledgements: list[tuple[BindingAcknowledgement, Packet]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for action in self.actions:
            if isinstance(action, SendPacket | SendDatagram):
                octets = action.packet if isinstance(action, SendPacket) else action.payload
                packet = decode_packet(octets)
                if packet.next_header == 135:
                    message = decode_message(packet.payload, packet.sender, packet.recipient)
                    if isinstance(message, BindingAcknowledgement):
                        self.acknowledgements.append((message, packet))

    @property
    def ba(self) -> BindingAcknowledgement:
        """The one Binding Acknowledgement."""
        assert len(self.acknowledgements) == 1, self.actions
        return self.acknowledgements[0][0]

    @property
    def ba_packet(self) -> Packet:
        """The packet of the one Binding Acknowledgement."""
        assert len(self.acknowledgements) == 1, self.actions
        return self.acknowledgements[0][1]

    @property
    def installed(self) -> InstallBinding:
        return self.one(InstallBinding)

    @property
    def removed(self) -> RemoveBinding:
        return self.one(RemoveBinding)

    @property
    def drops(self) -> list[str]:
        return [action.reason for action in self.actions if isinstance(action, Drop)]

    @property
    def silent(self) -> bool:
        """Nothing was sent and nothing changed."""
        return bool(self.actions) and all(isinstance(action, Drop) for action in self.actions)

    @property
    def changed(self) -> bool:
        """A binding was touched, or is about to be."""
        kinds = (InstallBinding, RemoveBinding, StoreBinding, StartDad)
        return any(isinstance(action, kinds) for action in self.actions)

    def one(self, kind: type[_Kind]) -> _Kind:
        """The one action of this kind."""
        found = [action for action in self.actions if isinstance(action, kind)]
        assert len(found) == 1, self.actions
        return found[0]

    def kinds(self) -> list[str]:
        return [type(action).__name__ for action in self.actions]


class Scenario:
    """A home agent whose clock is moved by hand."""

    def __init__(self, config: HomeAgentConfig = CONFIG) -> None:
        self.config = config
        self.agent = HomeAgent(config, Random(4191))
        self.now = START

    def after(self, seconds: float) -> Outcome:
        """Let time pass and tick, as the daemon's timer would."""
        self.now = Instant(self.now.monotonic + seconds, self.now.unix + seconds)
        self.agent.tick(self.now)
        return Outcome(self.agent.actions())

    def receive(self, data: bytes, *, protected: bool = False) -> Outcome:
        self.agent.receive(data, self.now, protected=protected)
        return Outcome(self.agent.actions())

    def advertise(
        self,
        prefix: IPv6Network,
        valid: int,
        *,
        preferred: int | None = None,
        autonomous: bool = True,
        own: bool = True,
        home_agent: bool = True,
    ) -> Outcome:
        """A router advertisement on the home link: our own one, or that of another router."""
        preferred = valid if preferred is None else preferred
        address = HA if HA in prefix else None
        option = PrefixInformation(prefix, True, autonomous, address is not None, valid, preferred, address)
        message = RouterAdvertisement(1800, home_agent=home_agent, options=(option,))
        return self.icmp(message, ROUTER if not own else OWN_LINK_LOCAL, ALL_NODES, own=own)

    def icmp(
        self,
        message: Icmpv6Message,
        source: IPv6Address,
        destination: IPv6Address,
        *,
        hop_limit: int = 255,
        home_link: bool = True,
        own: bool = False,
    ) -> Outcome:
        """An ICMPv6 message that reached a socket."""
        data = encode_icmpv6(message, source, destination)
        self.agent.receive_icmpv6(
            data, source, destination, hop_limit=hop_limit, home_link=home_link, own=own, now=self.now
        )
        return Outcome(self.agent.actions())

    def dad(self, home_address: IPv6Address, *, duplicate: bool) -> Outcome:
        self.agent.dad_finished(home_address, duplicate, self.now)
        return Outcome(self.agent.actions())

    @property
    def binding(self) -> Binding:
        return self.agent.bindings[HOME]

    @property
    def bound(self) -> bool:
        return HOME in self.agent.bindings


def scenario(entry: MobileNodeEntry = ENTRY, **changes: object) -> tuple[Scenario, Mobile]:
    """A home agent with one mobile node; `changes` are fields of the configuration."""
    config = replace(CONFIG, **{"mobile_nodes": (entry,), **changes})  # type: ignore[arg-type]
    return Scenario(config), Mobile(entry)


def authentic(packet: Packet, care_of: IPAddress, home: IPv6Address = HOME, key: bytes = KEY) -> bool:
    """Whether a Binding Acknowledgement's authenticator is right."""
    covered = covered_octets(packet.payload)
    message = decode_message(packet.payload, packet.sender, packet.recipient)
    option = find(message.options, Authentication)
    if covered is None or option is None or message.options[-1] is not option:
        return False
    return SecurityAssociation(SPI, key, NAI).verify(option.authenticator, care_of, home, covered)
