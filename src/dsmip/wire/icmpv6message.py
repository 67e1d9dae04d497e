"""What all ICMPv6 messages have in common."""

from __future__ import annotations

from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpmessage import IcmpMessage, KnownIcmp


class Icmpv6Message(IcmpMessage):
    """One ICMPv6 message (RFC 4443 section 2.1). Subclasses are frozen dataclasses."""

    __slots__ = ()


class KnownIcmpv6(KnownIcmp, Icmpv6Message):
    """A message whose type has a class of its own."""

    __slots__ = ()


def require_code_zero(message: type[KnownIcmpv6], code: int) -> None:
    """DecodeError("malformed") unless `code` is 0, as for all messages of neighbour discovery."""
    if code:
        raise DecodeError("malformed", f"{message.__name__} with code {code}")
