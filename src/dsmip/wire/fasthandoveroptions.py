"""Mobility options of fast handovers (RFC 5568 section 6.4)."""

from __future__ import annotations

from ipaddress import IPv6Address
from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.constants import OptionType
from dsmip.wire.option import Alignment, AuthenticatingOption, KnownOption

_PREFIX = Struct(">BB16s")
_SPI = Struct(">I")
_OCTET = Struct(">B")

#: Octets of the default authenticator, HMAC-SHA1-96 (RFC 5568 section 6.4.5).
AUTHENTICATOR_SIZE = 12


class MHLinkLayerAddress(KnownOption, frozen=True):
    """A link-layer address, code 2 = the mobile node's (RFC 5568 section 6.4.4)."""

    TYPE: ClassVar[int] = OptionType.MH_LINK_LAYER_ADDRESS
    LENGTH: ClassVar[tuple[int, int]] = (1, 255)

    code: int
    address: bytes

    def encode_data(self) -> bytes:
        return _OCTET.pack(self.code) + self.address

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(data[0], data[1:])


class MHIPv6AddressPrefix(KnownOption, frozen=True):
    """An address or prefix of a handover (RFC 5568 section 6.4.2).

    Code 1 = old care-of address, 2 = new care-of address, 3 = the new router's address, 4 = its prefix.
    """

    TYPE: ClassVar[int] = OptionType.MH_IPV6_ADDRESS_PREFIX
    LENGTH: ClassVar[tuple[int, int]] = (18, 18)
    ALIGNMENT: ClassVar[Alignment] = (8, 4)

    code: int
    prefix_length: int
    address: IPv6Address

    def encode_data(self) -> bytes:
        return _PREFIX.pack(self.code, self.prefix_length, self.address.packed)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        code, prefix_length, address = _PREFIX.unpack(data)
        return cls(code, prefix_length, IPv6Address(address))


class FastBindingAuthorizationData(AuthenticatingOption, frozen=True):
    """Authenticator of a Fast Binding Update or Acknowledgement, "BADF" (RFC 5568 section 6.4.5).

    The RFC lets Option Length count the authenticator alone, which no reader that walks options can follow;
    as in other implementations it counts the SPI too. What a sender that follows the RFC's words makes of it
    is understood too: AUTHENTICATOR_SIZE long, and an SPI's length of octets behind. A shorter authenticator
    than the default one is nobody's.
    """

    TYPE: ClassVar[int] = OptionType.BINDING_AUTHORIZATION_DATA_FMIPV6
    LENGTH: ClassVar[tuple[int, int]] = (_SPI.size + AUTHENTICATOR_SIZE, 255)
    ALIGNMENT: ClassVar[Alignment] = (1, 0)
    COVERED: ClassVar[int] = _SPI.size

    spi: int
    authenticator: bytes

    def encode_data(self) -> bytes:
        return _SPI.pack(self.spi) + self.authenticator

    def with_authenticator(self, authenticator: bytes) -> Self:
        return type(self)(self.spi, authenticator)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        (spi,) = _SPI.unpack_from(data)
        return cls(spi, data[_SPI.size :])
