"""Daemons that are killed in the middle of a stream: traffic flows on, and the next start takes over."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsmip.daemon.control import ControlError, ask
from dsmip.lab import measure, plan, streams
from dsmip.lab.lab import Lab
from tests.system.conftest import wait_until

pytestmark = [pytest.mark.root, pytest.mark.lab]

#: Seconds the home agent is dead while packets keep coming.
DEAD = 2.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with Lab.up("crash", at="nat4") as built:
        built.start_daemons()
        wait_until(
            lambda: status(built, "mr").get("state") == "registered", 15, "the mobile router registers"
        )
        yield built


def status(lab: Lab, node: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = ask(lab.instance(node), "status")
    except ControlError:
        return {}
    return found


def bindings(lab: Lab) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(lab.instance("ha"), "bindings")
    return found


def lost_between(lab: Lab, directory: Path, begin: float, end: float) -> dict[str, int]:
    """Packets sent in the span that never arrived, by stream. Ends the streams."""
    time.sleep(0.2)
    lab.processes.stop(streams.LABELS)
    return {name: measure.lost(stream, begin, end) for name, stream in streams.load(directory).items()}


def flows_again(directory: Path) -> None:
    """Wait until a packet that is on its way from now on arrives in all four streams."""
    since = time.monotonic()

    def flowing() -> bool:
        last = [streams.arrived(directory, way, f)[1] for way in ("down", "up") for f in streams.FAMILIES]
        return min(last) > since

    wait_until(flowing, 15, "packets flow in all four streams")


@pytest.fixture
def traffic(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    streams.start(lab.processes, tmp_path)

    def flowing() -> bool:
        counts = [streams.arrived(tmp_path, way, f)[0] for way in ("down", "up") for f in streams.FAMILIES]
        return min(counts) > 100

    wait_until(flowing, 15, "packets flow in all four streams")
    yield tmp_path
    lab.processes.stop(streams.LABELS)


def test_kill_9_of_the_home_agent_loses_no_packet(lab: Lab, traffic: Path) -> None:
    before = bindings(lab)
    begin = time.monotonic()
    lab.kill_daemon("ha")
    time.sleep(DEAD)
    lab.start_daemons(only="ha")
    time.sleep(1.0)
    end = time.monotonic()
    assert status(lab, "ha")["adopted"], "the new process adopts the data plane it finds"
    after = bindings(lab)
    assert [row["care_of"] for row in after] == [row["care_of"] for row in before]
    assert after[0]["received_packets"] > before[0]["received_packets"], "counters go on"
    assert lost_between(lab, traffic, begin, end) == {"down-v6": 0, "up-v6": 0, "down-v4": 0, "up-v4": 0}


def test_kill_9_of_the_mobile_router_loses_no_packet(lab: Lab, traffic: Path) -> None:
    begin = time.monotonic()
    lab.kill_daemon("mr")
    time.sleep(DEAD)
    end = time.monotonic()
    lab.start_daemons(only="mr")
    wait_until(
        lambda: status(lab, "mr").get("state") == "registered", 15, "the mobile router registers again"
    )
    assert lost_between(lab, traffic, begin, end) == {"down-v6": 0, "up-v6": 0, "down-v4": 0, "up-v4": 0}


def test_after_a_restart_the_binding_is_refreshed_not_replaced(lab: Lab) -> None:
    """Sequence number and timestamp survive, so the mobile node's next Binding Update is simply the next."""
    lab.kill_daemon("ha")
    lab.start_daemons(only="ha")
    (before,) = bindings(lab)
    lab.move("wifi6")
    wait_until(lambda: bindings(lab)[0]["care_of"] != before["care_of"], 10, "the binding moves")
    (after,) = bindings(lab)
    assert after["registered_for"] >= before["registered_for"]
    kinds = [json.loads(line)["event"] for line in lab.events_file("ha").read_text().splitlines()]
    assert "host-error" not in kinds


def test_killed_at_home_and_started_elsewhere(lab: Lab, traffic: Path) -> None:
    """Its addresses and routes of the home link do not lead astray what it sends from another network."""
    lab.move("home")
    wait_until(lambda: status(lab, "mr").get("state") == "at home", 15, "the mobile router settles at home")
    lab.kill_daemon("mr")
    lab.move("nat4")
    lab.start_daemons(only="mr")
    flows_again(traffic)
    on_uplink = lab.exec("mr", ["ip", "-j", "addr", "show", "dev", "wan0"], capture_output=True).stdout
    assert str(plan.HOME_ADDRESS) not in on_uplink
    assert str(plan.IPV4_HOME_ADDRESS) not in on_uplink


def test_killed_elsewhere_and_started_at_home(lab: Lab, traffic: Path) -> None:
    """Nothing of its home address goes into the tunnel any more."""
    lab.kill_daemon("mr")
    lab.move("home")
    lab.start_daemons(only="mr")
    flows_again(traffic)
    routes = lab.exec("mr", ["ip", "route", "show", "table", "all", "dev", "dsmip0"], capture_output=True)
    assert "/1 " not in routes.stdout


def test_kill_9_at_home_loses_no_packet(lab: Lab, traffic: Path) -> None:
    wait_until(lambda: status(lab, "mr").get("state") == "at home", 15, "the mobile router settles at home")
    flows_again(traffic)
    begin = time.monotonic()
    lab.kill_daemon("mr")
    time.sleep(1.0)
    lab.start_daemons(only="mr")
    wait_until(lambda: status(lab, "mr").get("state") == "at home", 15, "the mobile router is at home again")
    end = time.monotonic()
    assert lost_between(lab, traffic, begin, end) == {"down-v6": 0, "up-v6": 0, "down-v4": 0, "up-v4": 0}
