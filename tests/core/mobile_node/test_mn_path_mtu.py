"""A mobile node finds out how large packets may be, and its data plane and its home agent learn of it."""

from __future__ import annotations

from dataclasses import replace

from mobile_node_bench import (
    BEHIND_NAT,
    CONFIG,
    HOME_ADDRESS,
    HOME_AGENT,
    HOME_AGENT_IPV4,
    NAT4,
    WIFI6,
    Bench,
    at,
    drops,
    only,
)

from dsmip.core.actions import Action, InstallPath, SendDatagram, SendPacket
from dsmip.core.mobile_node.path_mtu import PathSizes
from dsmip.core.mobile_node.policy import Policy
from dsmip.core.network_memory import NetworkMemory
from dsmip.core.path_mtu import RECHECK
from dsmip.core.types import Path, TunnelFormat
from dsmip.wire.icmpv4 import FRAGMENTATION_NEEDED, DestinationUnreachable, encode_icmpv4
from dsmip.wire.icmpv6 import EchoReply, EchoRequest, PacketTooBig, decode_icmpv6, encode_icmpv6
from dsmip.wire.ip import IPv4Header
from dsmip.wire.pathprobe import PROBE_SIZE, ProbePayload, is_probe

SIZED = replace(CONFIG, mtu=1460)


def probes(actions: list[Action]) -> list[tuple[int, bytes]]:
    """Size on the wire, and data, of every padded probe."""
    found = []
    for action in only(actions, SendPacket) + only(actions, SendDatagram):
        inner, outside = (action.packet[40:], 40) if isinstance(action, SendPacket) else (action.payload, 28)
        if not is_probe(inner):
            continue
        echo = decode_icmpv6(inner[40:], HOME_ADDRESS, HOME_AGENT)
        assert isinstance(echo, EchoRequest)
        found.append((outside + len(inner), echo.data))
    return found


def mtus(actions: list[Action]) -> list[int]:
    return [install.path.mtu for install in only(actions, InstallPath)]


def come_back(bench: Bench, data: bytes) -> list[Action]:
    reply = encode_icmpv6(EchoReply(0, 0, data), HOME_AGENT, HOME_ADDRESS)
    bench.node.icmpv6(reply, HOME_AGENT, HOME_ADDRESS, at(bench.time))
    return bench.drain()


def search(bench: Bench, actions: list[Action], takes: int) -> list[Action]:
    """Two seconds on a path whose packets have at most `takes` octets on the wire."""
    done = list(actions)
    end = bench.time + 2
    while True:
        for size, data in probes(actions):
            if size <= takes:
                done += come_back(bench, data)
        due = bench.node.timeout()
        if due is None or due > end:
            return done
        actions = bench.run(due)
        done += actions


def test_one_probe_where_the_uplink_keeps_its_promise() -> None:
    bench = Bench(SIZED)
    assert mtus(bench.attach(0.0, replace(WIFI6, mtu=1492))) == [1452]
    [(size, data)] = probes(bench.answer())
    payload = ProbePayload.decode(data)
    assert (size, payload.flags, payload.mtu, payload.hold) == (1492, PROBE_SIZE, 1452, 0)
    assert mtus(come_back(bench, data)) == []
    assert bench.node.timeout() is not None


def test_the_configured_mtu_is_the_most() -> None:
    bench = Bench(SIZED)
    assert mtus(bench.attach(0.0, replace(WIFI6, mtu=9000))) == [1460]
    bench = Bench()
    assert mtus(bench.attach(0.0, WIFI6)) == [0]
    assert probes(bench.answer()) == []


def test_a_black_hole_is_found_and_remembered() -> None:
    bench = Bench(SIZED)
    bench.attach(0.0, NAT4)
    done = search(bench, bench.answer(options=(BEHIND_NAT,)), takes=1400)
    assert mtus(done)[-1] == 1400 - 28
    assert ProbePayload.decode(probes(done)[-1][1]).mtu in (1460, 1372)

    # The next visit starts with what is known, and tells the home agent.
    bench.attach(50.0, WIFI6)
    bench.answer()
    assert mtus(bench.attach(60.0, NAT4)) == [1372]
    [(size, data)] = probes(bench.answer(options=(BEHIND_NAT,)))
    assert (size, ProbePayload.decode(data).mtu) == (1400, 1372)


def test_the_home_agent_is_told_what_was_found() -> None:
    bench = Bench(SIZED)
    bench.attach(0.0, WIFI6)
    done = search(bench, bench.answer(), takes=1400)
    told = [ProbePayload.decode(data).mtu for size, data in probes(done) if size <= 1400]
    assert mtus(done)[-1] == told[-1] == 1360


def test_packet_too_big_makes_it_look_again() -> None:
    bench = Bench(SIZED)
    bench.attach(0.0, WIFI6)
    search(bench, bench.answer(), takes=1500)
    quoted = bytes(8) + WIFI6.address.packed + HOME_AGENT.packed + bytes(1200)
    router = WIFI6.gateway
    assert router is not None
    for foreign in (bytes(1240), quoted[:30]):
        message = encode_icmpv6(PacketTooBig(1350, foreign), router, WIFI6.address)
        bench.node.icmpv6(message, router, WIFI6.address, at(bench.time))
        assert (bench.node.timeout() or 0) > bench.time
    message = encode_icmpv6(PacketTooBig(1350, quoted), router, WIFI6.address)
    bench.node.icmpv6(message, router, WIFI6.address, at(bench.time))
    assert mtus(search(bench, bench.drain(), takes=1350)) == [1310]


def test_fragmentation_needed_makes_it_look_again() -> None:
    bench = Bench(SIZED)
    bench.attach(0.0, NAT4)
    search(bench, bench.answer(options=(BEHIND_NAT,)), takes=1500)
    outer = IPv4Header(NAT4.address, HOME_AGENT_IPV4, 17, 1400).encode() + bytes(8)
    for code, told in ((3, 1350), (FRAGMENTATION_NEEDED, 0)):
        bench.node.icmpv4(encode_icmpv4(DestinationUnreachable(code, told, outer)), at(bench.time))
        assert (bench.node.timeout() or 0) > bench.time
    bench.node.icmpv4(b"", at(bench.time))
    assert drops(bench.drain()) != []
    bench.node.icmpv4(encode_icmpv4(DestinationUnreachable(4, 1350, outer)), at(bench.time))
    assert mtus(search(bench, bench.drain(), takes=1350)) == [1322]


def test_it_looks_again_after_a_while() -> None:
    bench = Bench(replace(SIZED, lifetime=7200))
    bench.attach(0.0, WIFI6)
    search(bench, bench.answer(lifetime=7200), takes=1500)
    assert [size for size, _ in probes(bench.run(RECHECK + 1))][:1] == [1500]


def test_with_several_uplinks_there_is_room_for_the_headers_of_copies() -> None:
    config = replace(SIZED, multihoming=Policy())
    sizes, wanted = PathSizes(NetworkMemory()), 1500 - 56
    assert sizes.mtu(config, WIFI6, TunnelFormat.IPV6) == wanted
    path = Path(TunnelFormat.IPV6, WIFI6.address, HOME_AGENT, mtu=wanted)
    sizes.confirm(0.02, at(0.0))
    [(size, data)] = probes(list[Action](sizes.probes(config, path, "wlan0", 3, at(0.0))))
    payload = ProbePayload.decode(data)
    assert (size, payload.bid, payload.mtu) == (1500, 3, wanted)
    sizes.answered(payload, len(data), at(0.01))
    assert (sizes.found, sizes.due) == (wanted, 0.01 + RECHECK)


def test_another_mtu_of_the_interface_is_another_search_at_once() -> None:
    sizes = PathSizes(NetworkMemory())
    sizes.mtu(SIZED, WIFI6, TunnelFormat.IPV6)
    sizes.confirm(0.02, at(0.0))
    narrow = replace(WIFI6, mtu=1400)
    assert sizes.mtu(SIZED, narrow, TunnelFormat.IPV6) == 1360
    assert sizes.due == 0.0
    path = Path(TunnelFormat.IPV6, WIFI6.address, HOME_AGENT, mtu=1360)
    assert [size for size, _ in probes(list[Action](sizes.probes(SIZED, path, "wlan0", 0, at(7.0))))] == [
        1400
    ]
