"""Every authentic Binding Update ever sent: what the home agents may believe."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from dsmip.core.types import IPAddress
from dsmip.wire.constants import BUFlag, NextHeader
from dsmip.wire.flows import FlowIdentification, FlowSummary
from dsmip.wire.messages import BindingUpdate, decode_message
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import (
    AlternateCareOfAddress,
    IPv4CareOfAddress,
    MessageIdentifier,
    find,
    find_all,
)
from dsmip.wire.packet import decode_packet


@dataclass(frozen=True, slots=True)
class Authentic:
    """One Binding Update as its mobile node sent it. `lifetime` in seconds, `overwrite` is the O flag, `kept`
    are the flows named by number only."""

    agent: IPv6Address
    home_address: IPv6Address
    sequence: int
    timestamp: int
    lifetime: float
    care_of: IPAddress
    router: bool
    forced_udp: bool
    bids: tuple[BindingIdentifier, ...] = ()
    overwrite: bool = False
    flows: tuple[FlowIdentification, ...] = ()
    kept: frozenset[int] = frozenset()

    @property
    def deregistration(self) -> bool:
        """It ends the binding, or some identifiers of it."""
        return not self.lifetime or (self.care_of == self.home_address and not self.bids)


class Ledger:
    """Authentic Binding Updates by home agent, home address and sequence number."""

    def __init__(self) -> None:
        self.entries = 0
        self._by_sequence: dict[tuple[IPv6Address, IPv6Address, int], list[Authentic]] = {}
        self._by_timestamp: dict[tuple[IPv6Address, IPv6Address, int], list[Authentic]] = {}

    def note(self, packet: bytes) -> None:
        """A mobile node sends this."""
        opened = decode_packet(packet)
        if opened.next_header != NextHeader.MOBILITY:
            return
        update = decode_message(opened.payload, opened.sender, opened.recipient)
        if not isinstance(update, BindingUpdate):
            return
        identifier = find(update.options, MessageIdentifier)
        alternate = find(update.options, AlternateCareOfAddress)
        ipv4 = find(update.options, IPv4CareOfAddress)
        sent = Authentic(
            agent=opened.destination,
            home_address=opened.sender,
            sequence=update.sequence,
            timestamp=identifier.timestamp if identifier is not None else 0,
            lifetime=update.lifetime * 4.0,
            care_of=ipv4.address if ipv4 else alternate.address if alternate else opened.source,
            router=bool(update.flags & BUFlag.R),
            forced_udp=bool(update.flags & BUFlag.F),
            bids=find_all(update.options, BindingIdentifier),
            overwrite=bool(update.flags & BUFlag.O),
            flows=find_all(update.options, FlowIdentification),
            kept=frozenset(fid for s in find_all(update.options, FlowSummary) for fid in s.fids),
        )
        self.entries += 1
        self._by_sequence.setdefault((sent.agent, sent.home_address, sent.sequence), []).append(sent)
        self._by_timestamp.setdefault((sent.agent, sent.home_address, sent.timestamp), []).append(sent)

    def numbered(self, agent: IPv6Address, home_address: IPv6Address, sequence: int) -> list[Authentic]:
        """Those with this sequence number."""
        return self._by_sequence.get((agent, home_address, sequence), [])

    def stamped(self, agent: IPv6Address, home_address: IPv6Address, timestamp: int) -> list[Authentic]:
        """Those with this timestamp: one, unless a mobile node's clock was set back."""
        return self._by_timestamp.get((agent, home_address, timestamp), [])
