"""Keys of the maps by binding: sets, kept in few octets."""

from __future__ import annotations

import gc
import tracemalloc
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from dsmip.dataplane import maps
from dsmip.dataplane.keys import NETWORKS4, NETWORKS6, PROTECTED, SOURCES, SPIS, Keys

IPV6 = st.integers(0, 3).map(lambda number: IPv6Address(number << 64 | number))
IPV4 = st.integers(0, 3).map(lambda number: IPv4Address(number << 24 | number))
NETWORK6 = st.tuples(IPV6, st.integers(0, 128)).map(lambda pair: IPv6Network(pair, strict=False))
NETWORK4 = st.tuples(IPV4, st.integers(0, 32)).map(lambda pair: IPv4Network(pair, strict=False))
INDEXES = st.integers(1, 3)


@st.composite
def entries(draw: st.DrawFn) -> tuple[int, int, bytes]:
    """Index, kind, key."""
    index = draw(INDEXES)
    kind = draw(st.sampled_from([NETWORKS6, NETWORKS4, SOURCES, PROTECTED, SPIS]))
    if kind == NETWORKS6:
        return index, kind, maps.encode_network(draw(NETWORK6))
    if kind == NETWORKS4:
        return index, kind, maps.encode_network(draw(NETWORK4))
    if kind == SOURCES:
        return index, kind, maps.encode_source_key(index, draw(IPV6 | IPV4), draw(st.integers(0, 65535)))
    if kind == PROTECTED:
        return index, kind, maps.encode_protected(index, draw(NETWORK6 | NETWORK4))
    return index, kind, maps.encode_spi(draw(st.integers(0, (1 << 32) - 1)))


STEPS = st.lists(st.tuples(st.sampled_from(["add", "discard", "put"]), entries()), max_size=30)


@given(STEPS)
def test_they_are_what_sets_would_be(steps: list[tuple[str, tuple[int, int, bytes]]]) -> None:
    keys = Keys()
    model: dict[tuple[int, int], set[bytes]] = {}
    for step, (index, kind, key) in steps:
        those = model.setdefault((index, kind), set())
        if step == "add":
            keys.add(index, kind, key)
            those.add(key)
        elif step == "discard":
            keys.discard(index, kind, key)
            those.discard(key)
        else:
            keys.put(index, kind, [key])
            model[index, kind] = {key}
    for index in (1, 2, 3):
        for kind in (NETWORKS6, NETWORKS4, SOURCES, PROTECTED, SPIS):
            assert keys.of(index, kind) == model.get((index, kind), set())
            assert (index in keys.indexes(kind)) == bool(model.get((index, kind)))


def test_those_of_a_mobile_router_take_a_hundred_octets() -> None:
    count = 1000
    written = [
        (
            number,
            maps.encode_network(IPv6Network((number, 128))),
            maps.encode_network(IPv6Network((number << 64, 64))),
            maps.encode_network(IPv4Network((number, 32))),
            maps.encode_source_key(number, IPv6Address(number), 0),
        )
        for number in range(1, count + 1)
    ]
    gc.collect()
    tracemalloc.start()
    try:
        keys = Keys()
        for number, home, prefix, ipv4, source in written:
            keys.add(number, NETWORKS6, home)
            keys.add(number, NETWORKS6, prefix)
            keys.add(number, NETWORKS4, ipv4)
            keys.add(number, SOURCES, source)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Of these 33 are every string's, 8 its place in the list, which grows by an eighth.
    assert taken / count < 104
