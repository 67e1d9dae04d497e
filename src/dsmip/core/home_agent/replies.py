"""What a home agent says: Binding Acknowledgements, Binding Errors, Parameter Problems, echo replies.

An answer takes the way its question came: over IPv6 to the wire source, or in UDP to the outer source
(RFC 6275 section 9.5.4, RFC 5555 section 4.2). No binding is consulted.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import msgspec

from dsmip.core.actions import ForwardPacket, SendDatagram, SendPacket
from dsmip.core.authentication import SecurityAssociation, corrected_timestamp
from dsmip.core.registration import Request
from dsmip.core.types import Binding, UdpEndpoint
from dsmip.wire.acknowledgement import AcknowledgementPattern, Shape
from dsmip.wire.constants import NAT_NO_KEEPALIVE, BAFlag, BAStatus, BEStatus, NextHeader
from dsmip.wire.extensions import Extensions, extensions_option
from dsmip.wire.flows import FlowIdentification
from dsmip.wire.icmpv6 import EchoReply, EchoRequest, ParameterProblem, encode_icmpv6
from dsmip.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    encode_message,
)
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import (
    Authentication,
    BindingRefreshAdvice,
    IPv4AddressAcknowledgement,
    MessageIdentifier,
    MobilityOption,
    NatDetection,
)
from dsmip.wire.packet import Packet, UdpOuter, encode_packet

#: ICMPv6 Parameter Problem code: erroneous header field encountered (RFC 4443 section 3.4).
_ERRONEOUS_HEADER_FIELD = 0

NO_FLAGS = BAFlag(0)


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The content of a Binding Acknowledgement. `lifetime` and `refresh_advice` in units, 0 = no advice.

    `bids` has a status for each Binding Identifier option of the update (none = 0 for all). `nat` is what the
    NAT Detection option says, None = what the update shows.
    """

    status: int
    sequence: int
    lifetime: int = 0
    flags: BAFlag = NO_FLAGS
    refresh_advice: int = 0
    ipv4: tuple[IPv4AddressAcknowledgement, ...] = ()
    bids: tuple[int, ...] = ()
    flows: tuple[FlowIdentification, ...] = ()
    extensions: Extensions | None = None
    nat: bool | None = None


class Replies:
    """Builds the answers of the home agent with this address."""

    def __init__(self, address: IPv6Address, *, force_udp: bool, nat_keepalive: int) -> None:
        self._address = address
        self.reconfigure(force_udp=force_udp, nat_keepalive=nat_keepalive)
        # Of acknowledgements with the usual options. One per number of IPv4 home addresses asked for.
        # By their shapes, as plain tuples.
        self._patterns: dict[tuple[int, bool, bool, bool, bool], AcknowledgementPattern] = {}

    def reconfigure(self, *, force_udp: bool, nat_keepalive: int) -> None:
        """Answer like this from now on."""
        self._nat_found = NatDetection(force_udp, nat_keepalive)
        self._no_nat = NatDetection(force_udp, NAT_NO_KEEPALIVE)

    def acknowledge(
        self, request: Request, answer: Answer, association: SecurityAssociation | None, unix: float
    ) -> SendPacket | SendDatagram:
        """The Binding Acknowledgement to `request` (RFC 6275 section 6.1.8).

        With an association it is authenticated as RFC 4285 section 5.1 says. `unix` is our time of day, for
        status 144.
        """
        asked = request.options
        timestamp = asked.timestamp
        # 144 also refuses forced UDP, to mobile nodes without an association (RFC 5555 section 4.5).
        if timestamp is not None and answer.status == BAStatus.MIPV6_ID_MISMATCH and association is not None:
            timestamp = corrected_timestamp(timestamp, unix)
        sign = None
        if association is not None:
            sign = association.signer(request.care_of, request.home_address)
        if asked.bids or asked.malformed_bids or answer.flows or answer.extensions is not None:
            options = self._options(request, answer, timestamp)
            if association is not None:
                options.append(Authentication(association.spi, b""))
            message = BindingAcknowledgement(
                answer.status, answer.flags, answer.sequence, answer.lifetime, tuple(options)
            )
            header = encode_message(message, self._address, request.home_address, sign)
        else:
            shape = (
                len(answer.ipv4),
                request.udp is not None,
                answer.refresh_advice > 0,
                timestamp is not None,
                association is not None,
            )
            pattern = self._patterns.get(shape)
            if pattern is None:
                pattern = self._patterns[shape] = AcknowledgementPattern(self._address, Shape(*shape))
            header = pattern.fill(
                request.home_address,
                (answer.status, answer.flags, answer.sequence, answer.lifetime),
                ipv4=answer.ipv4,
                nat=self._nat_detection(request, answer).encode_data() if request.udp is not None else b"",
                advice=answer.refresh_advice,
                timestamp=timestamp or 0,
                spi=association.spi if association is not None else 0,
                sign=sign,
            )
        routed = request.udp is None and not request.from_home_address
        packet = encode_packet(
            self._address,
            request.source,
            header,
            routing_home_address=request.home_address if routed else None,
        )
        return _send(packet, request.udp)

    def _options(self, request: Request, answer: Answer, timestamp: int | None) -> list[MobilityOption]:
        """Of any acknowledgement, but for what signs it."""
        # IPv4 acknowledgements come before binding identifiers (RFC 5648 section 8.2).
        options: list[MobilityOption] = [*answer.ipv4]
        if request.udp is not None:
            options.append(self._nat_detection(request, answer))
        if answer.extensions is not None:
            options.append(extensions_option(answer.extensions))
        if request.options.bids or request.options.malformed_bids:
            options += _binding_identifiers(request, answer.bids)
        options += answer.flows
        if answer.refresh_advice:
            options.append(BindingRefreshAdvice(answer.refresh_advice))
        if timestamp is not None:
            options.append(MessageIdentifier(timestamp))
        return options

    def binding_error(self, packet: Packet, status: BEStatus) -> SendPacket | SendDatagram:
        """A Binding Error about `packet`, to its wire source (RFC 6275 section 9.3.3)."""
        message = BindingError(status, packet.home_address or IPv6Address(0))
        header = encode_message(message, self._address, packet.source)
        return _send(encode_packet(self._address, packet.source, header), packet.udp)

    def parameter_problem(self, packet: Packet, offset: int) -> SendPacket | SendDatagram:
        """An ICMPv6 Parameter Problem about the octet at `offset` of the mobility header (RFC 6275 9.2)."""
        problem = ParameterProblem(_ERRONEOUS_HEADER_FIELD, packet.payload_offset + offset, packet.raw)
        message = encode_icmpv6(problem, self._address, packet.source)
        return _send(encode_packet(self._address, packet.source, message, NextHeader.ICMPV6), packet.udp)

    def echo_reply(self, packet: Packet, echo: EchoRequest) -> SendPacket | SendDatagram:
        """Answer an echo request with a home address option over the binding's route (RFC 6275 9.3.2)."""
        home_address = packet.sender
        message = encode_icmpv6(
            EchoReply(echo.identifier, echo.sequence, echo.data), self._address, home_address
        )
        reply = encode_packet(
            self._address,
            packet.source,
            message,
            NextHeader.ICMPV6,
            routing_home_address=home_address,
        )
        return _send(reply, packet.udp)

    def _nat_detection(self, request: Request, answer: Answer) -> NatDetection:
        """Goes into every acknowledgement in UDP, refusals too (RFC 5555 sections 3.2.2 and 4.2)."""
        nat = request.nat if answer.nat is None else answer.nat
        return self._nat_found if nat else self._no_nat


def _binding_identifiers(request: Request, statuses: tuple[int, ...]) -> list[MobilityOption]:
    """Copies of the update's, each with its status and without its care-of address (RFC 5648 section 6.2)."""
    bids = request.options.bids
    found: list[MobilityOption] = [
        BindingIdentifier(option.bid, status, option.home, option.priority)
        for option, status in zip(bids, statuses or (0,) * len(bids), strict=True)
    ]
    return found + [BindingIdentifier(option.identifier) for option in request.options.malformed_bids]


def _send(packet: bytes, udp: UdpOuter | None) -> SendPacket | SendDatagram:
    if udp is None:
        return SendPacket(packet)
    return SendDatagram(
        packet,
        UdpEndpoint(udp.destination, udp.destination_port),
        UdpEndpoint(udp.source, udp.source_port),
    )


def refresh_request(address: IPv6Address, binding: Binding) -> SendPacket | ForwardPacket:
    """A Binding Refresh Request, to the home address (RFC 6275 section 9.5.5, RFC 5648 section 6.4)."""
    bids = tuple(BindingIdentifier(entry.bid) for entry in binding.care_ofs if entry.bid)
    header = encode_message(BindingRefreshRequest(bids), address, binding.home_address)
    return to_mobile_node(address, binding, header, NextHeader.MOBILITY)


def to_mobile_node(
    address: IPv6Address, binding: Binding, payload: bytes, next_header: int
) -> SendPacket | ForwardPacket:
    """A packet of the home agent's own to a mobile node that is away (RFC 6275 section 10.4.2).

    Over IPv6 by a type 2 routing header; a mobile node in an IPv4 network has the tunnel only, and one on the
    home link is there under its home address.
    """
    if isinstance(binding.care_of, IPv4Address) or binding.care_ofs[0].at_home:
        return ForwardPacket(encode_packet(address, binding.home_address, payload, next_header))
    return SendPacket(
        encode_packet(
            address, binding.care_of, payload, next_header, routing_home_address=binding.home_address
        )
    )
