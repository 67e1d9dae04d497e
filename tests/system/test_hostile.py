"""A home agent under attack: its mobile router's streams lose nothing, and its Binding Updates are answered.

`DSMIP_HOSTILE_SECONDS` is how long the attack lasts; `make soak` sets it higher.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from dsmip.daemon.control import ControlError, ask
from dsmip.lab import measure, namespaces, plan, streams
from dsmip.lab.lab import Lab
from dsmip.wire.constants import MHType
from dsmip.wire.errors import DecodeError
from dsmip.wire.packet import decode_packet
from tests.system.conftest import wait_until
from tests.system.hostile import (
    MALLORY,
    MALLORY_CARE_OF,
    MALLORY_CONFIG,
    Attacker,
    Flood,
    Target,
    greedy_updates,
)

pytestmark = [pytest.mark.root, pytest.mark.lab]

SECONDS = float(os.environ.get("DSMIP_HOSTILE_SECONDS", "5"))
RATE = 50_000
#: Seconds the mobile router asks for: it sends a Binding Update every half of them.
LIFETIME = 8
_ETH_P_ALL = 3
_IPV6 = b"\x86\xdd"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with Lab.up("hostile", at="wifi6") as built:
        home_agent, router = built.write_configs()
        with home_agent.open("a") as file:
            file.write(MALLORY_CONFIG)
        router.write_text(router.read_text().replace("lifetime = 600", f"lifetime = {LIFETIME}"))
        yield built
        for node in ("ha", "mr"):
            assert "Traceback" not in built.processes.log(f"dsmip-{node}").read_text()


@pytest.fixture(scope="module")
def target(lab: Lab) -> Target:
    """The mobile router is registered, what it sent was recorded, and the home agent has restarted since."""
    tap = namespaces.open_socket(lab.namespace("ha"), socket.AF_PACKET, socket.SOCK_RAW)
    with closing(tap):
        tap.bind(("eth0", _ETH_P_ALL))
        tap.setblocking(False)
        lab.start_daemons()
        wait_until(lambda: status(lab, "mr").get("state") == "registered", 15, "the mobile router registers")
        recorded = binding_updates(tap)
    assert recorded
    lab.kill_daemon("ha")
    lab.start_daemons(only="ha")
    return Target(IPv6Address(status(lab, "mr")["care_of"]), recorded)


@pytest.fixture
def traffic(lab: Lab, target: Target, tmp_path: Path) -> Iterator[Path]:
    streams.start(lab.processes, tmp_path)

    def flowing() -> bool:
        counts = [streams.arrived(tmp_path, way, f)[0] for way in ("down", "up") for f in streams.FAMILIES]
        return min(counts) > 100

    wait_until(flowing, 15, "packets flow in all four streams")
    yield tmp_path
    lab.processes.stop(streams.LABELS)


def binding_updates(tap: socket.socket) -> list[bytes]:
    """The packets with a Binding Update among what has passed."""
    found = []
    while True:
        try:
            octets = tap.recv(2000)
        except BlockingIOError:
            return found
        if octets[12:14] != _IPV6:
            continue
        try:
            packet = decode_packet(octets[14:])
        except DecodeError:
            continue
        to_home_agent = packet.destination == plan.HOME_AGENT and packet.home_address is not None
        if to_home_agent and packet.payload[2:3] == bytes((MHType.BINDING_UPDATE,)):
            found.append(octets[14:])


def status(lab: Lab, node: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = ask(lab.instance(node), "status")
    except ControlError:
        return {}
    return found


def binding(lab: Lab, home_address: IPv6Address = plan.HOME_ADDRESS) -> dict[str, Any] | None:
    rows: list[dict[str, Any]] = ask(lab.instance("ha"), "bindings")
    return next((row for row in rows if row["home_address"] == str(home_address)), None)


def counters(lab: Lab) -> dict[str, int]:
    found: dict[str, dict[str, int]] = ask(lab.instance("ha"), "stats")
    return {**found["signalling_refused"], **found["dataplane_dropped"]}


def flood(lab: Lab, packets: list[bytes]) -> Flood:
    return Flood(lab.namespace("core"), plan.NETWORKS[plan.HOME].port, packets, RATE)


def test_a_stream_loses_nothing_and_updates_are_answered(lab: Lab, target: Target, traffic: Path) -> None:
    before, counted = binding(lab), counters(lab)
    assert before is not None
    begin = time.monotonic()
    packets = [*greedy_updates(time.time()), *Attacker(target, 4191).packets(400)]
    with flood(lab, packets) as attack:
        time.sleep(SECONDS)
        wait_until(
            lambda: (binding(lab) or before)["sequence"] != before["sequence"],
            30,
            "a Binding Update is answered",
        )
    end = time.monotonic()
    print(f"{attack.sent / (end - begin):.0f} hostile packets a second")
    after = binding(lab)
    assert after is not None
    assert {key: after[key] for key in ("care_of", "prefixes")} == {
        key: before[key] for key in ("care_of", "prefixes")
    }
    time.sleep(0.5)
    lab.processes.stop(streams.LABELS)
    losses = {name: measure.lost(stream, begin, end) for name, stream in streams.load(traffic).items()}
    assert losses == {"down-v6": 0, "up-v6": 0, "down-v4": 0, "up-v4": 0}
    rose = {reason for reason, count in counters(lab).items() if count > counted.get(reason, 0)}
    assert rose >= {"outer-source", "inner-address", "malformed"}, rose


def test_nothing_of_another_node_is_had_by_asking(lab: Lab, target: Target) -> None:
    counted = counters(lab)
    packets = greedy_updates(time.time())
    with flood(lab, packets):
        wait_until(
            lambda: counters(lab).get("replay", 0) > counted.get("replay", 0), 10, "updates are looked at"
        )
    had = binding(lab, MALLORY)
    if had is not None:
        assert had["care_of"] == str(MALLORY_CARE_OF)
        assert not had["prefixes"]
        assert had["ipv4_home_address"] is None
        assert not had["ipv4_prefixes"]
    assert (binding(lab) or {})["care_of"] == str(target.care_of)


def test_a_handover_in_the_middle_of_it(lab: Lab, target: Target) -> None:
    with flood(lab, Attacker(target, 1).packets(200)):
        lab.move("dual")
        wait_until(
            lambda: (binding(lab) or {}).get("care_of", "").startswith("2001:db8:246:"),
            30,
            "the binding moves",
        )
