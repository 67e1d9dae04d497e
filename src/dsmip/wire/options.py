"""The mobility options of a registration with a home agent or a correspondent.

RFC 6275 (Mobile IPv6), RFC 3963 (mobile network prefixes), RFC 4283 and 4285 (identification and
authentication) and RFC 5555 (IPv4). The other families have rooms of their own; `optioncodec` knows them
all.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.constants import NAT_NO_KEEPALIVE, NAT_USE_DEFAULT, OptionType
from dsmip.wire.errors import EncodeError
from dsmip.wire.option import (
    Alignment,
    AuthenticatingOption,
    KnownOption,
    MobilityOption,
    UnknownOption,
    find,
    find_all,
)
from dsmip.wire.optionshapes import IPv6AddressOption, PrefixOption, TimestampOption

__all__ = [
    "MN_AAA",
    "MN_HA",
    "NAI",
    "NAT_NO_KEEPALIVE",
    "NAT_USE_DEFAULT",
    "AlternateCareOfAddress",
    "AuthenticatingOption",
    "Authentication",
    "BindingAuthorizationData",
    "BindingRefreshAdvice",
    "IPv4AddressAcknowledgement",
    "IPv4CareOfAddress",
    "IPv4HomeAddress",
    "MessageIdentifier",
    "MobileNetworkPrefix",
    "MobileNodeIdentifier",
    "MobilityOption",
    "NatDetection",
    "NonceIndices",
    "UnknownOption",
    "find",
    "find_all",
]

#: Subtype of a mobile node identifier that is a network access identifier (RFC 4283 section 3.1).
NAI = 1

#: Subtypes of the authentication option (RFC 4285 sections 5.1 and 5.2).
MN_HA = 1
MN_AAA = 2

_U16 = Struct(">H")
_U16_PAIR = Struct(">HH")
_SUBTYPE_SPI = Struct(">BI")
_OCTETS_IPV4 = Struct(">BB4s")
_OCTETS_U32 = Struct(">BxI")

#: The fields "Prefix-len" and "Pref-len" of RFC 5555 are six bits wide and left-aligned in their octet.
_PREFIX_LENGTH_SHIFT = 2
_MAX_PREFIX_LENGTH_FIELD = 63


class BindingRefreshAdvice(KnownOption, frozen=True):
    """How long the home agent would like the node to wait before it registers again (RFC 6275 section 6.2.4).

    `interval` is in units of 4 seconds.
    """

    TYPE: ClassVar[int] = OptionType.BINDING_REFRESH_ADVICE
    LENGTH: ClassVar[tuple[int, int]] = (2, 2)
    ALIGNMENT: ClassVar[Alignment] = (2, 0)

    interval: int

    def encode_data(self) -> bytes:
        return _U16.pack(self.interval)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(*_U16.unpack(data))


class AlternateCareOfAddress(IPv6AddressOption, frozen=True):
    """The care-of address to register in place of the packet's source (RFC 6275 section 6.2.5)."""

    TYPE: ClassVar[int] = OptionType.ALTERNATE_CARE_OF_ADDRESS


class NonceIndices(KnownOption, frozen=True):
    """Which nonces the keygen tokens of a Binding Update came from (RFC 6275 section 6.2.6)."""

    TYPE: ClassVar[int] = OptionType.NONCE_INDICES
    LENGTH: ClassVar[tuple[int, int]] = (4, 4)
    ALIGNMENT: ClassVar[Alignment] = (2, 0)

    home: int
    care_of: int

    def encode_data(self) -> bytes:
        return _U16_PAIR.pack(self.home, self.care_of)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(*_U16_PAIR.unpack(data))


class BindingAuthorizationData(AuthenticatingOption, frozen=True):
    """Authenticator between mobile node and correspondent, 12 octets (RFC 6275 section 6.2.7)."""

    TYPE: ClassVar[int] = OptionType.BINDING_AUTHORIZATION_DATA
    LENGTH: ClassVar[tuple[int, int]] = (1, 255)
    ALIGNMENT: ClassVar[Alignment] = (8, 2)
    COVERED: ClassVar[int] = 0

    authenticator: bytes

    def encode_data(self) -> bytes:
        return self.authenticator

    def with_authenticator(self, authenticator: bytes) -> Self:
        return type(self)(authenticator)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(data)


class MobileNetworkPrefix(PrefixOption, frozen=True):
    """A prefix behind a mobile router (RFC 3963 section 4.3). Bits after the prefix length are ignored."""

    TYPE: ClassVar[int] = OptionType.MOBILE_NETWORK_PREFIX


class MobileNodeIdentifier(KnownOption, frozen=True):
    """Who the mobile node is (RFC 4283 section 3); subtype 1 is a network access identifier (3.1)."""

    TYPE: ClassVar[int] = OptionType.MOBILE_NODE_IDENTIFIER
    LENGTH: ClassVar[tuple[int, int]] = (1, 255)

    identifier: bytes
    subtype: int = NAI

    @property
    def nai(self) -> str:
        """The network access identifier, "" for other subtypes; octets that are not UTF-8 become escapes."""
        return self.identifier.decode("utf-8", "backslashreplace") if self.subtype == NAI else ""

    def encode_data(self) -> bytes:
        return bytes((self.subtype,)) + self.identifier

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(data[1:], data[0])


class Authentication(AuthenticatingOption, frozen=True):
    """Mobility message authentication option (RFC 4285 section 5); subtype 1 is MN-HA, 2 is MN-AAA."""

    TYPE: ClassVar[int] = OptionType.AUTHENTICATION
    LENGTH: ClassVar[tuple[int, int]] = (5, 255)
    ALIGNMENT: ClassVar[Alignment] = (4, 1)
    COVERED: ClassVar[int] = _SUBTYPE_SPI.size

    spi: int
    authenticator: bytes
    subtype: int = MN_HA

    def encode_data(self) -> bytes:
        return _SUBTYPE_SPI.pack(self.subtype, self.spi) + self.authenticator

    def with_authenticator(self, authenticator: bytes) -> Self:
        return type(self)(self.spi, authenticator, self.subtype)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        subtype, spi = _SUBTYPE_SPI.unpack_from(data)
        return cls(spi, data[_SUBTYPE_SPI.size :], subtype)


class MessageIdentifier(TimestampOption, frozen=True):
    """Mobility message replay protection option (RFC 4285 section 6): a 64-bit NTP timestamp."""

    TYPE: ClassVar[int] = OptionType.MESSAGE_IDENTIFIER


class IPv4HomeAddress(KnownOption, frozen=True):
    """The IPv4 home address, or prefix, to bind beside the IPv6 one (RFC 5555 section 3.1.1).

    0.0.0.0 asks for an address, and with `prefix_requested` for a prefix. `prefix_length` is what stands in
    the six-bit field: 1 to 32 make sense, and a receiver has to check that.
    """

    TYPE: ClassVar[int] = OptionType.IPV4_HOME_ADDRESS
    LENGTH: ClassVar[tuple[int, int]] = (6, 6)
    ALIGNMENT: ClassVar[Alignment] = (4, 0)

    address: IPv4Address
    prefix_length: int = 32
    prefix_requested: bool = False

    def encode_data(self) -> bytes:
        octet = _prefix_length_octet(self.prefix_length) | (self.prefix_requested << 1)
        return _OCTETS_IPV4.pack(octet, 0, self.address.packed)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        octet, _, address = _OCTETS_IPV4.unpack(data)
        return cls(IPv4Address(address), octet >> _PREFIX_LENGTH_SHIFT, bool(octet & 0x02))


class IPv4AddressAcknowledgement(KnownOption, frozen=True):
    """The home agent's answer to an IPv4 home address option (RFC 5555 section 3.2.1).

    `status` below 128 is success; above it `prefix_length` means nothing.
    """

    TYPE: ClassVar[int] = OptionType.IPV4_ADDRESS_ACKNOWLEDGEMENT
    LENGTH: ClassVar[tuple[int, int]] = (6, 6)
    ALIGNMENT: ClassVar[Alignment] = (4, 0)

    status: int
    address: IPv4Address
    prefix_length: int

    def encode_data(self) -> bytes:
        return _OCTETS_IPV4.pack(self.status, _prefix_length_octet(self.prefix_length), self.address.packed)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        status, octet, address = _OCTETS_IPV4.unpack(data)
        return cls(status, IPv4Address(address), octet >> _PREFIX_LENGTH_SHIFT)


class NatDetection(KnownOption, frozen=True):
    """Whether a NAT is on the path, and how often to keep its mapping alive (RFC 5555 section 3.2.2).

    `refresh` is in seconds, or NAT_NO_KEEPALIVE (no NAT found) or NAT_USE_DEFAULT; `forced` is the F flag:
    tunnel in UDP even without a NAT.
    """

    TYPE: ClassVar[int] = OptionType.NAT_DETECTION
    LENGTH: ClassVar[tuple[int, int]] = (6, 6)
    ALIGNMENT: ClassVar[Alignment] = (4, 0)

    forced: bool
    refresh: int

    def encode_data(self) -> bytes:
        return _OCTETS_U32.pack(0x80 if self.forced else 0, self.refresh)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        octet, refresh = _OCTETS_U32.unpack(data)
        return cls(bool(octet & 0x80), refresh)


class IPv4CareOfAddress(KnownOption, frozen=True):
    """The IPv4 care-of address as the mobile node itself sees it (RFC 5555 section 3.1.2)."""

    TYPE: ClassVar[int] = OptionType.IPV4_CARE_OF_ADDRESS
    LENGTH: ClassVar[tuple[int, int]] = (6, 6)
    ALIGNMENT: ClassVar[Alignment] = (4, 0)

    address: IPv4Address

    def encode_data(self) -> bytes:
        return bytes(2) + self.address.packed

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(IPv4Address(data[2:]))


def _prefix_length_octet(length: int) -> int:
    if not 0 <= length <= _MAX_PREFIX_LENGTH_FIELD:
        raise EncodeError(f"a prefix length of {length} does not fit into six bits")
    return length << _PREFIX_LENGTH_SHIFT
