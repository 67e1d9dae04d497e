"""Opening what arrives at a mobile node: checks before any protocol state (RFC 6275 section 9.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

from dsmip.core.actions import Action, Drop, SendDatagram, SendPacket
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.rate_limit import RateLimit
from dsmip.core.types import Instant, UdpEndpoint
from dsmip.wire.constants import HOST_MH_TYPES, BEStatus, NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv6 import MobilePrefixAdvertisement, ParameterProblem, decode_icmpv6, encode_icmpv6
from dsmip.wire.messages import BindingError, Message, UnknownMessage, decode_message, encode_message
from dsmip.wire.packet import Packet, decode_packet, encode_packet

_UNSPECIFIED = IPv6Address(0)

#: An ICMPv6 error quotes what fits into the minimum MTU: 1280 - 40 (IPv6) - 8 (ICMPv6) (RFC 4443 section
#: 3.4).
_MAX_QUOTE = 1232

_ERRONEOUS_HEADER_FIELD = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """A well-formed mobility message or mobile prefix advertisement of our home agent."""

    packet: Packet
    message: Message | MobilePrefixAdvertisement


class Intake:
    """Turns octets into messages, or into reasons to drop them and the errors RFC 6275 wants sent.

    `config` may be replaced by one that differs in home agent and home address.
    """

    def __init__(self, config: MobileNodeConfig) -> None:
        self.config = config
        self._errors = RateLimit()

    def open(
        self, data: bytes, care_of: Mapping[IPv6Address, str], now: Instant
    ) -> Opened | tuple[Action, ...]:
        """Decode one packet with all its headers. `care_of`: our care-of addresses and their interfaces."""
        try:
            packet = decode_packet(data)
        except DecodeError as error:
            return (Drop(error.reason, str(error)),)
        if packet.next_header == NextHeader.ICMPV6:
            return self._prefix_advertisement(packet, care_of)
        if packet.next_header != NextHeader.MOBILITY:
            return (Drop("not-mobility", f"next header {packet.next_header} from {packet.source}"),)
        if packet.recipient != self.config.home_address and packet.recipient not in care_of:
            return (Drop("wrong-destination", str(packet.recipient)),)
        try:
            message = decode_message(packet.payload, packet.sender, packet.recipient, known=HOST_MH_TYPES)
        except DecodeError as error:
            drop = Drop(error.reason, str(error))
            if error.pointer is None:
                return (drop,)
            interface = care_of.get(packet.destination, "")
            return (drop, *self._parameter_problem(packet, interface, error.pointer, now))
        if isinstance(message, UnknownMessage):
            drop = Drop("unknown-mh-type", f"type {message.mh_type} from {packet.source}")
            return (drop, *self._binding_error(packet, care_of.get(packet.destination, ""), now))
        if packet.source != self.config.home_agent or packet.home_address is not None:
            return (Drop("unknown-sender", f"{type(message).__name__} from {packet.sender}"),)
        return Opened(packet, message)

    def _prefix_advertisement(
        self, packet: Packet, care_of: Mapping[IPv6Address, str]
    ) -> Opened | tuple[Action, ...]:
        """From the home agent to a care-of address with a type 2 routing header (RFC 6275 section 11.4.3)."""
        home_address = self.config.home_address
        expected = (self.config.home_agent, home_address)
        if (packet.source, packet.routing_home_address) != expected or packet.destination not in care_of:
            return (Drop("unknown-sender", f"ICMPv6 from {packet.source}"),)
        try:
            message = decode_icmpv6(packet.payload, packet.sender, packet.recipient)
        except DecodeError as error:
            return (Drop(error.reason, str(error)),)
        if not isinstance(message, MobilePrefixAdvertisement):
            return (Drop("not-mobility", f"{type(message).__name__} from {packet.source}"),)
        return Opened(packet, message)

    def _binding_error(self, packet: Packet, interface: str, now: Instant) -> tuple[Action, ...]:
        """Binding Error, unrecognized MH Type value (RFC 6275 section 9.3.3)."""
        if not self._may_answer(packet, now):
            return ()
        error = BindingError(BEStatus.UNRECOGNIZED_MH_TYPE, packet.home_address or _UNSPECIFIED)
        octets = encode_message(error, packet.destination, packet.source)
        return (_answer(packet, interface, octets, NextHeader.MOBILITY),)

    def _parameter_problem(
        self, packet: Packet, interface: str, pointer: int, now: Instant
    ) -> tuple[Action, ...]:
        """ICMPv6 Parameter Problem, code 0, about a field of the Mobility Header (RFC 6275 section 9.2)."""
        if not self._may_answer(packet, now):
            return ()
        problem = ParameterProblem(
            _ERRONEOUS_HEADER_FIELD, packet.payload_offset + pointer, packet.raw[:_MAX_QUOTE]
        )
        octets = encode_icmpv6(problem, packet.destination, packet.source)
        return (_answer(packet, interface, octets, NextHeader.ICMPV6),)

    def _may_answer(self, packet: Packet, now: Instant) -> bool:
        unicast = not (packet.source.is_multicast or packet.source.is_unspecified)
        return unicast and not packet.destination.is_multicast and self._errors.allow(now.monotonic)


def _answer(
    packet: Packet, interface: str, payload: bytes, next_header: NextHeader
) -> SendPacket | SendDatagram:
    """Send `payload` straight back where `packet` came from, without regard to any binding."""
    octets = encode_packet(packet.destination, packet.source, payload, next_header)
    if packet.udp is None:
        return SendPacket(octets, interface)
    return SendDatagram(
        octets,
        local=UdpEndpoint(packet.udp.destination, packet.udp.destination_port),
        remote=UdpEndpoint(packet.udp.source, packet.udp.source_port),
    )
