"""Packets over several paths at once: copies, their sequence numbers, and second copies dropped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path as FilePath

import pytest
from msgspec.structs import replace

from dsmip.core.types import FlowRule, TunnelFormat
from dsmip.dataplane.api import Role, Traffic
from dsmip.dataplane.maps import COPY_MARK, WINDOW
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector
from tests.dataplane.bench import BINDING, TC_REDIRECT, TC_SHOT, Bench
from tests.dataplane.packets import (
    HEADER_LENGTH,
    PORT,
    TUNNELS,
    care_of_bid,
    frame,
    in_udp,
    inner,
    over_ipv4,
    wrap,
)

pytestmark = pytest.mark.root

HEADER = 8
TUNNEL = TunnelFormat.UDP4
#: In what a format's packets travel when they carry a sequence number.
SEQUENCED = {
    TunnelFormat.IPV6: TunnelFormat.UDP6,
    TunnelFormat.IPV4: TunnelFormat.UDP4,
    TunnelFormat.UDP4: TunnelFormat.UDP4,
    TunnelFormat.UDP6: TunnelFormat.UDP6,
}


@pytest.fixture(scope="module", params=list(Role), ids=lambda role: role.value)
def bench(request: pytest.FixtureRequest, bpf_directory: FilePath) -> Iterator[Bench]:
    with Bench("copies", request.param, bpf_directory) as made:
        yield made


def copied_over(bench: Bench, *bids: int, tunnel: TunnelFormat = TUNNEL, agreed: bool = False) -> None:
    """A binding with these paths and 9, which is preferred; all packets of both families are copied."""
    bench.bind_bids(9, *bids, tunnel=tunnel)
    rules = [FlowRule(IPv6TrafficSelector(), bids), FlowRule(IPv4TrafficSelector(), bids)]
    bench.plane.set_flows(BINDING, rules)
    bench.plane.set_duplication(BINDING, agreed)


def outgoing(bench: Bench, version: int = 6) -> bytes:
    return inner(version, to_home=bench.role is Role.HOME_AGENT)


def sent(bench: Bench, wanted: int, version: int = 6) -> list[bytes]:
    """What leaves when one packet is sent."""
    bench.send(outgoing(bench, version))
    return [found[14:] for found in bench.on_wire(wanted) + bench.on_wire(1, patience=0.02)]


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_rfc6089_copies_are_plain_without_agreement(bench: Bench, tunnel: TunnelFormat, version: int) -> None:
    copied_over(bench, 1, 2, tunnel=tunnel)
    local, remote = bench.ends(tunnel)
    expected = []
    for bid in (1, 2):
        care_of = care_of_bid(bid, tunnel)
        ends = (local, care_of) if bench.role is Role.HOME_AGENT else (care_of, remote)
        expected.append(wrap(tunnel, outgoing(bench, version), *ends))
    found = sent(bench, 2, version)
    if not over_ipv4(tunnel):  # without the flow label
        found = [copy[:1] + bytes([copy[1] & 0xF0, 0, 0]) + copy[4:] for copy in found]
    assert sorted(found) == sorted(expected)


def test_three_copies_at_most_over_usable_paths(bench: Bench) -> None:
    copied_over(bench, 1, 2, 3, 4, 5)
    bench.send(outgoing(bench))
    assert sorted(bench.bids_on_wire(4)) == [1, 2, 3]
    bench.plane.remove_path(BINDING, 1)
    bench.plane.remove_path(BINDING, 3)
    bench.send(outgoing(bench))
    assert sorted(bench.bids_on_wire(4)) == [2, 4, 5]
    bench.plane.remove_path(BINDING, 2)
    bench.plane.remove_path(BINDING, 5)
    bench.send(outgoing(bench))
    assert bench.bids_on_wire(2) == [4]
    bench.plane.remove_path(BINDING, 4)
    bench.send(outgoing(bench))
    assert bench.bids_on_wire(2) == [9]


def test_a_path_named_twice_gets_one_copy(bench: Bench) -> None:
    copied_over(bench, 1, 2)
    bench.plane.set_flows(BINDING, [FlowRule(IPv6TrafficSelector(), (2, 0, 2, 1, 1))])
    bench.send(outgoing(bench))
    assert sorted(bench.bids_on_wire(2) + bench.bids_on_wire(1, patience=0.02)) == [1, 2]


def test_each_copy_counts_for_its_path(bench: Bench) -> None:
    copied_over(bench, 1, 2)
    assert len(sent(bench, 2)) == 2
    one = Traffic(1, len(outgoing(bench)))
    assert [bench.plane.paths(BINDING)[bid].traffic for bid in (1, 2, 9)] == [one, one, Traffic()]


def test_the_mark_of_a_copy_is_not_taken_from_outside(bench: Bench) -> None:
    copied_over(bench, 1)
    bench.sender.setsockopt(1, 36, COPY_MARK)  # SOL_SOCKET, SO_MARK
    try:
        bench.send(outgoing(bench))
        assert bench.bids_on_wire() == [1]
    finally:
        bench.sender.setsockopt(1, 36, 0)


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_copies_carry_one_sequence_number_where_agreed(
    bench: Bench, tunnel: TunnelFormat, version: int
) -> None:
    copied_over(bench, 1, 2, tunnel=tunnel, agreed=True)
    travels = SEQUENCED[tunnel]
    length, inside = HEADER_LENGTH[travels], outgoing(bench, version)
    numbers = []
    for _ in range(2):
        first, second = sent(bench, 2, version)
        assert first[length:] == second[length:]
        header, rest = first[length : length + HEADER], first[length + HEADER :]
        assert (header[:4], rest) == (b"\x01\0\0\0", inside)
        numbers.append(int.from_bytes(header[4:], "big"))
        for copy in (first, second):
            assert copy[length - 8 : length - 4] == PORT.to_bytes(2, "big") * 2
            # Lengths in IP and UDP headers cover what has been added.
            assert int.from_bytes(copy[length - 4 : length - 2], "big") == len(copy) - (length - 8)
            total = int.from_bytes(copy[2:4] if over_ipv4(travels) else copy[4:6], "big")
            assert total == len(copy) - (0 if over_ipv4(travels) else 40)
    assert (numbers[1] - numbers[0]) % 2**32 == 1


def test_a_packet_that_takes_one_path_carries_no_number(bench: Bench) -> None:
    copied_over(bench, 1, 2, agreed=True)
    bench.plane.remove_path(BINDING, 2)
    [only] = sent(bench, 1)
    assert only[HEADER_LENGTH[TUNNEL] :] == outgoing(bench)


def test_numbers_go_on_when_the_choice_changes(bench: Bench) -> None:
    copied_over(bench, 1, 2, agreed=True)
    start = HEADER_LENGTH[TUNNEL] + 4

    def number() -> int:
        return int.from_bytes(sent(bench, 2)[0][start : start + 4], "big")

    before = number()
    bench.plane.set_preference(BINDING, [1, 9])
    assert 1 < (number() - before) % 2**32 < 2**20


# Receiving -------------------------------------------------------------------------------------------------


def sequenced(number: int, inside: bytes) -> bytes:
    return b"\x01\0\0\0" + number.to_bytes(4, "big") + inside


def arriving(
    bench: Bench, bid: int, content: bytes, tunnel: TunnelFormat = TUNNEL, port: int = PORT
) -> bytes:
    local, remote = bench.ends(tunnel)
    care_of = care_of_bid(bid, tunnel)
    ends = (care_of, local) if bench.role is Role.HOME_AGENT else (remote, care_of)
    return frame(wrap(tunnel, content, *ends, source_port=port))


def incoming(bench: Bench, version: int = 6) -> bytes:
    return inner(version, to_home=bench.role is Role.MOBILE_NODE)


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_the_second_copy_is_dropped(bench: Bench, tunnel: TunnelFormat, version: int) -> None:
    copied_over(bench, 1, 2, tunnel=tunnel, agreed=True)
    inside = incoming(bench, version)
    for number in (1, 2**32 - 1, 77):
        content = sequenced(number, inside)
        first, second = (arriving(bench, bid, content, SEQUENCED[tunnel]) for bid in (1, 2))
        verdict, out, _ = bench.receive(first)
        assert (verdict, out[14:]) == (TC_REDIRECT, inside)
        for copy in (second, first):
            drops = bench.drops_of(lambda c=copy: bench.receive(c))  # type: ignore[misc]
            assert drops == {"duplicates": 1}


def test_copies_may_be_late_within_the_window(bench: Bench) -> None:
    copied_over(bench, 1, 2, agreed=True)

    def arrive(number: int) -> int:
        return bench.receive(arriving(bench, 1, sequenced(number, incoming(bench))))[0]

    numbers = range(1000, 1000 + WINDOW)
    assert {arrive(number) for number in numbers} == {TC_REDIRECT}
    assert {arrive(number) for number in reversed(numbers)} == {TC_SHOT}
    assert arrive(numbers[0] + WINDOW) == TC_REDIRECT


def test_numbers_of_two_bindings_are_apart(bench: Bench) -> None:
    copied_over(bench, 1, agreed=True)
    packet = arriving(bench, 1, sequenced(5, incoming(bench)))
    assert bench.receive(packet)[0] == TC_REDIRECT
    copied_over(bench, 1, agreed=True)  # anew
    assert bench.receive(packet)[0] == TC_REDIRECT
    assert bench.receive(packet)[0] == TC_SHOT


def test_numbers_are_refused_without_agreement(bench: Bench) -> None:
    copied_over(bench, 1, 2)
    packet = arriving(bench, 1, sequenced(5, incoming(bench)))
    assert bench.drops_of(lambda: bench.receive(packet)) == {"malformed": 1}
    bench.plane.set_duplication(BINDING, True)
    assert bench.receive(packet)[0] == TC_REDIRECT
    bench.plane.set_duplication(BINDING, False)
    assert bench.drops_of(lambda: bench.receive(packet)) == {"malformed": 1}


@pytest.mark.parametrize("tunnel", TUNNELS)
def test_copies_come_from_allowed_sources_only(bench: Bench, tunnel: TunnelFormat) -> None:
    copied_over(bench, 1, tunnel=tunnel, agreed=True)
    content, travels = sequenced(5, incoming(bench)), SEQUENCED[tunnel]
    if not in_udp(tunnel):  # without a number, UDP is refused from there
        plain = arriving(bench, 1, incoming(bench), travels)
        assert bench.drops_of(lambda: bench.receive(plain)) == {"outer-source": 1}
    other_port = arriving(bench, 1, content, travels, port=PORT + 1)
    assert bench.drops_of(lambda: bench.receive(other_port)) == {"outer-source": 1}
    local, remote = bench.ends(travels)
    if bench.role is Role.HOME_AGENT:
        stranger = frame(wrap(travels, content, care_of_bid(2, travels), local))
    else:
        elsewhere = ip_address("10.9.9.9" if over_ipv4(travels) else "2001:db8::9")
        stranger = frame(wrap(travels, content, elsewhere, care_of_bid(1, travels)))
        assert remote != elsewhere
    assert bench.drops_of(lambda: bench.receive(stranger)) == {"outer-source": 1}
    assert bench.receive(arriving(bench, 1, content, travels))[0] == TC_REDIRECT


def test_truncated_and_unknown_headers(bench: Bench) -> None:
    copied_over(bench, 1, agreed=True)
    whole = arriving(bench, 1, sequenced(5, incoming(bench)))
    for length in range(14 + HEADER_LENGTH[TUNNEL], len(whole)):
        assert bench.receive(whole[:length])[0] == TC_SHOT
    for first in (0, 2, 0x0F):
        strange = arriving(bench, 1, bytes([first]) + sequenced(5, incoming(bench))[1:])
        assert bench.drops_of(lambda p=strange: bench.receive(p)) == {"malformed": 1}  # type: ignore[misc]
    twice = arriving(bench, 1, sequenced(5, sequenced(6, incoming(bench))))
    assert bench.drops_of(lambda: bench.receive(twice)) == {"malformed": 1}
    assert bench.receive(whole)[0] == TC_REDIRECT


def test_a_new_process_adopts_choice_rules_and_paths(bench: Bench) -> None:
    copied_over(bench, 1, 2, agreed=True)
    state = bench.plane.paths(BINDING)
    packet = arriving(bench, 1, sequenced(5, incoming(bench)))
    assert bench.receive(packet)[0] == TC_REDIRECT
    start = HEADER_LENGTH[TUNNEL] + 4
    before = int.from_bytes(sent(bench, 2)[0][start : start + 4], "big")
    bench.restart()
    assert bench.plane.adopted
    assert BINDING in bench.plane.bindings()
    assert bench.plane.paths(BINDING).keys() == state.keys() == {1, 2, 9}
    assert bench.drops_of(lambda: bench.receive(packet)) == {"duplicates": 1}
    after = int.from_bytes(sent(bench, 2)[0][start : start + 4], "big")
    assert after == (before + 1) % 2**32
    path = replace(bench.bind_bids(1)[1], expires=time.monotonic() + 9)
    bench.plane.set_path(BINDING, path, 1)
    bench.plane.remove_binding(BINDING)
    assert BINDING not in bench.plane.bindings()
    for table in ("paths", "choices", "rules", "windows", "traffic"):
        assert not list(bench.plane._maps[table].items())
