"""The movement service against the kernel, radvd and dnsmasq, in network namespaces."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest

from dsmip.core.types import Attachments, Instant
from dsmip.daemon.movement import InterfaceConfig, MovementService
from tests.host.lab import Lab, inside

pytestmark = pytest.mark.root

#: Generous, because the machine that runs the tests may be busy; what is usual is far below.
SOON = 3.0
DNA_BUDGET = 0.1


class Watcher:
    """A service and everything it told."""

    def __init__(
        self, state: Path, *, manage: bool = True, home: IPv6Network | None = None, name: str = "u0"
    ) -> None:
        self.changes: list[tuple[float, Attachments]] = []
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.service = MovementService(
            [InterfaceConfig(name, manage)], home, state, self._changed, self._told
        )

    def _changed(self, attachments: Attachments, now: Instant) -> None:
        self.changes.append((now.monotonic, attachments))

    def _told(self, kind: str, fields: Mapping[str, Any]) -> None:
        self.events.append((kind, fields))

    def last(self, kind: str) -> Mapping[str, Any]:
        return next(fields for told, fields in reversed(self.events) if told == kind)

    @property
    def versions(self) -> list[int]:
        return [care_of.address.version for care_of in self.service.attachments.care_of]

    def in_network(self, name: str, *versions: int) -> bool:
        """Whether exactly these families are attached, all in network a or b."""
        prefix = {"a": ("2001:db8:a:", "10.1."), "b": ("2001:db8:b:", "10.2.")}[name]
        return self.versions == [*versions] and all(
            str(care_of.address).startswith(prefix) for care_of in self.service.attachments.care_of
        )


async def until(condition: Callable[[], object], seconds: float = SOON) -> None:
    """Wait until something is true; fail when it does not become so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.002)


def in_mobile(main: Coroutine[Any, Any, None]) -> None:
    """Run inside the mobile node's namespace."""
    with inside("mobile"):
        asyncio.run(main)


def test_dual_stack_network_gives_both_addresses_and_stop_takes_them_away(lab: Lab, tmp_path: Path) -> None:
    lab.serve("a")
    lab.plug("a")
    accept_ra = "/proc/sys/net/ipv6/conf/u0/accept_ra"

    async def main() -> None:
        watcher = Watcher(tmp_path / "state")
        await watcher.service.start()
        await until(lambda: watcher.in_network("a", 6, 4))
        assert Path(accept_ra).read_text() == "0\n"
        for care_of in watcher.service.attachments.care_of:
            assert f"inet{'6' if care_of.address.version == 6 else ''} {care_of.address}/" in lab.ip(
                "mobile", "addr show dev u0"
            )
        assert "default via 10.1.0.1 dev u0 proto 190" in lab.ip("mobile", "route")
        assert "default via fe80::" in lab.ip("mobile", "-6 route")
        heard = watcher.last("router-advertisement")
        assert heard["wire"] <= heard["at"]
        snapshot = watcher.service.snapshot()
        assert len(snapshot["care_of"]) == 2  # type: ignore[arg-type]
        await watcher.service.stop()

    in_mobile(main())
    left = lab.ip("mobile", "addr show dev u0")
    assert "scope global" not in left
    assert "default" not in lab.ip("mobile", "route") + lab.ip("mobile", "-6 route")
    assert Path(tmp_path / "state" / "networks.json").exists()
    with inside("mobile"):
        assert Path(accept_ra).read_text() == "1\n"


def test_rfc6059_rfc4436_back_in_a_known_network_after_one_exchange(lab: Lab, tmp_path: Path) -> None:
    lab.serve("a")
    lab.serve("b")
    lab.plug("a")

    async def main() -> None:
        watcher = Watcher(tmp_path / "state")
        await watcher.service.start()
        await until(lambda: watcher.in_network("a", 6, 4))
        for network in ("b", "a", "b"):
            await asyncio.sleep(1.1)
            lab.unplug()
            lab.plug(network)
            await until(lambda network=network: watcher.in_network(network, 6, 4))  # type: ignore[misc]
        confirmed = [fields for kind, fields in watcher.events if kind == "dna-confirmed"]
        assert {fields["family"] for fields in confirmed} >= {"v4"}
        up = watcher.last("link-up")["at"]
        usable = [at for at, attachments in watcher.changes if at >= up and attachments.care_of]
        print(f"link up to first published address: {(usable[0] - up) * 1000:.2f} ms")
        print(f"link up to both addresses: {(usable[-1] - up) * 1000:.2f} ms")
        assert usable[-1] - up < DNA_BUDGET
        await watcher.service.stop()

    in_mobile(main())


def test_rfc6275_11_5_1_move_without_link_event(lab: Lab, tmp_path: Path) -> None:
    lab.serve("a")
    lab.serve("b")
    lab.plug("a")

    async def main() -> None:
        watcher = Watcher(tmp_path / "state")
        await watcher.service.start()
        await until(lambda: watcher.in_network("a", 6, 4))
        await asyncio.sleep(1.2)
        lab.ip("switch", "link set p0 master br-b")
        await until(lambda: watcher.in_network("b", 6, 4), 8)
        assert not any(kind == "link-down" for kind, _ in watcher.events)
        assert "2001:db8:a:" not in lab.ip("mobile", "addr show dev u0")
        await watcher.service.stop()

    in_mobile(main())


def test_ipv4_only_and_ipv6_only_networks_and_the_home_link(lab: Lab, tmp_path: Path) -> None:
    lab.serve("a", radvd=False)
    lab.serve("b", dnsmasq=False)
    lab.plug("a")

    async def main() -> None:
        watcher = Watcher(tmp_path / "state", home=IPv6Network("2001:db8:b::/64"))
        await watcher.service.start()
        await until(lambda: watcher.in_network("a", 4))
        lab.unplug()
        lab.plug("b")
        await until(lambda: watcher.service.attachments.home is not None)
        assert watcher.service.attachments.care_of == ()
        assert "2001:db8:b:" not in lab.ip("mobile", "addr show dev u0")
        await watcher.service.stop()

    in_mobile(main())


def test_observed_link_is_only_looked_at(lab: Lab, tmp_path: Path) -> None:
    lab.plug("a")
    lab.ip("mobile", "addr add 10.1.0.5/24 dev u0")

    async def main() -> None:
        watcher = Watcher(tmp_path / "state", manage=False)
        await watcher.service.start()
        assert watcher.versions == []
        lab.ip("mobile", "route add default via 10.1.0.1")
        await until(lambda: watcher.versions == [4])
        lab.ip("mobile", "addr add 2001:db8:a::5/64 dev u0")
        lab.ip("mobile", "route add default via fe80::1 dev u0")
        await until(lambda: watcher.versions == [6, 4], 5)
        lab.ip("mobile", "addr del 10.1.0.5/24 dev u0")
        await until(lambda: watcher.versions == [6])
        lab.unplug()
        await until(lambda: watcher.versions == [])
        await watcher.service.stop()
        assert not any(kind in ("router-solicitation", "lease") for kind, _ in watcher.events)

    in_mobile(main())
    assert "2001:db8:a::5" in lab.ip("mobile", "addr show dev u0")


def test_what_a_killed_process_left_is_removed_at_the_next_start(lab: Lab, tmp_path: Path) -> None:
    lab.serve("a", radvd=False)
    lab.plug("a")
    lab.ip("mobile", "addr add 10.9.0.1/24 dev u0")

    async def killed() -> None:
        watcher = Watcher(tmp_path / "state")
        await watcher.service.start()
        await until(lambda: watcher.in_network("a", 4))
        await watcher.service.stop(keep=True)

    async def next_start() -> None:
        watcher = Watcher(tmp_path / "state", name="u0")
        await watcher.service.start()
        assert watcher.last("leftovers-removed")["count"] == 2
        await until(lambda: watcher.in_network("a", 4))
        await watcher.service.stop()

    in_mobile(killed())
    assert "proto 190" in lab.ip("mobile", "route")
    in_mobile(next_start())
    left = lab.ip("mobile", "addr show dev u0")
    assert "10.1.0." not in left
    assert "10.9.0.1" in left
    with inside("mobile"):
        assert Path("/proc/sys/net/ipv6/conf/u0/accept_ra").read_text() == "1\n"


def test_an_address_and_a_route_somebody_deletes_are_put_back(lab: Lab, tmp_path: Path) -> None:
    lab.serve("a")
    lab.plug("a")

    async def main() -> None:
        watcher = Watcher(tmp_path / "state")
        await watcher.service.start()
        await until(lambda: watcher.in_network("a", 6, 4))
        lab.ip("mobile", "route del default")
        await until(lambda: "default" in lab.ip("mobile", "route"))
        lab.ip("mobile", "-6 route del default")
        await until(lambda: "default" in lab.ip("mobile", "-6 route"))
        for care_of in watcher.service.attachments.care_of:
            length = 64 if care_of.address.version == 6 else 24
            lab.ip("mobile", f"addr del {care_of.address}/{length} dev u0")
            await until(lambda a=care_of.address: str(a) in lab.ip("mobile", "addr"))  # type: ignore[misc]
        await until(lambda: "default" in lab.ip("mobile", "route"))
        await watcher.service.stop()

    in_mobile(main())


def test_an_interface_that_comes_later_is_waited_for(lab: Lab, tmp_path: Path) -> None:
    lab.serve("a")
    lab.ip("switch", "link del p0")

    async def main() -> None:
        watcher = Watcher(tmp_path / "state")
        await watcher.service.start()
        for _ in range(2):
            lab.cable()
            lab.ip("mobile", "link set u0 up")
            lab.plug("a")
            await until(lambda: watcher.in_network("a", 6, 4), 5)
            lab.ip("switch", "link del p0")
            await until(lambda: watcher.versions == [])
        await watcher.service.stop()

    in_mobile(main())


def test_fifty_quick_moves_leak_nothing(lab: Lab, tmp_path: Path) -> None:
    lab.serve("a")
    lab.serve("b")
    lab.plug("a")

    async def main() -> None:
        watcher = Watcher(tmp_path / "state")
        await watcher.service.start()

        async def move(network: str) -> None:
            lab.unplug()
            lab.plug(network)
            await until(lambda: 4 in watcher.versions and watcher.in_network(network, *watcher.versions))

        for number in range(10):
            await move("ba"[number % 2])
        gc.collect()
        descriptors, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        for number in range(40):
            await move("ba"[number % 2])
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == descriptors
        assert len(asyncio.all_tasks()) <= tasks + 1
        await watcher.service.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    in_mobile(main())


def test_where_the_kernel_has_no_ipv6_ipv4_works_alone(lab: Lab, tmp_path: Path) -> None:
    lab.serve("a")
    lab.plug("a")
    with inside("mobile"):
        Path("/proc/sys/net/ipv6/conf/u0/disable_ipv6").write_text("1")

    async def main() -> None:
        watcher = Watcher(tmp_path / "state")
        await watcher.service.start()
        await until(lambda: 4 in watcher.versions)
        await until(lambda: watcher.in_network("a", 4))
        await watcher.service.stop()

    in_mobile(main())
