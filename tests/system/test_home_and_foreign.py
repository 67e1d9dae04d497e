"""At home and abroad at once (RFC 5648 section 5.6): one uplink at home, one in a visited network."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dsmip.daemon.control import ask
from dsmip.lab import plan
from dsmip.lab.lab import Lab
from dsmip.lab.uplinks import Uplink
from tests.system.conftest import wait_until

pytestmark = [pytest.mark.root, pytest.mark.lab]

WLAN = Uplink("wlan0", plan.UPLINK_MAC, preference=10)
MODEM = Uplink("lte0", "02:00:5e:10:00:11", preference=20)
VIDEO_PORT = 5004
POLICY = f"""
[[flow]]
name = "video"
protocol = "udp"
remote_ports = {VIDEO_PORT}
interfaces = ["{MODEM.interface}"]
"""
WITHIN = 20.0
#: Enough that what is counted besides, probes and neighbour discovery, makes no difference.
PACKETS = 300

_SEND = f"""
import socket, sys, time
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", int(sys.argv[2])))
for _ in range({PACKETS}):
    s.sendto(b"x" * 100, (sys.argv[1], 9))
    time.sleep(0.001)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with Lab.up(f"both{os.getpid()}", at="wifi6", uplinks=(WLAN, MODEM)) as built:
        built.write_configs(policy=POLICY)
        built.start_daemons()
        built.move("dual", MODEM.interface)
        wait_until(lambda: bound(built) == {WLAN.interface, MODEM.interface}, WITHIN, "both are registered")
        yield built


def paths(lab: Lab) -> dict[str, dict[str, Any]]:
    found = ask(lab.instance("mr"), "attachments")["paths"]
    return {path["interface"]: path for path in found}


def bound(lab: Lab) -> set[str]:
    """Uplinks with a path that may be used."""
    return {name for name, path in paths(lab).items() if path["state"] in ("up", "probation", "suspect")}


def care_ofs(lab: Lab) -> dict[str, str]:
    """Care-of addresses at the home agent and how packets get there."""
    bindings = ask(lab.instance("ha"), "bindings")
    return {one["care_of"]: one["tunnel"] for binding in bindings for one in binding["care_of_bindings"]}


def reaches(lab: Lab, address: object) -> bool:
    done = lab.exec("cn", ["ping", "-c", "1", "-W", "2", str(address)], capture_output=True)
    return bool(done.returncode == 0)


class Pinging:
    """A ping every 20 ms from the correspondent to the host in the mobile network, and what was lost."""

    def __init__(self, lab: Lab) -> None:
        argv = ["ping", "-i", "0.02", "-W", "5", str(plan.HOST)]
        self._ping = subprocess.Popen(
            ["ip", "netns", "exec", lab.namespace("cn"), *argv], stdout=subprocess.PIPE, text=True
        )
        self.answered = 0

    def stop(self) -> int:
        """Packets lost."""
        self._ping.send_signal(2)
        output, _ = self._ping.communicate(timeout=30)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", output)
        assert found, output
        self.answered = int(found[2])
        return int(found[1]) - int(found[2])


def received_over_modem(lab: Lab, port: int) -> int:
    """Tunnelled packets that came over the modem while so many were sent from a port."""
    before = paths(lab)[MODEM.interface]["received_packets"]
    done = lab.exec("cn", ["python3", "-c", _SEND, str(plan.HOST), str(port)], capture_output=True)
    assert done.returncode == 0, done.stderr
    return int(paths(lab)[MODEM.interface]["received_packets"] - before)


def test_both_are_registered_and_used_by_policy(lab: Lab) -> None:
    wait_until(lambda: reaches(lab, plan.HOST), WITHIN, "the mobile network is reached")
    pinging = Pinging(lab)
    lab.move("home", WLAN.interface)
    at_home: Callable[[], bool] = lambda: paths(lab)[WLAN.interface]["tunnel"] == "link"  # noqa: E731
    wait_until(at_home, WITHIN, "registered on the home link")
    assert care_ofs(lab)[str(plan.HOME_ADDRESS)] == "link"
    assert len(care_ofs(lab)) == 2
    assert bound(lab) == {WLAN.interface, MODEM.interface}
    for address in (plan.HOME_ADDRESS, plan.IPV4_HOME_ADDRESS, plan.HOST, plan.HOST_IPV4):
        wait_until(lambda a=address: reaches(lab, a), WITHIN, f"{address} is reached")
    pinging.stop()
    assert pinging.answered
    assert received_over_modem(lab, VIDEO_PORT) >= PACKETS
    assert received_over_modem(lab, VIDEO_PORT + 1) < PACKETS / 2


def test_leaving_the_visited_network_and_coming_back_loses_nothing(lab: Lab) -> None:
    pinging = Pinging(lab)
    lab.unplug(MODEM.interface)
    wait_until(
        lambda: ask(lab.instance("mr"), "status")["state"] == "at home", WITHIN, "at home and nowhere else"
    )
    assert ask(lab.instance("ha"), "bindings") == []
    assert reaches(lab, plan.HOME_ADDRESS)
    lab.move("dual", MODEM.interface)
    wait_until(lambda: len(care_ofs(lab)) == 2, WITHIN, "registered at home and abroad")
    wait_until(lambda: bound(lab) == {WLAN.interface, MODEM.interface}, WITHIN, "both are in use")
    assert reaches(lab, plan.HOME_ADDRESS)
    assert pinging.stop() <= 1  # the last one may still be on its way
    assert received_over_modem(lab, VIDEO_PORT) >= PACKETS


def test_leaving_the_home_link(lab: Lab) -> None:
    lab.unplug(WLAN.interface)
    wait_until(lambda: bound(lab) == {MODEM.interface}, WITHIN, "the home link is left")
    wait_until(lambda: len(care_ofs(lab)) == 1, WITHIN, "the home agent knows")
    # The home agent defends the home address again.
    for address in (plan.HOME_ADDRESS, plan.IPV4_HOME_ADDRESS, plan.HOST):
        wait_until(lambda a=address: reaches(lab, a), WITHIN, f"{address} is reached")
    addresses = lab.exec("mr", ["ip", "addr", "show", WLAN.interface], capture_output=True).stdout
    assert str(plan.HOME_ADDRESS) not in addresses
