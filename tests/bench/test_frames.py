"""Packets of the generators, taken apart again by the wire layer."""

from __future__ import annotations

import ctypes
import os
import socket
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from dsmip.bench import frames
from dsmip.bench.network import Network
from dsmip.core.types import TunnelFormat
from dsmip.lab import namespaces
from dsmip.wire.ip import IPv4Header, IPv6Header, UdpHeader

SIX, SIX2 = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
FOUR, FOUR2 = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")


def test_small_packets_have_64_octets() -> None:
    six, four = frames.packet(SIX, SIX2), frames.packet(FOUR, FOUR2)
    assert (len(six), len(four)) == (64, 64)
    assert IPv6Header.decode(six)[:4] == (SIX, SIX2, 17, 24)
    assert IPv4Header.decode(four)[:4] == (FOUR, FOUR2, 17, 44)


@pytest.mark.parametrize("inner", [frames.packet(SIX, SIX2), frames.packet(FOUR, FOUR2)])
@pytest.mark.parametrize(
    ("tunnel", "source", "destination", "overhead"),
    [
        (TunnelFormat.IPV6, "2001:db8:f::1", "2001:db8:f::2", 40),
        (TunnelFormat.IPV4, "198.51.100.1", "198.51.100.2", 20),
        (TunnelFormat.UDP4, "198.51.100.1", "198.51.100.2", 28),
    ],
)
def test_tunnelled_packets(
    inner: bytes, tunnel: TunnelFormat, source: str, destination: str, overhead: int
) -> None:
    packet = frames.tunnelled(inner, tunnel, ip_address(source), ip_address(destination))
    assert packet[overhead:] == inner
    header = (IPv6Header if tunnel is TunnelFormat.IPV6 else IPv4Header).decode(packet)
    if tunnel is TunnelFormat.UDP4:
        assert header.protocol == 17  # type: ignore[union-attr]
        assert UdpHeader.decode(packet[20:])[:3] == (4191, 4191, 8 + len(inner))
    else:
        assert header[2] == (41 if inner[0] >> 4 == 6 else 4)


def test_frames_name_what_they_carry() -> None:
    assert (
        frames.frame(b"a" * 6, b"b" * 6, frames.packet(SIX, SIX2))[:14] == b"a" * 6 + b"b" * 6 + b"\x86\xdd"
    )
    assert frames.frame(b"a" * 6, b"b" * 6, frames.packet(FOUR, FOUR2))[12:14] == b"\x08\x00"


def test_messages_are_laid_out_as_the_kernel_reads_them() -> None:
    """struct mmsghdr on a 64-bit machine: a whole struct msghdr, then the octets sent."""
    assert ctypes.sizeof(frames._Message) == 64
    assert frames._Message.sent.offset == 56


@pytest.mark.root
def test_a_sender_sends_every_frame_in_its_turn() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    octets = [frames.frame(b"a" * 6, b"b" * 6, frames.packet(FOUR, FOUR2 + n)) for n in range(5)]
    with Network("f") as net, closing(frames.Sender(net.namespace("cn"), "c0", octets)) as sender:
        tap = namespaces.open_socket(net.namespace("ha"), socket.AF_PACKET, socket.SOCK_RAW)
        with tap:
            tap.bind(("c0", 0x0800))
            tap.settimeout(2)
            assert [sender.send(3), sender.send(64), sender.send(1)] == [3, 2, 1]
            assert [tap.recv(2000) for _ in range(6)] == [*octets, octets[0]]
