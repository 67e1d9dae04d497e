"""The tunnel device stays, can be taken up again, and goes when told to."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest

from dsmip.dataplane.api import DataPlaneError
from dsmip.dataplane.tun import TunDevice, _complete_checksum
from tests.dataplane.namespaces import Namespace


@pytest.fixture
def node() -> Iterator[Namespace]:
    namespace = Namespace("tun")
    with namespace.inside():
        yield namespace
    namespace.delete()


@pytest.mark.root
def test_it_stays_after_close_and_goes_on_destroy(node: Namespace) -> None:
    device = TunDevice.open("dsmip0")
    device.close()
    device.close()
    index = socket.if_nametoindex("dsmip0")
    again = TunDevice.open("dsmip0")
    assert socket.if_nametoindex("dsmip0") == index
    again.destroy()
    again.destroy()
    assert "dsmip0" not in [name for _, name in socket.if_nameindex()]


@pytest.mark.root
def test_only_one_process_can_hold_it(node: Namespace) -> None:
    device = TunDevice.open("dsmip0")
    with pytest.raises(DataPlaneError, match="another process holds it"):
        TunDevice.open("dsmip0")
    device.destroy()


@pytest.mark.root
def test_other_interfaces_are_not_taken(node: Namespace) -> None:
    node.ip("link add dsmip0 type veth peer name other")
    with pytest.raises(DataPlaneError, match="another kind"):
        TunDevice.open("dsmip0")


@pytest.mark.root
def test_reading(node: Namespace, caplog: pytest.LogCaptureFixture) -> None:
    device = TunDevice.open("dsmip0")
    with caplog.at_level(logging.WARNING):
        assert device.read() is None
        assert device.read() is None
    assert len(caplog.records) <= 1  # down: said once
    node.ip("link set dsmip0 up")
    node.ip("addr add 192.0.2.1/24 dev dsmip0")
    while device.read() is not None:
        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", ("192.0.2.2", 9))
    packet = device.read()
    assert packet is not None
    assert packet[0] == 0x45
    assert packet[-5:] == b"hello"
    assert device.read() is None
    device.destroy()


def test_rfc1071_checksum_is_completed() -> None:
    """RFC 1071 section 3: the words 0001 f203 f4f5 f6f7 sum up to ddf2."""
    packet = bytes(4) + bytes.fromhex("0001f203f4f5f6f7") + b"\0\0"
    assert _complete_checksum(packet, 4, 12)[12:] == bytes.fromhex("220d")
    assert _complete_checksum(b"\xff\xff\0\0", 0, 2) == b"\xff\xff\xff\xff"
    assert _complete_checksum(b"\0\0\1", 0, 0) == b"\xfe\xff\1"
    assert _complete_checksum(b"\0", 0, 0) == b"\0"
