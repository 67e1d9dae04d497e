"""Reading rtnetlink, DHCP and neighbour discovery from a link that sends anything."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest

from dsmip.host import links
from dsmip.host.dhcp import DhcpClient
from dsmip.host.link_sockets import LinkSockets
from dsmip.movement.actions import DhcpLease
from tests.host.lab import Lab, inside

pytestmark = pytest.mark.root


async def _until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)


def test_after_lost_events_the_differences_are_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "RECEIVE_BUFFER", 2048)
    seen: set[str] = set()

    def told(event: links.LinkEvent) -> None:
        if isinstance(event, links.AddressSeen):
            seen.add(str(event.address))
        elif isinstance(event, links.AddressGone):
            seen.discard(str(event.address))

    def present() -> set[str]:
        words = lab.ip("mobile", "-o -4 addr show dev u0").split()
        return {word.split("/")[0] for before, word in itertools.pairwise(words) if before == "inet"}

    async def main() -> None:
        monitor = links.LinkMonitor(["u0"], told)
        await monitor.start()
        buffer = monitor._buffer
        for number in range(300):  # the event loop does not turn: the socket overflows
            lab.ip("mobile", f"addr add 10.7.{number // 250}.{number % 250 + 1}/32 dev u0")
            if number % 3 == 0 and number:
                before = number - 1
                lab.ip("mobile", f"addr del 10.7.{before // 250}.{before % 250 + 1}/32 dev u0")
        await _until(lambda: {a for a in seen if "." in a} == present())
        assert monitor._buffer > buffer
        lab.ip("mobile", "addr add 10.8.0.1/32 dev u0")
        await _until(lambda: "10.8.0.1" in seen)
        await monitor.stop()

    with inside("mobile"):
        asyncio.run(main())


@contextlib.contextmanager
def _raw() -> Iterator[socket.socket]:
    """A packet socket on the router's end, to send anything to the mobile node."""
    with inside("a"), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind(("d0", 0))
        yield sock


def _mac(lab: Lab) -> bytes:
    return bytes.fromhex(lab.ip("mobile", "-br link show u0").split()[2].replace(":", ""))


def test_malformed_packets_stop_neither_dhcp_nor_neighbour_discovery(lab: Lab) -> None:
    lab.plug("a")
    lab.serve("a")
    mac = _mac(lab)
    leases: list[DhcpLease] = []
    lost: list[IPv4Address] = []
    heard: list[object] = []
    udp = b"\x00\x43\x00\x44" + (200).to_bytes(2, "big") + b"\0\0"
    ip = b"\x45\0" + (220).to_bytes(2, "big") + bytes(5) + b"\x11" + bytes(2) + b"\x0a\1\0\1" + b"\xff" * 4
    ipv6 = b"\x60\0\0\0\0\x10\x3a\xff" + bytes.fromhex("fe80" + "00" * 13 + "01" + "ff02" + "00" * 13 + "01")

    async def main() -> None:
        index = socket.if_nametoindex("u0")
        sockets = LinkSockets(index, mac, lambda *what: heard.append(what), lambda *what: heard.append(what))
        client = DhcpClient("u0", leases.append, lost.append)
        client.start(index, mac, None)
        await asyncio.sleep(0)
        with _raw() as sock:
            for size in (0, 1, 20, 100, 236, 240, 245, 300):
                frame = mac + b"\2\0\0\0\0\x99" + b"\x08\0" + ip + udp + os.urandom(size)
                sock.send(frame)
                sock.send(mac + b"\2\0\0\0\0\x99" + b"\x86\xdd" + ipv6 + b"\x86" + os.urandom(size))
                sock.send(mac + b"\2\0\0\0\0\x99" + b"\x08\x06" + os.urandom(6) + b"\0\2" + os.urandom(size))
        await _until(lambda: leases)
        sockets.solicit_routers(None)
        await _until(lambda: heard)
        client.start(index, mac, leases[0])
        await _until(lambda: len(leases) == 2)
        assert leases[1].address == leases[0].address
        assert lost == []
        await client.close()
        sockets.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with inside("mobile"):
        asyncio.run(main())


def test_rfc2131_3_2_a_refused_lease_is_reported_and_another_one_obtained(lab: Lab) -> None:
    lab.plug("a")
    lab.serve("a", radvd=False, authoritative=True)
    mac = _mac(lab)
    leases: list[DhcpLease] = []
    lost: list[IPv4Address] = []
    elsewhere = DhcpLease(IPv4Address("192.0.2.9"), 24, time.time(), 3600.0, None, None, bytes(6))

    async def main() -> None:
        client = DhcpClient("u0", leases.append, lost.append)
        client.start(socket.if_nametoindex("u0"), mac, elsewhere)
        await _until(lambda: leases)
        assert lost == [elsewhere.address]
        assert leases[0].address in leases[0].network
        assert str(leases[0].gateway) == "10.1.0.1"
        await client.close()

    with inside("mobile"):
        asyncio.run(main())


def test_dhcp_stopped_at_any_moment_reports_nothing_and_leaves_nothing(lab: Lab) -> None:
    lab.plug("a")
    lab.serve("a", radvd=False)
    mac = _mac(lab)
    leases: list[DhcpLease] = []

    async def main() -> None:
        index = socket.if_nametoindex("u0")
        client = DhcpClient("u0", leases.append, lambda _: None)
        client.start(index, mac, None)
        await _until(lambda: leases)
        gc.collect()
        descriptors = len(os.listdir("/proc/self/fd"))
        for turn in range(200):
            client.start(index, mac, leases[0] if turn % 2 else None)
            await asyncio.sleep(0.0001 * (turn % 30))
            client.stop()
            count = len(leases)
            await asyncio.sleep(0.002 if turn % 5 == 0 else 0)
            assert len(leases) == count
        await asyncio.sleep(0.05)
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= descriptors
        assert sum(isinstance(thing, asyncio.Task) for thing in gc.get_objects()) < 20
        await client.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with inside("mobile"):
        asyncio.run(main())
