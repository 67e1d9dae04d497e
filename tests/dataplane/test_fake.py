"""The fake keeps the promises of the interface, without root."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from dsmip.core.types import Path, TunnelFormat
from dsmip.dataplane.api import DataPlane, Traffic
from dsmip.dataplane.fake import FakeDataPlane

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
    assert fake.paths == {1: PATH}
    assert fake.networks == {SIX: 1, FOUR: 1}
    assert fake.sources == {(1, REMOTE, 4191): 5.0}
    assert (fake.local, fake.interfaces, fake.home_link) == ({REMOTE}, {"eth0"}, 3)
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
    assert (kept.paths, dropped.paths) == ({1: PATH}, {})
