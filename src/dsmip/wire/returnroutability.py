"""The four messages of the return routability procedure (RFC 6275 section 5.2)."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.constants import MHType
from dsmip.wire.message import COMMON_SIZE, Message, Options

#: Octets of an init cookie and of a keygen token.
COOKIE_SIZE = 8

_INIT = Struct(">2x8s")
_TEST = Struct(">H8s8s")


class _TestInit(Message, frozen=True):
    MINIMUM_LENGTH: ClassVar[int] = 1
    OPTIONS_AT: ClassVar[int] = 16

    cookie: bytes
    options: Options = ()

    def encode_data(self) -> bytes:
        _check_octets(self.cookie)
        return _INIT.pack(self.cookie)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        (cookie,) = _INIT.unpack_from(header, COMMON_SIZE)
        return cls(cookie, options)


class HomeTestInit(_TestInit, frozen=True):
    """Asks a correspondent, through the home agent, for a home keygen token (RFC 6275 section 6.1.3)."""

    MH_TYPE: ClassVar[int] = MHType.HOME_TEST_INIT


class CareOfTestInit(_TestInit, frozen=True):
    """Asks a correspondent directly for a care-of keygen token (RFC 6275 section 6.1.4)."""

    MH_TYPE: ClassVar[int] = MHType.CARE_OF_TEST_INIT


class _Test(Message, frozen=True):
    MINIMUM_LENGTH: ClassVar[int] = 2
    OPTIONS_AT: ClassVar[int] = 24

    nonce_index: int
    cookie: bytes
    token: bytes
    options: Options = ()

    def encode_data(self) -> bytes:
        _check_octets(self.cookie)
        _check_octets(self.token)
        return _TEST.pack(self.nonce_index, self.cookie, self.token)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        nonce_index, cookie, token = _TEST.unpack_from(header, COMMON_SIZE)
        return cls(nonce_index, cookie, token, options)


class HomeTest(_Test, frozen=True):
    """A home keygen token, sent to the home address (RFC 6275 section 6.1.5)."""

    MH_TYPE: ClassVar[int] = MHType.HOME_TEST


class CareOfTest(_Test, frozen=True):
    """A care-of keygen token, sent to the care-of address (RFC 6275 section 6.1.6)."""

    MH_TYPE: ClassVar[int] = MHType.CARE_OF_TEST


def _check_octets(value: bytes) -> None:
    if len(value) != COOKIE_SIZE:
        raise ValueError(f"a cookie or token of {len(value)} octets")
