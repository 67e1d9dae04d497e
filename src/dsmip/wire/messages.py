"""All mobility messages, to octets and back.

Received messages are checked in the order of RFC 6275 section 9.2: checksum, MH Type, Payload Proto, length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container
from ipaddress import IPv6Address
from typing import Self

from dsmip.wire import (
    experimental,
    fasthandover,
    flowbinding,
    heartbeat,
    homeagentswitch,
    localizedrouting,
    multicastsubscription,
    returnroutability,
    revocation,
    updatenotification,
)
from dsmip.wire.binding import BindingAcknowledgement, BindingError, BindingRefreshRequest, BindingUpdate
from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.constants import NextHeader, OptionType
from dsmip.wire.errors import DecodeError, EncodeError
from dsmip.wire.message import COMMON_SIZE, Message, Options
from dsmip.wire.optioncodec import append_options, decode_options
from dsmip.wire.options import MN_HA, AuthenticatingOption, Authentication, BindingAuthorizationData
from dsmip.wire.tlv import PAD1

__all__ = [
    "KNOWN_MH_TYPES",
    "MESSAGE_CLASSES",
    "BindingAcknowledgement",
    "BindingError",
    "BindingRefreshRequest",
    "BindingUpdate",
    "Message",
    "UnknownMessage",
    "covered_octets",
    "decode_message",
    "encode_message",
]

#: What `sign` has to return for an authenticating option whose authenticator was left empty: HMAC-SHA1-96.
_DEFAULT_AUTHENTICATOR = bytes(12)

_MAX_SIZE = 8 * 256
_CHECKSUM = slice(4, 6)
_U16 = struct.Struct(">H")

# Looking a member up in an enumeration takes as long as a whole comparison.
_NONE = int(NextHeader.NONE)
_MOBILITY = int(NextHeader.MOBILITY)
_AUTHENTICATION = int(OptionType.AUTHENTICATION)
_AUTHORIZATION = int(OptionType.BINDING_AUTHORIZATION_DATA)


class UnknownMessage(Message, frozen=True):
    """A message of a type without a class here: to be answered with BEStatus.UNRECOGNIZED_MH_TYPE.

    `body` is everything after the checksum. Nobody knows where its options start, so it has none.
    """

    mh_type: int
    body: bytes

    @property
    def options(self) -> Options:
        return ()

    @property
    def type_code(self) -> int:
        return self.mh_type

    def encode_data(self) -> bytes:
        return self.body

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        return cls(header[2], header[COMMON_SIZE:])


#: Every message with a class of its own.
MESSAGE_CLASSES: tuple[type[Message], ...] = (
    BindingRefreshRequest,
    returnroutability.HomeTestInit,
    returnroutability.CareOfTestInit,
    returnroutability.HomeTest,
    returnroutability.CareOfTest,
    BindingUpdate,
    BindingAcknowledgement,
    BindingError,
    fasthandover.FastBindingUpdate,
    fasthandover.FastBindingAcknowledgement,
    fasthandover.FastNeighborAdvertisement,
    experimental.ExperimentalMessage,
    homeagentswitch.HomeAgentSwitch,
    heartbeat.Heartbeat,
    fasthandover.HandoverInitiate,
    fasthandover.HandoverAcknowledge,
    revocation.BindingRevocation,
    localizedrouting.LocalizedRoutingInitiation,
    localizedrouting.LocalizedRoutingAcknowledgment,
    updatenotification.UpdateNotification,
    updatenotification.UpdateNotificationAcknowledgement,
    flowbinding.FlowBinding,
    multicastsubscription.SubscriptionQuery,
    multicastsubscription.SubscriptionResponse,
)

_CLASSES: dict[int, type[Message]] = {cls.MH_TYPE: cls for cls in MESSAGE_CLASSES}

#: The types of all of them.
KNOWN_MH_TYPES = frozenset(_CLASSES)


def encode_message(
    message: Message,
    source: IPv6Address,
    destination: IPv6Address,
    sign: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """The mobility header of `message`, checksum included.

    `source` and `destination` are those of the pseudo-header: the home address in place of the care-of
    address when the packet has a home address option or a type 2 routing header (RFC 6275 section 6.1.1).

    With `sign` the last option must be an authenticating one. `sign` gets the octets that its authenticator
    covers, checksum zero, and returns the authenticator, of the length the option has (12 octets if it is
    empty). EncodeError when a field is out of range, when the message is too long, and when `sign` and
    option disagree.
    """
    options = message.options
    signed: AuthenticatingOption | None = None
    if sign is not None:
        last_option = options[-1] if options else None
        if not isinstance(last_option, AuthenticatingOption):
            raise EncodeError("only a message whose last option carries an authenticator can be signed")
        signed = last_option
    room = _DEFAULT_AUTHENTICATOR if signed is not None and not signed.authenticator else b""
    try:
        header = bytearray((_NONE, 0, message.type_code, 0, 0, 0))
        header += message.encode_data()
        last = append_options(header, options, room)
    except (struct.error, ValueError) as error:
        raise EncodeError(f"{type(message).__name__}: {error}") from error
    if len(header) > _MAX_SIZE:
        raise EncodeError(f"{type(message).__name__} of {len(header)} octets")
    header[1] = len(header) // 8 - 1
    if sign is not None and signed is not None:
        start = last + 2 + signed.COVERED
        length = header[last + 1] - signed.COVERED
        authenticator = sign(bytes(header[:start]))
        if len(authenticator) != length:
            raise EncodeError(f"room for {length} octets, signed with {len(authenticator)}")
        header[start : start + length] = authenticator
    _U16.pack_into(header, _CHECKSUM.start, pseudo_checksum_v6(source, destination, _MOBILITY, header))
    return bytes(header)


def decode_message(
    data: bytes,
    source: IPv6Address,
    destination: IPv6Address,
    *,
    verify_checksum: bool = True,
    known: Container[int] = KNOWN_MH_TYPES,
) -> Message:
    """The message of a mobility header; `source` and `destination` as for `encode_message`.

    Octets after the end of the header are ignored (RFC 8200 section 4.7). Raises DecodeError: "checksum"
    first, then "payload-proto" and "header-length" with the pointer for a Parameter Problem (RFC 6275
    section 9.2), then what the options have to complain about. An MH Type that is not among the `known` is an
    UnknownMessage, whatever it says.
    """
    if len(data) < 8:
        raise DecodeError("truncated", f"mobility header of {len(data)} octets")
    size = 8 * (data[1] + 1)
    header = data if size == len(data) else data[:size]
    # The Upper-Layer Packet Length of the pseudo-header is the length of the mobility header (RFC 6275
    # section 6.1.1). Where Header Len is wrong, which has to be reported and not dropped as a bad checksum,
    # that can only be the length of what came.
    if (
        verify_checksum
        and pseudo_checksum_v6(source, destination, _MOBILITY, header)
        and (header is data or pseudo_checksum_v6(source, destination, _MOBILITY, data))
    ):
        raise DecodeError("checksum", "mobility header")
    cls = _CLASSES.get(data[2])
    if cls is None or data[2] not in known:
        return UnknownMessage.decode_data(header, ())
    if data[0] != _NONE:
        raise DecodeError("payload-proto", f"{data[0]}", pointer=0)
    if data[1] < cls.MINIMUM_LENGTH:
        raise DecodeError("header-length", f"{data[1]} for MH type {data[2]}", pointer=1)
    if size > len(data):
        raise DecodeError("truncated", f"mobility header of {size} octets, {len(data)} received")
    return cls.decode_data(header, decode_options(header, cls.options_offset(header), size))


def covered_octets(data: bytes, end: int | None = None) -> bytes | None:
    """What the authenticator of a received mobility header covers, with a checksum of zero; None without one.

    That is the header through the SPI of the MN-HA authentication option (RFC 4285 section 5.1), otherwise
    through the Option Length of the binding authorization data (RFC 6275 section 6.2.7). `end` is where the
    authenticator begins, for who knows that already.
    """
    if end is None:
        end = _authenticator_at(data)
    return None if end is None else data[: _CHECKSUM.start] + bytes(2) + data[_CHECKSUM.stop : end]


def _authenticator_at(data: bytes) -> int | None:
    """Where the authenticator begins, None = there is none."""
    cls = _CLASSES.get(data[2]) if len(data) >= 8 else None
    if cls is None:
        return None
    size = min(8 * (data[1] + 1), len(data))
    end = None
    try:
        stop = cls.options_offset(data)
    except DecodeError:
        return None
    while stop < size:  # as `tlv.walk` goes, without the price of a generator
        kind = data[stop]
        if kind == PAD1:
            stop += 1
            continue
        start = stop + 2
        if start > size:
            return None
        stop = start + data[start - 1]
        if stop > size:
            return None
        if kind == _AUTHENTICATION and start < stop and data[start] == MN_HA:
            end = start + Authentication.COVERED
            break
        if kind == _AUTHORIZATION:
            end = start + BindingAuthorizationData.COVERED
    return None if end is None or end > size else end
