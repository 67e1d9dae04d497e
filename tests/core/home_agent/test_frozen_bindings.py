"""Bindings as octets: nothing is lost, and a large fleet takes no more room than it has to."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsmip.bench import fleet, signalling
from dsmip.core.binding_record import encode_binding, row_of
from dsmip.core.frozen_bindings import formats_of, freeze, freeze_row, next_end, thaw
from dsmip.core.frozen_entries import FrozenEntries
from dsmip.core.frozen_entries import freeze as freeze_entry
from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.home_agent.nodes import ServedNode
from dsmip.core.lately import Lately
from dsmip.core.types import (
    Binding,
    CareOfBinding,
    FlowBinding,
    Instant,
    IPv4Grant,
    Nat,
    TunnelFormat,
    UdpEndpoint,
)
from dsmip.wire.extensions import Extensions
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector

BEGIN = Instant(1000.25, 1_800_000_000.0)

IPV6 = st.integers(0, (1 << 128) - 1).map(IPv6Address)
IPV4 = st.integers(0, (1 << 32) - 1).map(IPv4Address)
PORTS = st.integers(0, 65535)
SECONDS = st.floats(0.0, 1e10)
NETWORKS = st.tuples(IPV6, st.integers(0, 128)).map(lambda pair: IPv6Network(pair, strict=False))


@st.composite
def care_ofs(draw: st.DrawFn) -> CareOfBinding:
    care_of = draw(IPV6 | IPV4)
    outside = [IPV4, st.just(care_of)] if isinstance(care_of, IPv4Address) else [IPV4]
    updated, lifetime = draw(SECONDS), draw(SECONDS)
    return CareOfBinding(
        bid=draw(st.integers(0, 65535)),
        care_of=care_of,
        format=draw(st.sampled_from(TunnelFormat)),
        lifetime=lifetime,
        updated=updated,
        expires=draw(st.just(updated + lifetime) | SECONDS),
        priority=draw(st.integers(0, 127)),
        nat_source=draw(st.none() | st.builds(UdpEndpoint, st.one_of(outside), PORTS)),
        nat=draw(st.sampled_from(Nat)),
        home_agent_ipv4=draw(st.none() | IPV4),
        at_home=draw(st.booleans()),
        ends=draw(SECONDS),
    )


BINDINGS = st.builds(
    Binding,
    home_address=IPV6,
    index=st.integers(0, (1 << 32) - 1),
    care_ofs=st.lists(care_ofs(), min_size=1, max_size=3).map(tuple),
    sequence=PORTS,
    created=SECONDS,
    identifier=st.text(st.characters(exclude_categories=("Cs",)), max_size=300),
    mobile_router=st.booleans(),
    link_local=st.booleans(),
    prefixes=st.lists(NETWORKS, max_size=3).map(tuple),
    ipv4=st.lists(st.builds(IPv4Grant, IPV4, st.integers(0, 32), st.booleans()), max_size=3).map(tuple),
    authentication=st.sampled_from(["mn-ha", "ipsec", "none"]),
    flows=st.lists(
        st.builds(
            FlowBinding,
            st.integers(1, 65535),
            st.integers(1, 65535),
            st.sampled_from([IPv6TrafficSelector(), IPv4TrafficSelector(protocol=(17, 17))]),
            st.lists(st.integers(1, 65535), max_size=3).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    extensions=st.sampled_from(list(Extensions)) | st.just(Extensions.NONE),
    former=st.none() | IPV6,
)


@given(BINDINGS)
def test_a_binding_comes_back_as_it_was(binding: Binding) -> None:
    frozen = freeze(binding)
    thawed = thaw(frozen, int(binding.home_address))
    assert thawed == binding
    ends = [entry.ends for entry in binding.care_ofs]
    assert [entry.ends for entry in thawed.care_ofs] == ends
    assert next_end(frozen) == binding.next_end
    assert formats_of(frozen) == [entry.format for entry in binding.care_ofs]
    # What a restart makes of the store.
    if len(ends) == 1:
        assert freeze_row(row_of(encode_binding(binding)), ends[0]) == frozen


@pytest.mark.parametrize(
    "change",
    [{"format": "pigeon"}, {"nat": "perhaps"}, {"care_of": b"five!"}, {"priority": 256}, {"bid": -1}],
    ids=str,
)
def test_a_row_of_the_store_that_no_binding_can_have_is_refused(change: dict[str, Any]) -> None:
    vehicles = fleet.vehicles(1)
    agent = signalling.engine(vehicles)
    agent.receive(vehicles[0].update(1, BEGIN.unix), BEGIN)
    row = row_of(encode_binding(agent.bindings[vehicles[0].home_address]))
    row = msgspec.structs.replace(row, care_ofs=[msgspec.structs.replace(row.care_ofs[0], **change)])
    with pytest.raises(ValueError):
        freeze_row(row, 5000.0)


def test_a_binding_that_nothing_is_heard_of_takes_600_octets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With all that the engine keeps of its mobile node. What is an object more for each is above that."""
    monkeypatch.setattr("dsmip.core.binding_cache.THAWED", 1)
    monkeypatch.setattr("dsmip.core.home_agent.nodes.THAWED", 1)
    # Those of other tests would leave it in their place.
    monkeypatch.setattr("dsmip.core.home_agent.nodes._lately", Lately(ServedNode.forget_entry))
    vehicles = fleet.vehicles(2000)
    updates = [fleet.updates(vehicles, number, BEGIN.unix + number) for number in (1, 2)]
    config = signalling.engine([])._config
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        entries = FrozenEntries(freeze_entry(vehicle.entry()) for vehicle in vehicles)
        agent = HomeAgent(replace(config, mobile_nodes=entries, max_bindings=len(vehicles)))
        for packet in (*updates[0], *updates[1]):
            agent.receive(packet, BEGIN)
            agent.actions()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(agent.bindings) == len(vehicles)
    assert (after - before) / len(vehicles) < 600
