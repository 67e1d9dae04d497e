"""Mobility options of enhanced route optimization (RFC 4866 section 5).

Their names collide with those of the return routability messages: `CareOfTestInitOption` asks inside a
Binding Update for what a Care-of Test Init message asks for.
"""

from __future__ import annotations

from typing import ClassVar, Self

from dsmip.wire.constants import OptionType
from dsmip.wire.option import KnownOption

_TOKEN_SIZE = 8


class _Empty(KnownOption, frozen=True):
    LENGTH: ClassVar[tuple[int, int]] = (0, 0)

    def encode_data(self) -> bytes:
        return b""

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls()


class _Octets(KnownOption, frozen=True):
    LENGTH: ClassVar[tuple[int, int]] = (1, 255)

    data: bytes

    def encode_data(self) -> bytes:
        return self.data

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(data)


class CgaParametersRequest(_Empty, frozen=True):
    """Asks the correspondent for its CGA parameters (RFC 4866 section 5.6)."""

    TYPE: ClassVar[int] = OptionType.CGA_PARAMETERS_REQUEST


class CgaParameters(_Octets, frozen=True):
    """A piece of CGA parameters (RFC 4866 section 5.1); the pieces of a message follow each other."""

    TYPE: ClassVar[int] = OptionType.CGA_PARAMETERS


class Signature(_Octets, frozen=True):
    """A signature with the private key of the CGA parameters before it (RFC 4866 section 5.2)."""

    TYPE: ClassVar[int] = OptionType.SIGNATURE


class PermanentHomeKeygenToken(_Octets, frozen=True):
    """A home keygen token, encrypted for the mobile node (RFC 4866 section 5.3)."""

    TYPE: ClassVar[int] = OptionType.PERMANENT_HOME_KEYGEN_TOKEN
    LENGTH: ClassVar[tuple[int, int]] = (_TOKEN_SIZE, 255)


class CareOfTestInitOption(_Empty, frozen=True):
    """Asks for a care-of keygen token in the acknowledgement (RFC 4866 section 5.4)."""

    TYPE: ClassVar[int] = OptionType.CARE_OF_TEST_INIT


class CareOfTestOption(_Octets, frozen=True):
    """A care-of keygen token, 8 octets (RFC 4866 section 5.5)."""

    TYPE: ClassVar[int] = OptionType.CARE_OF_TEST
    LENGTH: ClassVar[tuple[int, int]] = (_TOKEN_SIZE, _TOKEN_SIZE)
