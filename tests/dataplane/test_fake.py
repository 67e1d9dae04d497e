"""The fake keeps the promises of the interface, without root."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from msgspec import structs

from dsmip.core.types import FlowRule, Path, TunnelFormat
from dsmip.dataplane.api import DataPlane, Traffic
from dsmip.dataplane.choice import Flow, matches
from dsmip.dataplane.fake import FakeDataPlane
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector

PATH = Path(TunnelFormat.IPV6, ip_address("2001:db8::1"), ip_address("2001:db8::2"))
SIX, FOUR = ip_network("2001:db8:1::/64"), ip_network("198.51.100.7/32")
REMOTE = ip_address("192.0.2.9")


def test_idempotence_and_readable_state() -> None:
    fake = FakeDataPlane()
    plane: DataPlane = fake
    for _ in range(2):
        plane.set_path(1, PATH)
        plane.set_networks(1, [SIX, FOUR])
        plane.allow_source(1, REMOTE, 4191, 5.0)
        plane.add_local(REMOTE)
        plane.attach("eth0")
        plane.set_home_link(3)
    assert fake.installed == {(1, 0): PATH}
    assert fake.networks == {SIX: 1, FOUR: 1}
    assert fake.sources == {(1, REMOTE, 4191): (5.0, 0)}
    assert (fake.local, fake.interfaces, fake.home_link) == ({(REMOTE, 0): 0}, {"eth0"}, 3)
    assert fake.bindings() == {1}
    for _ in range(2):
        plane.remove_binding(1)
        plane.remove_local(REMOTE)
        plane.detach("eth0")
        plane.deny_source(1, REMOTE, 4191)
        plane.remove_path(1)
    assert fake == FakeDataPlane(home_link=3)
    assert plane.traffic(1) == Traffic()
    assert set(plane.drops().values()) == {0}


def test_retaining_sources_ends_all_others_of_the_binding() -> None:
    fake = FakeDataPlane()
    for index in (1, 2):
        fake.allow_source(index, REMOTE, 0, None)
        fake.allow_source(index, REMOTE, 4191, None)
    fake.retain_sources(1, [(REMOTE, 4191)])
    fake.retain_sources(3, [(REMOTE, 0)])
    assert set(fake.sources) == {(1, REMOTE, 4191), (2, REMOTE, 0), (2, REMOTE, 4191)}


def test_a_network_changes_hands() -> None:
    fake = FakeDataPlane()
    fake.set_networks(1, [SIX, FOUR])
    fake.set_networks(2, [SIX])
    fake.set_networks(1, [FOUR])
    assert fake.networks == {SIX: 2, FOUR: 1}


def test_closing() -> None:
    kept, dropped = FakeDataPlane(), FakeDataPlane()
    for fake, keep in ((kept, True), (dropped, False)):
        fake.set_path(1, PATH)
        fake.close(keep=keep)
    assert (kept.installed, dropped.installed) == ({(1, 0): PATH}, {})


def flow(port: int) -> Flow:
    return Flow(ip_address("2001:db8:400::1"), ip_address("2001:db8:1::1"), 17, 5000, port)


def test_several_paths() -> None:
    fake = FakeDataPlane()
    now = time.monotonic()
    voice = FlowRule(IPv6TrafficSelector(destination_port=(5060, 5061)), (2, 3))
    fake.set_flows(1, [voice])
    fake.set_preference(1, (1, 2))
    assert fake.choose(1, flow(80), now) == ()
    for bid in (1, 2, 3):
        fake.set_path(1, PATH, bid)
    assert fake.choose(1, flow(80), now) == (1,)
    assert fake.choose(1, flow(5061), now) == (2, 3)
    fake.remove_path(1, 3)
    assert fake.choose(1, flow(5061), now) == (2,)
    fake.note_probe(1, 1, now, 0.3)
    fake.note_probe(1, 2, now, 0.3)
    assert fake.choose(1, flow(5061), now + 0.2) == (2,)
    assert fake.choose(1, flow(5061), now + 0.4) == (1,)
    fake.set_path(1, structs.replace(PATH, expires=now + 50), 2)
    assert fake.choose(1, flow(80), now + 0.4) == (1,)
    fake.set_path(1, structs.replace(PATH, local_port=7), 2)
    assert fake.choose(1, flow(80), now + 0.4) == (2,)
    assert fake.choose(1, flow(5061), now + 60) == (2,)
    fake.set_path(1, structs.replace(PATH, expires=now + 50), 2)
    assert fake.choose(1, flow(5061), now + 60) == (1,)
    fake.set_path(1, PATH)
    assert fake.choose(1, flow(5061), now) == (0,)
    assert fake.paths(1).keys() == {0, 1, 2}
    assert fake.paths(1)[1].heard == now
    fake.remove_binding(1)
    assert fake == FakeDataPlane()


def test_too_many() -> None:
    rule = FlowRule(IPv6TrafficSelector(), (1,))
    for wrong in (range(1, 10), (65536,), (-1,)):
        with pytest.raises(ValueError, match="BID"):
            FakeDataPlane().set_preference(1, wrong)
        with pytest.raises(ValueError, match="BID"):
            FakeDataPlane().set_flows(1, [FlowRule(rule.selector, tuple(wrong))])
    fake = FakeDataPlane()
    fake.set_flows(1, [FlowRule(rule.selector, (2, 0, 1, *[2] * 9))])
    assert fake.flows[1][0].bids == (2, 1)
    with pytest.raises(ValueError, match="at most 64"):
        FakeDataPlane().set_flows(1, [rule] * 65)


def test_rfc6088_selectors() -> None:
    here, there = ip_address("2001:db8:400::1"), ip_address("2001:db8:1::1")
    six, four = Flow(here, there, 59), Flow(ip_address("192.0.2.1"), ip_address("192.0.2.2"), 17, 1, 2)
    any6, any4 = IPv6TrafficSelector(), IPv4TrafficSelector()
    assert matches(any6, six)
    assert not matches(any6, four)
    assert matches(any4, four)
    assert not matches(any4, six)
    assert not matches(IPv6TrafficSelector(source_port=(0, 65535)), six)
    assert not matches(IPv6TrafficSelector(spi=(0, 2**32 - 1)), six)
    assert matches(IPv6TrafficSelector(source=(here, here), destination=(there, there)), six)
    assert not matches(IPv6TrafficSelector(destination=(here, here)), six)
    assert matches(IPv6TrafficSelector(flow_label=(5, 7)), replace(six, flow_label=7))
    assert not matches(IPv6TrafficSelector(flow_label=(5, 7)), replace(six, flow_label=8))
    # Of the traffic class the six bits of the DSCP count, and not those of ECN.
    assert matches(IPv4TrafficSelector(dscp=(0xB8, 0xB8)), replace(four, traffic_class=0xBB))
    assert not matches(IPv4TrafficSelector(dscp=(0xB8, 0xB8)), replace(four, traffic_class=0xBC))
    assert not matches(IPv4TrafficSelector(protocol=(6, 6)), four)
    assert not matches(IPv4TrafficSelector(destination_port=(9, 1)), four)


def test_of_a_path_that_has_moved_nothing_is_known() -> None:
    fake = FakeDataPlane()
    fake.set_path(1, PATH)
    fake.note_probe(1, 0, 5.0, None)
    fake.set_path(1, PATH)
    assert fake.paths(1)[0].heard == 5.0
    fake.set_path(1, PATH, moved=True)
    assert fake.paths(1)[0].heard is None
