"""TCP's maximum segment size is lowered to what fits into the tunnel, both ways, with the right checksum."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from msgspec.structs import replace
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from dsmip.core.types import TunnelFormat
from dsmip.dataplane.api import Role
from tests.dataplane.bench import BINDING, TC_REDIRECT, Bench
from tests.dataplane.packets import HEADER_LENGTH, HOME4, HOME6, PEER4, PEER6, frame, wrap

pytestmark = pytest.mark.root

MTU = 1380
TUNNEL = TunnelFormat.UDP4
FITS = {6: MTU - 40 - 20, 4: MTU - 20 - 20}
#: Where the option stands: first, at an odd offset, last, and not at all.
OPTIONS: dict[str, list[Any]] = {
    "first": [("MSS", 1460), ("SAckOK", b""), ("NOP", None), ("WScale", 7)],
    "odd": [("NOP", None), ("MSS", 1460), ("NOP", None), ("NOP", None), ("NOP", None)],
    "last": [("SAckOK", b""), ("Timestamp", (1, 2)), ("WScale", 7), ("NOP", None), ("MSS", 1460)],
    "none": [("SAckOK", b""), ("WScale", 7)],
    "empty": [],
}


@pytest.fixture(scope="module", params=list(Role), ids=lambda role: role.value)
def bench(request: pytest.FixtureRequest, bpf_directory: FilePath) -> Iterator[Bench]:
    with Bench("mss", request.param, bpf_directory) as made:
        yield made


def segment(version: int, options: list[Any], *, to_home: bool, flags: str = "S") -> bytes:
    ends: tuple[Any, Any] = (PEER6, HOME6) if version == 6 else (PEER4, HOME4)
    source, destination = map(str, ends if to_home else reversed(ends))
    kind: Any = IPv6 if version == 6 else IP
    return bytes(
        kind(src=source, dst=destination) / TCP(sport=5000, dport=80, flags=flags, options=options) / b"data"
    )


def lowered(options: list[Any], most: int) -> list[Any]:
    return [(name, min(value, most) if name == "MSS" else value) for name, value in options]


def set_mtu(bench: Bench, mtu: int) -> None:
    bench.plane.set_path(BINDING, replace(bench.bind(TUNNEL), mtu=mtu))


def through(bench: Bench, inside: bytes, *, into: bool) -> bytes:
    """What becomes of a packet that goes into the tunnel, or comes out of it."""
    if into:
        bench.send(inside)
        [sent] = bench.on_wire()
        return sent[14 + HEADER_LENGTH[TUNNEL] :]
    local, remote = bench.ends(TUNNEL)
    verdict, out, _ = bench.receive(frame(wrap(TUNNEL, inside, remote, local)))
    assert verdict == TC_REDIRECT
    return out[14:]


@pytest.mark.parametrize("into", [True, False], ids=["into", "out-of"])
@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("place", OPTIONS)
def test_the_mss_of_a_syn_is_lowered(bench: Bench, place: str, version: int, into: bool) -> None:
    set_mtu(bench, MTU)
    to_home = into is (bench.role is Role.HOME_AGENT)
    for flags in ("S", "SA", "SEC"):
        for options in (OPTIONS[place], lowered(OPTIONS[place], 536)):
            sent = segment(version, options, to_home=to_home, flags=flags)
            # Built anew, so that the checksum is compared too.
            expected = segment(version, lowered(options, FITS[version]), to_home=to_home, flags=flags)
            assert through(bench, sent, into=into) == expected


@pytest.mark.parametrize("into", [True, False], ids=["into", "out-of"])
def test_other_packets_stay_as_they_are(bench: Bench, into: bool) -> None:
    to_home = into is (bench.role is Role.HOME_AGENT)
    syn = segment(4, OPTIONS["first"], to_home=to_home)
    fragment = syn[:6] + b"\0\1" + syn[8:]  # not the first
    for mtu, inside in (
        (MTU, segment(6, OPTIONS["first"], to_home=to_home, flags="A")),
        (MTU, segment(6, OPTIONS["first"], to_home=to_home, flags="R")),
        (0, syn),
        (30, syn),
        (MTU, fragment),
    ):
        set_mtu(bench, mtu)
        assert through(bench, inside, into=into) == inside


def test_broken_options_do_no_harm(bench: Bench) -> None:
    set_mtu(bench, MTU)
    to_home = bench.role is Role.HOME_AGENT
    syn = segment(6, OPTIONS["first"], to_home=to_home)
    options = 40 + 20
    for changed in (
        bytes([0]) * 12,  # the end at once
        bytes([1]) * 12,
        bytes([2, 0]) * 6,
        bytes([2, 3, 9, 9]) * 3,
        bytes([99, 255]) * 6,
        bytes([1] * 10 + [2, 4]),  # the value would be beyond
    ):
        inside = syn[:options] + changed + syn[options + 12 :]
        assert through(bench, inside, into=True) == inside
    for length in range(40, len(syn)):
        cut = syn[:length]
        assert len(through(bench, cut, into=True)) == length
