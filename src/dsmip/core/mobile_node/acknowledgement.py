"""Whether a Binding Acknowledgement may be believed, and which Binding Update it answers.

RFC 6275 section 11.7.3, RFC 4285 sections 5.1 and 6, RFC 5555 section 4.2.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from dsmip.core.actions import Drop
from dsmip.core.binding_update_list import SentUpdate, remaining_lifetime
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.types import DSMIP_PORT, IPAddress
from dsmip.wire.constants import BAStatus
from dsmip.wire.errors import DecodeError
from dsmip.wire.messages import BindingAcknowledgement, covered_octets
from dsmip.wire.options import Authentication, MessageIdentifier, find
from dsmip.wire.packet import Packet, decode_packet

#: Statuses from here on are refusals (RFC 6275 section 6.1.8).
REFUSED = 128

_LOW_32 = 0xFFFFFFFF


class Outcome(enum.Enum):
    """What an acknowledgement has brought about."""

    NOTHING = "nothing yet"
    REGISTERED = "registered"
    DE_REGISTERED = "de-registered from the home link"


def match(
    config: MobileNodeConfig,
    packet: Packet,
    message: BindingAcknowledgement,
    outstanding: Sequence[SentUpdate],
    now: float,
) -> SentUpdate | Drop:
    """The outstanding Binding Update that `message` answers, or why it is not believed.

    `outstanding` has the latest update last, `now` is CLOCK_MONOTONIC seconds. Nothing in the message may be
    used before this has passed.
    """
    update = _answered(config, message, outstanding)
    if isinstance(update, Drop):
        return update
    return (
        _wrong_way(config, packet, update)
        or _not_authentic(config, packet, message, update)
        or _too_late(message, update, now)
        or update
    )


def is_quoted(invoking: bytes, outstanding: Sequence[SentUpdate]) -> bool:
    """Whether an ICMPv6 error is about an outstanding Binding Update, by what it quotes of it.

    The error is not authenticated, but who quotes a Binding Update and its authenticator has seen it.
    """
    try:
        quoted = decode_packet(invoking)
    except DecodeError:
        return False
    return quoted.payload in {update.octets for update in outstanding}


def _answered(
    config: MobileNodeConfig, message: BindingAcknowledgement, outstanding: Sequence[SentUpdate]
) -> SentUpdate | Drop:
    if not outstanding:
        return Drop("not-outstanding", f"acknowledgement {message.sequence}")
    if config.security_association is None:
        if message.status == BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW:
            # Its sequence number is the one accepted last, not ours (RFC 6275 section 9.5.4).
            return outstanding[-1]
        return _by_sequence(message, outstanding)
    identifier = find(message.options, MessageIdentifier)
    if identifier is None:
        return Drop("timestamp", "acknowledgement without Message Identifier option")
    if message.status == BAStatus.MIPV6_ID_MISMATCH:
        # Only the low-order half is ours, the rest is the home agent's clock (RFC 4285 section 6).
        update = _by_sequence(message, outstanding)
        if isinstance(update, SentUpdate) and (update.timestamp ^ identifier.timestamp) & _LOW_32:
            return Drop("timestamp", "acknowledgement of an update not sent")
        return update
    for update in outstanding:
        if update.timestamp == identifier.timestamp:
            if (
                message.status != BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW
                and update.sequence != message.sequence
            ):
                return Drop("sequence", f"acknowledgement {message.sequence}")
            return update
    return Drop("not-outstanding", f"acknowledgement {message.sequence}")


def _by_sequence(message: BindingAcknowledgement, outstanding: Sequence[SentUpdate]) -> SentUpdate | Drop:
    for update in outstanding:
        if update.sequence == message.sequence:
            return update
    return Drop("not-outstanding", f"acknowledgement {message.sequence}")


def _wrong_way(config: MobileNodeConfig, packet: Packet, update: SentUpdate) -> Drop | None:
    """An acknowledgement comes back as its update went (RFC 6275 section 9.5.4, RFC 5555 section 4.2)."""
    if isinstance(update.care_of, IPv4Address):
        if packet.udp is None:
            return Drop("not-in-udp", f"acknowledgement from {packet.source}")
        if (packet.udp.source, packet.udp.source_port) != (config.home_agent_ipv4, DSMIP_PORT):
            return Drop("wrong-udp-source", f"{packet.udp.source} port {packet.udp.source_port}")
        expected: IPv6Address = config.home_address
    else:
        if packet.udp is not None:
            return Drop("unexpected-udp", f"{packet.udp.source} port {packet.udp.source_port}")
        expected = update.care_of
    if packet.destination != expected:
        return Drop("wrong-destination", str(packet.destination))
    if expected != config.home_address and packet.routing_home_address != config.home_address:
        return Drop("routing-header", "acknowledgement without the home address")
    return None


def _not_authentic(
    config: MobileNodeConfig, packet: Packet, message: BindingAcknowledgement, update: SentUpdate
) -> Drop | None:
    association = config.security_association
    if association is None:
        return None
    option = find(message.options, Authentication)
    covered = covered_octets(packet.payload)
    if option is None or covered is None:
        return Drop("unauthenticated", f"status {message.status}")
    if option.spi != association.spi or option is not message.options[-1]:
        return Drop("authenticator", f"SPI {option.spi}, status {message.status}")
    for care_of in _covered_by(config, update):
        if association.verify(option.authenticator, care_of, config.home_address, covered):
            return None
    return Drop("authenticator", f"status {message.status}: do the keys differ?")


def _covered_by(config: MobileNodeConfig, update: SentUpdate) -> tuple[IPAddress, ...]:
    """Care-of addresses that the authenticator may cover.

    A home agent that has not understood the binding identifiers of an update in UDP found no care-of address
    in it: it takes the IPv6 source or the outer source for one, and refuses the update for that reason. It is
    the one to learn from that it takes one binding only.
    """
    if update.covered is None:
        return (update.care_of,)
    return tuple(dict.fromkeys((update.covered, config.home_address, update.care_of)))


def _too_late(message: BindingAcknowledgement, update: SentUpdate, now: float) -> Drop | None:
    """The binding it grants is over already: it tells nothing about now."""
    grants = message.status < REFUSED and message.lifetime and update.lifetime
    if grants and not remaining_lifetime(update, message.lifetime, now):
        return Drop("too-late", f"acknowledgement {message.sequence}")
    return None
