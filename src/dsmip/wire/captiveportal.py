"""The captive portal of a network, as routers and DHCP servers name it (RFC 8910)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from dsmip.wire.ndoption import KnownNDOption

#: As much as a DHCP option carries (RFC 8910 section 2.1).
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class CaptivePortal(KnownNDOption):
    """The URI of the portal, as octets (RFC 8910 section 2.3). Zeros at its end are padding."""

    TYPE: ClassVar[int] = 37

    uri: bytes

    def encode_data(self) -> bytes:
        return self.uri

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(data.rstrip(b"\0"))


def portal_url(uri: bytes) -> str | None:
    """What a person can open in a browser; None when the network says that there is none
    (urn:ietf:params:capport:unrestricted), or nonsense.

    Anybody on the link may have sent this, and it is shown on terminals: visible ASCII characters only.
    """
    uri = uri.rstrip(b"\0")
    visible = all(0x21 <= octet <= 0x7E for octet in uri)
    if not visible or len(uri) > _LONGEST or not uri.lower().startswith((b"https://", b"http://")):
        return None
    return uri.decode("ascii")
