"""RFC 8910: what a network says of its captive portal."""

from __future__ import annotations

import pytest

from dsmip.wire.captiveportal import CaptivePortal, portal_url
from dsmip.wire.cursor import Cursor
from dsmip.wire.ndoptioncodec import decode_nd_options, encode_nd_options


def test_rfc8910_2_3_the_uri_is_padded_with_zeros() -> None:
    octets = encode_nd_options([CaptivePortal(b"https://a.example/")])
    assert octets == bytes([37, 3]) + b"https://a.example/" + bytes(4)
    (option,) = decode_nd_options(Cursor(octets))
    assert option == CaptivePortal(b"https://a.example/")


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        (b"https://portal.example/api?x=1", "https://portal.example/api?x=1"),
        (b"HTTPS://portal.example\0\0", "HTTPS://portal.example"),
        (b"http://192.0.2.1/", "http://192.0.2.1/"),
        (b"urn:ietf:params:capport:unrestricted", None),
        (b"", None),
        (b"javascript:alert(1)", None),
        (b"https://portal.example/\x1b[2J", None),
        (b"https://portal.example/ log in", None),
        ("https://pörtal.example/".encode(), None),
        (b"https://" + b"a" * 250, None),
    ],
)
def test_what_can_be_shown(uri: bytes, url: str | None) -> None:
    assert portal_url(uri) == url
