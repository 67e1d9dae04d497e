"""A home agent killed at random points: what it acknowledged is what the next one knows.

Engine, persistence and store run in a child as in the daemon; acknowledgements go into a pipe in place of a
network. `make soak` kills it a thousand times, `DSMIP_KILLS` says how often.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import time
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from dsmip.bench import fleet, signalling
from dsmip.core.actions import SendDatagram, SendPacket
from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.types import Instant
from dsmip.daemon.conditions import Conditions
from dsmip.daemon.events import EventLog
from dsmip.daemon.persistence import Persistence
from dsmip.store import redis_server
from dsmip.store.api import Store
from dsmip.store.redis_server import RedisStore
from dsmip.store.sqlite import SqliteStore
from dsmip.wire.constants import BAStatus
from dsmip.wire.messages import BindingAcknowledgement, decode_message
from dsmip.wire.packet import decode_packet

from .conftest import RedisServer

pytestmark = pytest.mark.programs

KILLS = int(os.environ.get("DSMIP_KILLS", "30"))
VEHICLES = fleet.vehicles(24)
#: Binding Updates a turn, and the longest a child lives, in seconds.
TURN = 5
LONGEST = 0.02
#: Home address, sequence number.
ACKNOWLEDGED = struct.Struct(">16sH")


class Place:
    """Where the store is."""

    def __init__(self, directory: Path, server: RedisServer | None) -> None:
        self._directory, self._server = directory, server

    def open(self) -> Store:
        if self._server is not None:
            return RedisStore(self._server.url, "ha")
        return SqliteStore(self._directory / "bindings.sqlite")


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    # Here a server that takes its time is no outage: it has the processor with everybody else.
    monkeypatch.setattr(redis_server, "TIMEOUT", 60.0)
    return Place(tmp_path, request.getfixturevalue("redis") if request.param == "redis" else None)


def restored(store: Store) -> HomeAgent:
    home_agent = signalling.engine(VEHICLES)
    home_agent.resume(*store.records(), Instant(time.monotonic(), time.time()))
    return home_agent


def acknowledgement(action: SendPacket | SendDatagram) -> tuple[IPv6Address, BindingAcknowledgement]:
    packet = decode_packet(action.payload if isinstance(action, SendDatagram) else action.packet)
    message = decode_message(packet.payload, packet.source, packet.recipient)
    assert isinstance(message, BindingAcknowledgement)
    return packet.recipient, message


def serve(place: Place, first: int, seed: int, pipe: int) -> None:
    """The child: every vehicle moves, round after round, in random order, for ever."""
    store = place.open()
    home_agent = restored(store)
    persistence = Persistence(store, EventLog(), Conditions(EventLog().event), home_agent.stored)
    rng = random.Random(seed)
    number = first
    while True:
        order = rng.sample(VEHICLES, len(VEHICLES))
        packets = [vehicle.update(number, time.time()) for vehicle in order]
        for start in range(0, len(packets), TURN):
            for packet in packets[start : start + TURN]:
                home_agent.receive(packet, Instant(time.monotonic(), time.time()))
            for action in persistence.prepare(home_agent.actions()):
                if isinstance(action, SendPacket | SendDatagram):
                    home_address, message = acknowledgement(action)
                    assert message.status == BAStatus.ACCEPTED
                    os.write(pipe, ACKNOWLEDGED.pack(home_address.packed, message.sequence))
        number += 1


def killed_after(seconds: float, place: Place, first: int, seed: int) -> dict[IPv6Address, int]:
    """The last sequence number acknowledged to each vehicle by a child that lived so long."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            serve(place, first, seed, writing)
        finally:
            os._exit(1)
    os.close(writing)
    octets = os.read(reading, 1 << 16)  # it has begun to acknowledge
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    while more := os.read(reading, 1 << 16):
        octets += more
    os.close(reading)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, "the child ended by itself"
    whole = len(octets) - len(octets) % ACKNOWLEDGED.size
    pairs = ACKNOWLEDGED.iter_unpack(octets[:whole])
    return {IPv6Address(home_address): sequence for home_address, sequence in pairs}


@pytest.mark.timeout(3600)
def test_nothing_acknowledged_is_lost_wherever_the_process_is_killed(place: Place) -> None:
    rng = random.Random(6275)
    by_home = {vehicle.home_address: vehicle for vehicle in VEHICLES}
    first = 1
    for kill in range(KILLS):
        acknowledged = killed_after(rng.uniform(0, LONGEST), place, first, kill)
        assert acknowledged
        with place.open() as store:
            home_agent = restored(store)
            latest = first
            for home_address, sequence in acknowledged.items():
                binding = home_agent.bindings[home_address]
                # One more may have been stored whose acknowledgement did not get out.
                assert binding.sequence in (sequence, sequence + 1)
                vehicle = by_home[home_address]
                care_of = vehicle.care_of(binding.sequence)
                if vehicle.behind_nat:
                    care_of = vehicle.nat_source(binding.sequence)[0]
                assert binding.care_of == care_of
                latest = max(latest, binding.sequence)
            indices = [binding.index for binding in home_agent.bindings.values()]
            assert len(set(indices)) == len(indices)
            # What was acknowledged is a replay now.
            home_address, sequence = rng.choice(list(acknowledged.items()))
            home_agent.actions()
            home_agent.receive(
                by_home[home_address].update(sequence, time.time() - 3600),
                Instant(time.monotonic(), time.time()),
            )
            assert not any(
                isinstance(action, SendPacket | SendDatagram)
                and acknowledgement(action)[1].status == BAStatus.ACCEPTED
                for action in home_agent.actions()
            )
        first = latest + 1
