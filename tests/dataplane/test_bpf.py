"""The loader: idempotence, adoption, refusals in words, and nothing left behind."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path as FilePath

import pytest

from dsmip.core.types import Path, TunnelFormat
from dsmip.dataplane import libbpf, maps
from dsmip.dataplane.api import DataPlaneError, NotInstalled, Role
from dsmip.dataplane.bpf import LINKS_SINCE, BpfDataPlane, kernel_version
from dsmip.dataplane.bpf_object import Object
from dsmip.dataplane.bpffs import is_bpffs
from dsmip.dataplane.filters import HANDLE, PRIORITY
from tests.dataplane.loading import load
from tests.dataplane.namespaces import Namespace

pytestmark = pytest.mark.root

SIX, FOUR = ip_network("2001:db8:1::/64"), ip_network("198.51.100.7/32")
WIDE = ip_network("2001:db8::/32")
PATH = Path(TunnelFormat.IPV6, ip_address("2001:db8::1"), ip_address("2001:db8::2"))
REMOTE = ip_address("192.0.2.9")


@pytest.fixture(params=["filters", "links"] if kernel_version() >= LINKS_SINCE else ["filters"])
def by_links(request: pytest.FixtureRequest) -> bool:
    """Programs are attached as tc filters or, where the kernel has them, as links."""
    return bool(request.param == "links")


@pytest.fixture
def plane(node: Namespace, pins: FilePath) -> Iterator[BpfDataPlane]:
    loaded = load(pins)
    assert not loaded.adopted
    yield loaded
    loaded.close(keep=False)


def entries(plane: BpfDataPlane) -> dict[str, int]:
    tables = ("networks6", "networks4", "paths", "sources", "traffic", "local")
    return {name: len(list(plane._maps[name].items())) for name in tables}


def test_everything_can_be_said_twice_and_taken_back_twice(plane: BpfDataPlane) -> None:
    for _ in range(2):
        plane.set_path(1, PATH)
        plane.set_networks(1, [SIX, FOUR])
        plane.allow_source(1, REMOTE, 4191, None)
        plane.add_local(REMOTE)
        plane.attach("u0")
    assert entries(plane) == {
        "networks6": 1,
        "networks4": 1,
        "paths": 1,
        "sources": 1,
        "traffic": 0,
        "local": 1,
    }
    assert plane.bindings() == {1}
    assert list(plane.attached()) == ["u0"]
    for _ in range(2):
        plane.deny_source(1, REMOTE, 4191)
        plane.remove_path(1)
        plane.remove_binding(1)
        plane.remove_local(REMOTE)
        plane.detach("u0")
    assert not any(entries(plane).values())
    assert plane.bindings() == frozenset()
    assert list(plane.attached()) == []


def test_retaining_sources_ends_all_others_of_the_binding(plane: BpfDataPlane) -> None:
    for index in (1, 2):
        plane.allow_source(index, REMOTE, 0, None)
        plane.allow_source(index, REMOTE, 4191, None)
    plane.retain_sources(1, [(REMOTE, 4191)])
    plane.retain_sources(3, [(REMOTE, 0)])
    assert entries(plane)["sources"] == 3
    plane.deny_source(1, REMOTE, 0)
    assert entries(plane)["sources"] == 3
    plane.retain_sources(1, [])
    assert entries(plane)["sources"] == 2


def test_removing_a_binding_leaves_the_others(plane: BpfDataPlane) -> None:
    for index, network in ((1, SIX), (2, WIDE)):
        plane.set_path(index, PATH)
        plane.set_networks(index, [network])
        plane.allow_source(index, REMOTE, 0, None)
    plane.remove_binding(2)
    plane.remove_binding(3)
    assert plane.bindings() == {1}
    assert entries(plane) == {
        "networks6": 1,
        "networks4": 0,
        "paths": 1,
        "sources": 1,
        "traffic": 0,
        "local": 0,
    }


def test_a_network_changes_hands(plane: BpfDataPlane) -> None:
    plane.set_networks(1, [SIX, FOUR])
    plane.set_networks(2, [SIX])
    plane.set_networks(1, [FOUR])
    assert [value for _, value in plane._maps["networks6"].items()] == [(2).to_bytes(4, "little")]
    plane.remove_binding(2)
    plane.set_networks(1, [SIX, FOUR])
    assert [value for _, value in plane._maps["networks6"].items()] == [(1).to_bytes(4, "little")]


def test_programs_look_again_when_an_address_changes_hands(plane: BpfDataPlane) -> None:
    def generation() -> int:
        settings = maps.Settings.decode(plane._maps["settings"].lookup(maps.encode_index(0)) or b"")
        assert settings is not None
        return settings.generation

    seen = [generation()]
    plane.set_networks(1, [SIX])
    seen.append(generation())
    plane.set_networks(1, [SIX])
    assert generation() == seen[-1]
    with plane.together():
        plane.set_networks(1, [])
        plane.set_networks(2, [SIX])
        assert generation() == seen[-1]
    seen.append(generation())
    plane.remove_binding(2)
    seen.append(generation())
    assert len(set(seen)) == len(seen)


def test_adoption_finds_everything(node: Namespace, pins: FilePath) -> None:
    first = load(pins)
    first.set_path(1, PATH)
    first.set_networks(2, [SIX, FOUR])
    first.allow_source(2, REMOTE, 0, None)
    first.add_local(REMOTE)
    first.attach("u0")
    first.set_home_link(7)
    first.close(keep=True)
    second = load(pins, miss_rate=5)
    assert second.adopted
    assert second.bindings() == {1, 2}
    assert second.local_addresses() == {(REMOTE, 0)}
    assert list(second.attached()) == ["u0"]
    second.remove_binding(2)
    second.remove_binding(1)
    assert entries(second) == {
        "networks6": 0,
        "networks4": 0,
        "paths": 0,
        "sources": 0,
        "traffic": 0,
        "local": 1,
    }
    second.close(keep=False)
    assert not pins.exists()
    assert is_bpffs(pins.parent)


NOBODY = 0xFFFFFFFF


def foreign_entries() -> list[tuple[str, bytes, bytes]]:
    """Map, key and value of entries that no process of ours writes."""
    path, number = maps.encode_path(PATH, raw=False), maps.encode_index(3)
    return [
        ("paths", maps.encode_path_key(NOBODY, 0), path),
        ("paths", maps.PATH_KEY.pack(3, 0, 9), path),
        ("choices", maps.encode_index(NOBODY), bytes(maps.CHOICE.size)),
        ("networks6", maps.encode_network(WIDE), maps.encode_index(NOBODY)),
        ("networks6", maps.NETWORK6.pack(bytes(16), 129, 0), number),
        ("networks6", maps.NETWORK6.pack(bytes(16), 64, 1), number),
        ("networks4", maps.NETWORK4.pack(bytes(4), 33), number),
        ("sources", maps.encode_source_key(NOBODY, REMOTE, 0), maps.encode_source(None, 0)),
        ("sources", maps.SOURCE_KEY.pack(3, bytes(2), 7, bytes(16)), maps.encode_source(None, 0)),
        ("protected", maps.encode_protected(NOBODY, SIX), number),
        ("protected", maps.PROTECTED.pack(8, 0, 0, 0, 0, 0), number),
        ("payload_spis", maps.encode_spi(0x1234), maps.encode_index(NOBODY)),
    ]


def test_entries_that_no_process_of_ours_writes_are_removed_and_counted(
    node: Namespace, pins: FilePath
) -> None:
    first = load(pins)
    first.set_path(3, PATH)
    first.set_networks(3, [SIX, FOUR])
    first.allow_source(3, REMOTE, 0, None)
    first.set_protection(3, [WIDE], [0x5678])
    for table, key, value in foreign_entries():
        first._maps[table].update(key, value)
    first.close(keep=True)
    second = load(pins)
    assert second.foreign == Counter(table for table, _, _ in foreign_entries())
    assert second.bindings() == second.protected() == {3}
    for table, key, _ in foreign_entries():
        assert second._maps[table].lookup(key) is None
    second.remove_binding(3)
    second.set_protection(3, ())
    assert not any(entries(second).values())
    second.close(keep=True)
    third = load(pins)
    assert not third.foreign
    third.close(keep=False)


@pytest.mark.parametrize("change", [{"role": Role.MOBILE_NODE}, {"capacity": 64}], ids=["role", "capacity"])
def test_what_belongs_to_another_set_up_is_not_adopted(
    node: Namespace, pins: FilePath, change: dict[str, object]
) -> None:
    first = load(pins)
    first.set_path(1, PATH)
    first.attach("u0")
    first.close(keep=True)
    second = load(pins, **change)
    assert not second.adopted
    assert second.bindings() == frozenset()
    assert list(second.attached()) == []
    second.close(keep=False)


def test_incomplete_pins_are_replaced(node: Namespace, pins: FilePath) -> None:
    load(pins).close(keep=True)
    (pins / "sources").unlink()
    again = load(pins)
    assert not again.adopted
    again.close(keep=False)


def test_an_upgrade_replaces_the_programs_in_place(
    node: Namespace, pins: FilePath, *, by_links: bool
) -> None:
    u0 = socket.if_nametoindex("u0")
    first = load(pins, by_links=by_links)
    first.attach("u0")
    before = first._attachments._hooks.program_at(u0, libbpf.TC_INGRESS)
    assert before == libbpf.program_id(first.program("uplink_ethernet"))
    first.close(keep=True)
    second = load(pins, by_links=by_links)
    assert second.adopted
    after = second._attachments._hooks.program_at(u0, libbpf.TC_INGRESS)
    assert after == libbpf.program_id(second.program("uplink_ethernet")) != before
    second.close(keep=False)


def test_nothing_is_left_behind(node: Namespace, pins: FilePath, *, by_links: bool) -> None:
    first = load(pins, by_links=by_links)
    first.attach("u0")
    assert ("clsact" in node.run("tc qdisc show")) != by_links
    first.close(keep=True)
    load(pins, by_links=by_links).close(keep=False)
    assert "clsact" not in node.run("tc qdisc show")


def test_filters_of_others_stay(node: Namespace, pins: FilePath) -> None:
    plane = load(pins, by_links=False)
    plane.attach("u0")
    program = libbpf.load_classifier(bytes.fromhex("b7000000000000009500000000000000"))
    u0 = socket.if_nametoindex("u0")
    libbpf.tc_attach(u0, libbpf.TC_EGRESS, program, 9, 9)
    plane.close(keep=False)
    assert libbpf.tc_query(u0, libbpf.TC_INGRESS, HANDLE, PRIORITY) is None
    assert libbpf.tc_query(u0, libbpf.TC_EGRESS, 9, 9) == libbpf.program_id(program)


def test_a_re_created_interface_is_attached_anew(node: Namespace, pins: FilePath, *, by_links: bool) -> None:
    plane = load(pins, by_links=by_links)
    for _ in range(2):
        plane.attach("u0")
        assert list(plane.attached()) == ["u0"]
        node.ip("link del u0")
        assert list(plane.attached()) == []
        plane.detach("u0")
        node.ip("link add u0 type veth peer name u1")
    plane.attach("u0")
    if by_links:
        (pins / "links" / f"{socket.if_nametoindex('u0')}-in").unlink()
    else:
        node.run("tc qdisc del dev u0 clsact")
    plane.attach("u0")
    assert list(plane.attached()) == ["u0"]
    plane.close(keep=False)


def test_refusals_name_the_mend(node: Namespace, plane: BpfDataPlane, pins: FilePath) -> None:
    with pytest.raises(DataPlaneError, match="interface nope: "):
        plane.attach("nope")
    plane.close(keep=False)
    small = load(pins, capacity=1)  # with room for two paths
    small.set_path(1, PATH)
    small.set_path(2, PATH)
    with pytest.raises(DataPlaneError, match=r"full with 2 entries: raise max_bindings"):
        small.set_path(3, PATH)
    assert small.bindings() == {1, 2}
    small.close(keep=False)


def test_changes_made_together_are_seen_at_once_and_made_at_the_end(plane: BpfDataPlane) -> None:
    plane.set_path(9, PATH)
    plane.allow_source(9, REMOTE, 0, None)
    before = entries(plane)
    with plane.together():
        for index in range(1, 6):
            plane.set_path(index, PATH)
            plane.set_networks(index, [ip_network((SIX[index], 128))])
            plane.allow_source(index, REMOTE, 0, None)
        plane.set_networks(2, [])
        plane.deny_source(3, REMOTE, 0)
        plane.remove_path(4)
        plane.set_path(4, PATH)
        plane.deny_source(8, REMOTE, 0)  # never was there
        plane.remove_binding(9)
        assert entries(plane) == before
        assert plane.bindings() == {1, 2, 3, 4, 5}
    after = entries(plane)
    assert (after["paths"], after["networks6"], after["sources"], after["traffic"]) == (5, 4, 4, 0)
    with plane.together():
        for index in range(1, 6):
            plane.remove_binding(index)
    assert not any(entries(plane).values())


def test_of_changes_made_together_those_that_fit_are_made(
    node: Namespace, plane: BpfDataPlane, pins: FilePath
) -> None:
    plane.close(keep=False)
    small = load(pins, capacity=1)  # with room for two paths and four sources

    def all_three() -> None:
        with small.together():
            for index in (1, 2, 3):
                small.set_path(index, PATH)
                small.allow_source(index, REMOTE, 0, None)

    with pytest.raises(NotInstalled, match="full with 2 entries") as caught:
        all_three()
    assert caught.value.refusals.keys() == {3}
    assert entries(small)["paths"] == 2
    # What it got before its path was refused goes with it.
    small.remove_binding(3)
    assert (entries(small)["paths"], entries(small)["sources"]) == (2, 2)
    small.close(keep=False)


def test_an_object_that_is_missing_or_broken(tmp_path: FilePath) -> None:
    with pytest.raises(DataPlaneError, match=r"missing: run 'make -C "):
        Object(tmp_path / "nothing.o")
    broken = tmp_path / "broken.o"
    broken.write_bytes(b"not an ELF file")
    with pytest.raises(DataPlaneError, match="libbpf: "):
        Object(broken)


def test_a_program_the_kernel_refuses(node: Namespace) -> None:
    with pytest.raises(DataPlaneError, match=r"loading a program: "):
        libbpf.load_classifier(bytes.fromhex("9500000000000000"))  # exit without a result


def test_paths_through_interfaces_without_ethernet_header(node: Namespace, plane: BpfDataPlane) -> None:
    for interface, raw in (("dsmip0", 1), ("u0", 0)):
        index = socket.if_nametoindex(interface)
        plane.set_path(1, Path(PATH.format, PATH.local, PATH.remote, interface=index))
        [(_, value)] = plane._maps["paths"].items()
        assert maps.PATH.unpack(value)[11] == raw


def test_links_that_cannot_be_used(node: Namespace, plane: BpfDataPlane) -> None:
    plane.attach("lo")
    assert list(plane.attached()) == ["lo"]
