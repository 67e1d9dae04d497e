"""Real maps that are full: what is refused, what stays, and what is left behind."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path as FilePath

import pytest
from msgspec.structs import replace

from dsmip.core.types import Path, TunnelFormat
from dsmip.dataplane import maps
from dsmip.dataplane.api import NoRoom, NotInstalled, Role
from dsmip.dataplane.batches import HELD
from dsmip.dataplane.bpf import BpfDataPlane
from dsmip.dataplane.tun import TunDevice
from tests.dataplane.namespaces import Namespace

pytestmark = pytest.mark.root

HOME = ip_network("2001:db8:1::1/128")
OTHER_HOME = ip_network("2001:db8:1::2/128")
HERE, THERE = IPv6Address("2001:db8::2"), IPv6Address("2001:db8::3")
PATH = Path(TunnelFormat.IPV6, IPv6Address("2001:db8::1"), HERE)
#: Outer sources that fit into maps for one binding.
SOURCES = 4


@pytest.fixture
def plane(bpf_directory: FilePath) -> Iterator[BpfDataPlane]:
    """With maps for one binding: two paths, four sources, four networks."""
    namespace = Namespace("full")
    with namespace.inside():
        device = TunDevice.open("dsmip0")
        loaded = BpfDataPlane.open(
            Role.HOME_AGENT, socket.if_nametoindex("dsmip0"), bpf_directory / "full", capacity=1
        )
        yield loaded
        loaded.close(keep=False)
        device.close()
    namespace.delete()


def bind(
    plane: BpfDataPlane, index: int, *, care_of: IPv6Address = HERE, home: object = HOME, bid: int = 0
) -> None:
    plane.set_path(index, replace(PATH, remote=care_of), bid)
    plane.set_networks(index, [home])  # type: ignore[list-item]
    plane.allow_source(index, care_of, 0, None, bid)


def fill_sources(plane: BpfDataPlane, index: int = 9) -> None:
    number = 0
    while len(list(plane._maps["sources"].items())) < SOURCES:
        number += 1
        plane.allow_source(index, IPv4Address("192.0.2.0") + number, 0, None)


def entries(plane: BpfDataPlane) -> dict[str, int]:
    return {name: len(list(plane._maps[name].items())) for name in HELD}


def remotes(plane: BpfDataPlane) -> dict[tuple[int, int], IPv6Address]:
    """Where the paths in the map lead, by index and BID."""
    return {
        maps.decode_path_key(key): IPv6Address(maps.PATH.unpack(value)[4])
        for key, value in plane._maps["paths"].items()
    }


def test_a_move_that_is_refused_leaves_the_binding_where_it_was(plane: BpfDataPlane) -> None:
    bind(plane, 1)
    fill_sources(plane)

    def move() -> None:
        with plane.together():
            plane.allow_source(1, THERE, 0, None)
            plane.set_path(1, replace(PATH, remote=THERE))
            bind(plane, 9, home=OTHER_HOME, care_of=HERE)

    plane.deny_source(9, IPv4Address("192.0.2.1"), 0)
    plane.allow_source(9, HERE, 0, None)
    with pytest.raises(NotInstalled) as caught:
        move()
    assert caught.value.refusals.keys() == {1}
    why = caught.value.refusals[1]
    assert isinstance(why, NoRoom)
    assert (why.table, why.full) == ("sources", True)
    assert remotes(plane) == {(1, 0): HERE, (9, 0): HERE}
    # What it had before is said again, and then nothing is left of the attempt.
    with plane.together():
        plane.deny_source(1, THERE, 0)
        plane.set_path(1, PATH)
    assert remotes(plane) == {(1, 0): HERE, (9, 0): HERE}
    plane.remove_binding(9)
    move()
    assert remotes(plane) == {(1, 0): THERE, (9, 0): HERE}


def test_what_goes_with_a_refused_change_stays_until_it_is_known_what_is_to_be(plane: BpfDataPlane) -> None:
    plane.set_path(1, PATH, bid=5)
    plane.allow_source(1, HERE, 0, None, 5)
    plane.set_networks(1, [HOME])
    fill_sources(plane)

    def exchange() -> None:
        with plane.together():
            plane.deny_source(1, HERE, 0)
            plane.allow_source(1, THERE, 0, None)
            plane.set_path(1, replace(PATH, remote=THERE))
            plane.remove_path(1, 5)
            plane.set_networks(1, [OTHER_HOME])

    before = entries(plane)
    with pytest.raises(NotInstalled):
        exchange()
    assert entries(plane) == before
    assert remotes(plane) == {(1, 5): HERE}
    with plane.together():
        plane.allow_source(1, HERE, 0, None, 5)
        plane.deny_source(1, THERE, 0)
        plane.set_path(1, PATH, bid=5)
        plane.remove_path(1, 0)
        plane.set_networks(1, [HOME])
    assert entries(plane) == before
    assert remotes(plane) == {(1, 5): HERE}
    with pytest.raises(NotInstalled):
        exchange()
    with plane.together():
        plane.remove_binding(1)
    assert remotes(plane) == {}
    assert (entries(plane)["networks6"], entries(plane)["traffic"]) == (0, 0)


@pytest.mark.parametrize("taken", ["traffic", "sources", "networks6"])
def test_a_new_binding_that_is_refused_leaves_nothing_and_is_taken_when_there_is_room(
    plane: BpfDataPlane, taken: str
) -> None:
    table = plane._maps[taken]
    foreign = [number.to_bytes(table.key_size, "big") for number in range(1, table.max_entries + 1)]
    for key in foreign:
        table.update(key, bytes(table.value_size))
    before = entries(plane)
    # A plain binding has its place in a table of counters without keys.
    bid = 5 if taken == "traffic" else 0

    def register() -> None:
        with plane.together():
            bind(plane, 1, bid=bid)

    with pytest.raises(NotInstalled, match=f"map {taken} is full"):
        register()
    with plane.together():
        plane.remove_binding(1)
    assert entries(plane) == before
    assert plane.bindings() == frozenset()
    table.delete(foreign[0])
    register()
    assert remotes(plane) == {(1, bid): HERE}
