"""Signalling under IPsec: which ESP on its way out is the daemon's, with a kernel in memory."""

from __future__ import annotations

from ipaddress import IPv6Address
from types import SimpleNamespace

import pytest

from dsmip.core.actions import SendPacket
from dsmip.daemon import protection
from dsmip.daemon.protection import Peer, SignallingProtection
from dsmip.wire.ip import IPv6Header
from dsmip.wire.packet import decode_packet, encode_packet

HA, HOME, CARE_OF = (IPv6Address(f"2001:db8:{rest}") for rest in ("100::1", "100::10", "206::5"))
ESP, MOBILITY = 50, 135
MESSAGE = bytes([59, 1, 6, 0]) + bytes(12)


class FakeSocket:
    """Keeps what is sent, with its tag."""

    def __init__(self, mark: int) -> None:
        self.mark = mark
        self.sent: list[tuple[bytes, int]] = []

    def send(self, source: IPv6Address, destination: IPv6Address, message: bytes, tag: int, _: int) -> bool:
        self.sent.append((message, tag))
        return True


@pytest.fixture
def sent() -> list[object]:
    return []


@pytest.fixture
def signalling(monkeypatch: pytest.MonkeyPatch, sent: list[object]) -> SignallingProtection:
    kernel = SimpleNamespace(set_policy=lambda policy: None, set_state=lambda state: None)
    monkeypatch.setattr(protection, "Xfrm", lambda: kernel)
    monkeypatch.setattr(protection, "MobilitySocket", FakeSocket)
    made = SignallingProtection(lambda packet: True, lambda packet: None, sent.append)
    made.add(Peer(HA, HOME, 1))
    return made


def leaving(tag: int) -> bytes:
    """ESP between the two ends, as the kernel made it of what was sent with this tag."""
    octets = bytearray(IPv6Header(HA, HOME, ESP, 24, tag & 0xFF).encode() + b"E" * 24)
    octets[0] |= tag >> 12
    octets[1] |= (tag >> 4) & 0xF0
    return bytes(octets)


def test_a_message_leaves_in_its_own_headers_once_it_is_encrypted(
    signalling: SignallingProtection, sent: list[object]
) -> None:
    clear = encode_packet(HA, CARE_OF, MESSAGE, MOBILITY, routing_home_address=HOME)
    assert signalling.protects(SendPacket(clear))
    assert isinstance(signalling.socket, FakeSocket)
    ((message, tag),) = signalling.socket.sent
    assert (message, sent) == (MESSAGE, [])
    assert signalling.takes(leaving(tag))
    (action,) = sent
    assert isinstance(action, SendPacket)
    packet = decode_packet(action.packet)
    assert (packet.destination, packet.next_header, packet.payload) == (CARE_OF, ESP, b"E" * 24)
    # It is gone: the same once more is somebody else's.
    assert not signalling.takes(leaving(tag))


def test_payload_under_esp_that_is_too_big_is_the_engines_business(
    signalling: SignallingProtection, sent: list[object]
) -> None:
    """The data plane hands it over for its sender to be told."""
    assert not signalling.takes(leaving(64))
    assert sent == []
