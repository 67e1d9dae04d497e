"""A home agent whose data plane has no room left: everything of the daemon's own but kernel and sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from tests.daemon.test_payload import FakeKernel, node

from dsmip.bench import fleet, frames, network
from dsmip.bench.daemon import configuration
from dsmip.core.actions import InstallBinding
from dsmip.core.types import Binding, Instant, IPAddress
from dsmip.core.types import Path as TunnelPath
from dsmip.daemon import full_maps
from dsmip.daemon.config.loading import parse
from dsmip.daemon.config.schema import HomeAgentFile
from dsmip.daemon.home_agent.daemon import HomeAgentDaemon
from dsmip.daemon.payload import PayloadProtection, Situation
from dsmip.daemon.persistence import Persistence
from dsmip.dataplane.api import DataPlaneError, NoRoom, NotInstalled
from dsmip.dataplane.fake import FakeDataPlane
from dsmip.store.api import StoreError
from dsmip.store.memory import MemoryStore
from dsmip.wire.constants import BAStatus
from dsmip.wire.messages import BindingAcknowledgement, decode_message
from dsmip.wire.packet import decode_packet

VEHICLES = fleet.vehicles(4)
ONE, TWO, THREE, FOUR = VEHICLES
ACCEPTED, NO_ROOM = BAStatus.ACCEPTED, BAStatus.INSUFFICIENT_RESOURCES


@dataclass(slots=True)
class SmallDataPlane(FakeDataPlane):
    """With room for so many outer sources. New paths of the bindings in `stubborn` are refused at once, as
    entries are that are not held back."""

    room: int = 1000
    stubborn: set[int] = field(default_factory=set)
    _wanting: dict[int, DataPlaneError] = field(default_factory=dict)

    @contextmanager
    def together(self) -> Iterator[None]:  # type: ignore[override]
        self._wanting = {}
        installed = dict(self.installed)
        yield
        for index in self._wanting:
            for key in [key for key in self.installed if key[0] == index]:
                del self.installed[key]
            self.installed.update({key: path for key, path in installed.items() if key[0] == index})
        if self._wanting:
            raise NotInstalled(dict(self._wanting))

    def allow_source(
        self, index: int, address: IPAddress, port: int, until: float | None, bid: int = 0
    ) -> None:
        if (index, address, port) not in self.sources and len(self.sources) >= self.room:
            self._wanting[index] = NoRoom("sources", self.room, full=True)
        else:
            self.sources[index, address, port] = until, bid

    def set_path(self, index: int, path: TunnelPath, bid: int = 0, *, moved: bool = False) -> None:
        if index in self.stubborn and self.installed.get((index, bid)) != path:
            raise NoRoom("paths", 1, full=False)
        self.installed[index, bid] = path


class Sent:
    """In place of the sockets: the acknowledgements that have left, by home address, in order."""

    def __init__(self) -> None:
        self.answers: dict[IPv6Address, list[int]] = {}

    def send_ipv6(self, packet: bytes, interface: str = "") -> bool:
        decoded = decode_packet(packet)
        message = decode_message(decoded.payload, decoded.sender, decoded.recipient)
        assert isinstance(message, BindingAcknowledgement)
        self.answers.setdefault(decoded.recipient, []).append(message.status)
        return True

    def send_datagram(self, payload: bytes, *_: object) -> bool:
        return self.send_ipv6(payload)


class Small:
    """The daemon, and the fleet's packets into it."""

    def __init__(self, directory: Path) -> None:
        nodes = "".join(
            f'[[mobile_node]]\nname = "{vehicle.identifier}"\nkey = "{vehicle.key.hex()}"\n'
            f'home_address = "{vehicle.home_address}"\nipv4_home_address = "{vehicle.ipv4_home_address}"\n'
            f'mobile_network_prefixes = ["{vehicle.prefix}"]\n'
            for vehicle in VEHICLES
        )
        config = parse(configuration("small", directory, 8) + nodes, directory / "ha.toml")
        assert isinstance(config, HomeAgentFile)
        self.daemon = HomeAgentDaemon(config)
        self.runtime = self.daemon._runtime
        self.dataplane = SmallDataPlane()
        self.runtime.dataplane = self.dataplane  # type: ignore[assignment]
        self.sent = Sent()
        self.runtime.sockets = self.sent  # type: ignore[assignment]
        self.engine = self.daemon._engine
        self.runtime._engine = self.engine
        self.store = MemoryStore()
        self.daemon._persistence = Persistence(
            self.store, self.runtime.events, self.runtime.conditions, self.engine.stored
        )
        self._round = 0

    def turn(self, *packets: bytes) -> None:
        self.take(*packets)
        self.agrees()

    def take(self, *packets: bytes) -> None:
        now = Instant(time.monotonic(), time.time())
        for packet in packets:
            self.engine.receive(packet, now)
        self.runtime.carry_out_last()

    def restarted(self, directory: Path) -> Small:
        """Another process with this one's store, after a reboot: bindings are not in the data plane yet."""
        later = Small(directory)
        later.store = self.store
        later.daemon._persistence = Persistence(
            self.store, later.runtime.events, later.runtime.conditions, later.engine.stored
        )
        later._round = self._round
        later.daemon._resumption.put_off(later.daemon._read(self.store))
        return later

    async def resumed(self) -> None:
        """Until all bindings of the earlier process have had their turn."""
        async with asyncio.timeout(30):
            while self.daemon._resumption:
                await asyncio.sleep(0)
        self.turn()

    @property
    def installed(self) -> set[IPv6Address]:
        """Home addresses of those in the data plane."""
        indexes = {index for index, _ in self.dataplane.installed}
        return {one.home_address for one in self.engine.bindings.values() if one.index in indexes}

    def moved(self, *vehicles: fleet.Vehicle) -> list[int]:
        """They all move in one turn; the last status of each, -1 = no answer."""
        self._round += 1
        self.sent.answers.clear()
        self.turn(*(vehicle.update(self._round, time.time()) for vehicle in vehicles))
        return [self.sent.answers.get(vehicle.home_address, [-1])[-1] for vehicle in vehicles]

    def agrees(self) -> None:
        """Engine, store and data plane have the same."""
        bindings = {binding.home_address: binding for binding in self.engine.bindings.values()}
        stored, _ = self.store.load()
        assert {binding.home_address: binding for binding in stored} == bindings
        remotes = {index: path.remote for (index, _), path in self.dataplane.installed.items()}
        assert remotes == {binding.index: _remote(binding) for binding in bindings.values()}
        indexes = {binding.index for binding in bindings.values()}
        assert set(self.dataplane.networks.values()) == indexes

    def events(self, kind: str) -> list[str]:
        found = [event for event in self.runtime.events.recent if event["event"] == kind]
        return [str(event.get("name", "")) for event in found]

    @property
    def problems(self) -> list[str]:
        return self.runtime.conditions.sentences


def _remote(binding: Binding) -> IPAddress:
    entry = binding.care_ofs[0]
    return entry.care_of if entry.nat_source is None else entry.nat_source.address


def in_loop(check: Callable[[Small], None], directory: Path) -> None:
    """The daemon's timers need a running loop."""

    async def main() -> None:
        check(Small(directory))

    asyncio.run(main())


def test_the_others_of_the_batch_are_acknowledged(tmp_path: Path) -> None:
    def check(small: Small) -> None:
        small.dataplane.room = 3
        statuses = small.moved(*VEHICLES)
        assert statuses.count(ACCEPTED) == len(small.engine.bindings) > 0
        assert statuses.count(NO_ROOM) == len(VEHICLES) - len(small.engine.bindings)
        assert statuses[-1] == NO_ROOM
        assert all(len(answers) == 1 for answers in small.sent.answers.values())
        accepted = [v.identifier for v, s in zip(VEHICLES, statuses, strict=True) if s == ACCEPTED]
        assert small.events("registered") == accepted
        assert set(small.events("refused")) == {v.identifier for v in VEHICLES} - set(accepted)

    in_loop(check, tmp_path)


def test_a_move_without_room_leaves_the_former_binding_and_new_ones_find_room_again(tmp_path: Path) -> None:
    def check(small: Small) -> None:
        assert small.moved(TWO, FOUR) == [ACCEPTED, ACCEPTED]
        before = dict(small.dataplane.installed), dict(small.dataplane.sources)
        small.dataplane.room = 2
        assert small.moved(TWO, ONE) == [NO_ROOM, NO_ROOM]
        assert (small.dataplane.installed, small.dataplane.sources) == before
        assert small.events("moved") == []
        (problem,) = small.problems
        assert "Map sources is full with 2 entries: raise max_bindings" in problem
        assert small.runtime.events.drops["sources-full"] == 2
        small.dataplane.room = 5
        assert small.moved(TWO) == [ACCEPTED]
        assert len(small.problems) == 1
        assert small.moved(ONE) == [ACCEPTED]
        assert small.problems == []
        assert small.events("problem-over") == [""]

    in_loop(check, tmp_path)


def test_who_does_not_ask_again_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_maps, "PATIENCE", 0.0)

    async def main() -> None:
        small = Small(tmp_path)
        small.dataplane.room = 0
        assert small.moved(ONE, TWO) == [NO_ROOM, NO_ROOM]
        assert len(small.problems) == 1
        while small.problems:
            await asyncio.sleep(0)

    asyncio.run(main())


def test_two_updates_of_one_mobile_node_in_one_turn(tmp_path: Path) -> None:
    def check(small: Small) -> None:
        assert small.moved(TWO) == [ACCEPTED]
        kept = dict(small.dataplane.installed)
        small.dataplane.room = 1
        now = time.time()
        small.sent.answers.clear()
        small.turn(TWO.update(10, now), TWO.update(11, now + 0.001))
        assert small.sent.answers == {TWO.home_address: [NO_ROOM]}
        assert small.dataplane.installed == kept

    in_loop(check, tmp_path)


def test_refused_and_de_registered_in_one_turn(tmp_path: Path) -> None:
    """A turn of several rounds: what is refused in one may be gone in the next, or have room there."""

    def check(small: Small) -> None:
        assert small.moved(FOUR) == [ACCEPTED]
        small.dataplane.room = 1
        now = time.time()
        small.sent.answers.clear()
        small.turn(TWO.update(10, now), TWO.update(11, now + 0.001, lifetime=0))
        assert small.sent.answers == {TWO.home_address: [ACCEPTED]}, "one that left, of the last update"
        assert TWO.home_address not in small.engine.bindings
        # FOUR goes in the round after TWO was refused: TWO's next update finds the room.
        now += 0.002
        small.turn(TWO.update(12, now), FOUR.update(13, now, lifetime=0), TWO.update(14, now + 0.001))
        assert small.sent.answers[TWO.home_address] == [ACCEPTED, ACCEPTED]

    in_loop(check, tmp_path)


def test_what_is_refused_at_once_is_undone_like_what_is_refused_at_the_end(tmp_path: Path) -> None:
    def check(small: Small) -> None:
        assert small.moved(TWO, ONE) == [ACCEPTED, ACCEPTED]
        small.dataplane.stubborn.add(small.engine.bindings[TWO.home_address].index)
        assert small.moved(TWO, ONE) == [NO_ROOM, ACCEPTED]
        assert small.runtime.events.drops["paths-without-memory"] == 1
        small.dataplane.stubborn.clear()
        assert small.moved(TWO, ONE) == [ACCEPTED, ACCEPTED]

    in_loop(check, tmp_path)


def test_a_store_that_cannot_be_written_meanwhile_promises_nothing(tmp_path: Path) -> None:
    """Neither acceptance nor refusal leaves; what is written later is what the data plane has."""

    def check(small: Small) -> None:
        assert small.moved(TWO) == [ACCEPTED]
        flush = small.store.flush

        def fail() -> None:
            raise StoreError("away")

        small.store.flush = fail  # type: ignore[method-assign]
        small.dataplane.room = 1
        assert small.moved(TWO, ONE) == [-1, -1]
        small.store.flush = flush  # type: ignore[method-assign]
        small.dataplane.room = 9
        assert small.moved(TWO, ONE) == [ACCEPTED, ACCEPTED]

    in_loop(check, tmp_path)


def test_bindings_of_an_earlier_process_for_which_there_is_no_room_end(tmp_path: Path) -> None:
    async def check() -> None:
        small = Small(tmp_path)
        assert small.moved(ONE, TWO) == [ACCEPTED, ACCEPTED]
        later = small.restarted(tmp_path)
        later.dataplane.room = len(small.dataplane.sources) - 1
        await later.resumed()
        (lost,) = later.events("not-resumed")
        (kept,) = later.engine.bindings.values()
        assert {lost, kept.identifier} == {ONE.identifier, TWO.identifier}
        later.dataplane.room = 9
        assert later.moved(THREE, ONE, TWO) == [ACCEPTED] * 3

    asyncio.run(check())


def test_after_a_reboot_who_sends_or_is_sent_to_is_in_the_data_plane_before_the_others(
    tmp_path: Path,
) -> None:
    async def check() -> None:
        small = Small(tmp_path)
        assert small.moved(*VEHICLES) == [ACCEPTED] * len(VEHICLES)
        later = small.restarted(tmp_path)
        assert later.installed == set()
        later._round += 1
        later.take(TWO.update(later._round, time.time()))
        assert later.sent.answers == {TWO.home_address: [ACCEPTED]}
        assert later.installed == {TWO.home_address}
        later.take(frames.packet(network.CORRESPONDENT, THREE.home_address))
        assert later.installed == {TWO.home_address, THREE.home_address}
        await later.resumed()
        assert later.installed == {vehicle.home_address for vehicle in VEHICLES}

    asyncio.run(check())


def test_bindings_that_a_start_changes_wait_for_their_turn_like_the_others(tmp_path: Path) -> None:
    async def check() -> None:
        small = Small(tmp_path)
        assert small.moved(ONE, TWO) == [ACCEPTED, ACCEPTED]
        later = small.restarted(tmp_path)
        binding = later.engine.bindings[ONE.home_address]
        later.daemon._carry_out(InstallBinding(binding, None, 0.0, restored=True))
        assert later.installed == set()
        await later.resumed()
        assert later.installed == {ONE.home_address, TWO.home_address}

    asyncio.run(check())


def test_a_binding_whose_payload_the_kernel_does_not_protect_is_undone_and_refused(tmp_path: Path) -> None:
    """Its policies are those of the networks it was granted."""

    def check(small: Small) -> None:
        kernel = FakeKernel()
        small.runtime.payload = PayloadProtection(kernel, small.dataplane)
        index = small.engine.index_of(TWO.home_address)
        small.runtime.payload.add(node(index=index, networks=()), Situation())
        kernel.room = len(kernel.standing) + 1
        before = dict(kernel.standing)
        assert small.moved(ONE, TWO) == [ACCEPTED, NO_ROOM]
        assert kernel.standing == before
        assert set(small.engine.bindings) == {ONE.home_address}
        assert small.runtime.events.drops["policy-refused"] == 1
        (problem,) = small.problems
        assert problem.startswith("IPsec: policy for somebody: Cannot allocate memory.")
        assert "status 130" in problem
        kernel.room = 1000
        assert small.moved(ONE, TWO) == [ACCEPTED, ACCEPTED]
        assert kernel.standing.keys() > before.keys()
        assert small.problems == []

    in_loop(check, tmp_path)
