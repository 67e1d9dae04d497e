"""A physical home link: the home agent answers for those who are away, and stops when they are back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from dsmip.daemon.control import ask
from dsmip.lab import plan
from dsmip.lab.lab import Lab
from tests.system.conftest import wait_until

pytestmark = [pytest.mark.root, pytest.mark.lab]

HOME_AGENT_MAC = "02:00:5e:10:00:01"
HOME_PORT = next(access.port for access in plan.ACCESS if access.name == plan.HOME)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with Lab.up("homelink") as built:
        built.start_daemons()
        wait_until(lambda: state(built) == "at home", 15, "the mobile router is at home")
        yield built


def state(lab: Lab) -> str:
    found: dict[str, Any] = ask(lab.instance("mr"), "status")
    return str(found["state"])


def neighbour(lab: Lab, address: object) -> str:
    """The link-layer address the core router, a neighbour on the home link, has for an address."""
    done = lab.exec(
        "core", ["ip", "-j", "neigh", "show", str(address), "dev", HOME_PORT], capture_output=True
    )
    entries = json.loads(done.stdout or "[]")
    return str(entries[0].get("lladdr", "")) if entries else ""


def forget_neighbours(lab: Lab) -> None:
    lab.exec("core", ["ip", "neigh", "flush", "dev", HOME_PORT], capture_output=True)
    lab.exec("core", ["ip", "-6", "neigh", "flush", "dev", HOME_PORT], capture_output=True)


def reaches(lab: Lab, address: object) -> bool:
    done = lab.exec("core", ["ping", "-c", "1", "-W", "1", str(address)], capture_output=True)
    return bool(done.returncode == 0)


def test_rfc6275_10_4_1_the_home_agent_takes_over_and_gives_back(lab: Lab) -> None:
    addresses = (plan.HOME_ADDRESS, plan.IPV4_HOME_ADDRESS)
    for address in addresses:
        assert reaches(lab, address)
        assert neighbour(lab, address) == plan.UPLINK_MAC

    lab.move("wifi6")
    wait_until(lambda: state(lab) == "registered", 10, "registered in wifi6")
    # Unsolicited: the neighbour had the mobile router's own address a moment ago.
    for address in addresses:
        wait_until(lambda a=address: neighbour(lab, a) == HOME_AGENT_MAC, 3, f"{address} is taken over")
    forget_neighbours(lab)
    for address in addresses:
        wait_until(lambda a=address: reaches(lab, a), 3, f"{address} answers through the home agent")
        assert neighbour(lab, address) == HOME_AGENT_MAC

    lab.move("home")
    wait_until(lambda: state(lab) == "at home", 10, "back home")
    for address in addresses:
        wait_until(lambda a=address: neighbour(lab, a) == plan.UPLINK_MAC, 3, f"{address} is given back")
        assert reaches(lab, address)
    proxies = lab.exec("ha", ["ip", "-6", "neigh", "show", "proxy"], capture_output=True).stdout
    assert str(plan.HOME_ADDRESS) not in proxies


def test_rfc6275_10_3_1_a_duplicate_on_the_home_link_is_refused(lab: Lab) -> None:
    lab.move("wifi6")
    wait_until(lambda: state(lab) == "registered", 10, "registered in wifi6")
    lab.move("home")
    wait_until(lambda: state(lab) == "at home", 10, "back home")
    lab.unplug()
    taken = f"{plan.HOME_ADDRESS}/64"
    lab.exec("core", ["ip", "addr", "add", taken, "dev", HOME_PORT, "nodad"], check=True)
    try:
        lab.move("wifi6")
        wait_until(lambda: ask(lab.instance("mr"), "status")["last_status"] == 134, 10, "status 134")
        assert ask(lab.instance("ha"), "bindings") == []
        status = ask(lab.instance("mr"), "status")
        assert status["state"] == "stopped"
        assert any("another host on the home link uses the home address" in one for one in status["problems"])
    finally:
        lab.exec("core", ["ip", "addr", "del", taken, "dev", HOME_PORT], check=True)
