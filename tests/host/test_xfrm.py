"""What is told to the kernel about IPsec, as octets: no kernel is asked."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from dsmip.host import xfrm
from dsmip.host.rtnetlink import attribute, attributes
from dsmip.host.xfrm import Aead, Association, State, Traffic, Xfrm, dropped

ALL6, HOME = IPv6Network("::/0"), IPv6Network("2001:db8:100::10")
ALL4, POOL = IPv4Network("0.0.0.0/0"), IPv4Network("198.51.100.128/25")


@pytest.mark.parametrize(
    "traffic",
    [
        Traffic(HOME, ALL6),
        Traffic(ALL6, HOME, 58, 135),
        Traffic(HOME, HOME, 135),
        Traffic(ALL4, POOL),
        Traffic(POOL, ALL4, 17),
        Traffic(HOME, HOME, 58, 0),
        Traffic(HOME, HOME, 58, 146, pair=True),
    ],
)
def test_selectors_come_back(traffic: Traffic) -> None:
    octets = traffic.encode()
    assert len(octets) == 56  # struct xfrm_selector
    assert Traffic.decode(octets) == traffic


def test_attributes_come_back_and_broken_ones_end_the_list() -> None:
    octets = attribute(18, b"abc") + attribute(23, b"") + attribute(5, b"x" * 8)
    assert attributes(octets) == {18: b"abc", 23: b"", 5: b"x" * 8}
    assert attributes(octets + b"\1\0\1\0") == attributes(octets)
    assert attributes(b"") == {}


def test_what_ipsec_has_dropped(tmp_path: Path) -> None:
    path = tmp_path / "xfrm_stat"
    assert dropped(path) == {}
    path.write_text("XfrmInError             \t0\nXfrmInNoPols            \t17\nXfrmOutNoStates\t2\n")
    assert dropped(path) == {"XfrmInNoPols": 17, "XfrmOutNoStates": 2}


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(Aead(b"secretsecretsecretse"))
    kinds = attributes(Aead(b"secretsecretsecretse").encode())
    assert kinds[18].startswith(b"rfc4106(gcm(aes))\0")  # XFRMA_ALG_AEAD
    assert kinds[18].endswith(
        (160).to_bytes(4, "little") + (128).to_bytes(4, "little") + b"secretsecretsecretse"
    )


class Requests:
    """Gives back what it was told to put in, as the kernel does: with what it has added behind."""

    def __init__(self) -> None:
        self.states: list[bytes] = []

    def request(self, kind: int, flags: int, body: bytes) -> None:
        if flags:
            self.states.append(body + attribute(23, bytes(24)))

    def ask(self, kind: int, body: bytes, *, everything: bool = False) -> list[bytes]:
        assert (kind, everything) == (0x12, True)  # XFRM_MSG_GETSA
        return self.states


def test_what_tells_security_associations_apart_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = Requests()
    monkeypatch.setattr(xfrm, "RequestSocket", lambda _protocol: requests)
    kernel = Xfrm()
    aead = Aead(bytes(20))
    there, here = IPv6Address("2001:db8:100::10"), IPv6Address("2001:db8:ffff::1")
    kernel.set_state(State(there, here, 0xC0000001, aead, 0x4000004D, Traffic(HOME, HOME, 135)))
    # Being negotiated: what is known of it so far.
    requests.states.append(requests.states[0][:224] + attribute(23, bytes(24)))
    kernel.set_state(State(IPv4Address("192.0.2.1"), IPv4Address("198.51.100.1"), 0x1001, aead, 7, None))
    assert list(kernel.associations()) == [
        Association(there, here, 0xC0000001, 0x4000004D),
        Association(IPv4Address("192.0.2.1"), IPv4Address("198.51.100.1"), 0x1001, 7),
    ]
