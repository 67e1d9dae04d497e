"""The home link is renumbered, both ends being the real programs (RFC 6275 sections 10.6 and 11.4.3)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from dsmip.daemon.control import ask
from dsmip.lab import plan
from dsmip.lab.lab import Lab
from dsmip.lab.uplinks import SINGLE, Uplink
from tests.system.conftest import wait_until
from tests.system.renumbered_lab import (
    HOME_PORT,
    NEW_ADDRESS,
    NEW_HOME_AGENT,
    NEW_PREFIX,
    NEW_ROUTER,
    Advertised,
    Session,
    advertise,
    reaches,
    status,
)

pytestmark = [pytest.mark.root, pytest.mark.lab]

WITHIN = 20.0
UPLINKS = (
    Uplink("wlan0", plan.UPLINK_MAC, preference=10),
    Uplink("lte0", "02:00:5e:10:00:11", preference=20),
)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with _lab() as built:
        yield built


@contextmanager
def _lab(uplinks: Sequence[Uplink] = SINGLE) -> Iterator[Lab]:
    """The mobile router is in the network wifi6, and registered."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with Lab.up(f"renumber{os.getpid()}", at="wifi6", uplinks=uplinks) as built:
        for node, address, interface in (
            ("core", NEW_ROUTER, HOME_PORT),
            ("ha", NEW_HOME_AGENT, "eth0"),
        ):
            built.exec(node, ["ip", "addr", "add", f"{address}/64", "dev", interface, "nodad"], check=True)
        ha_file, _ = built.write_configs()
        serving = ha_file.read_text().replace(
            f'home_prefixes = ["{plan.HOME_PREFIX}"]',
            f'home_prefixes = ["{plan.HOME_PREFIX}", "{NEW_PREFIX}"]\nrenumbering = true\n'
            "min_mobile_prefix_interval = 1\nmax_mobile_prefix_interval = 2",
        )
        ha_file.write_text(serving)
        built.start_daemons()
        wait_until(lambda: status(built)["state"] == "registered", WITHIN, "registered")
        yield built


def is_registered(lab: Lab, home_address: object) -> bool:
    found = status(lab)
    return found["state"] == "registered" and found["home_address"] == str(home_address)


def events(lab: Lab, node: str = "mr") -> list[str]:
    return [json.loads(line)["event"] for line in lab.events_file(node).read_text().splitlines()]


def homes(lab: Lab) -> list[tuple[str, str | None]]:
    """Home addresses at the home agent, and the former ones."""
    bindings = ask(lab.instance("ha"), "bindings")
    return [(binding["home_address"], binding["former_home_address"]) for binding in bindings]


def care_ofs(lab: Lab) -> int:
    """Care-of addresses at the home agent."""
    return sum(len(binding["care_of_bindings"]) for binding in ask(lab.instance("ha"), "bindings"))


def tunnels(lab: Lab) -> list[str]:
    """How packets get to each care-of address."""
    bindings = ask(lab.instance("ha"), "bindings")
    return sorted(one["tunnel"] for binding in bindings for one in binding["care_of_bindings"])


def source(lab: Lab) -> str:
    """The address that new sessions of the mobile router have."""
    found = lab.exec("mr", ["ip", "-j", "route", "get", str(plan.CORRESPONDENT)], capture_output=True)
    return str(json.loads(found.stdout)[0]["prefsrc"])


def test_renumbered_while_away(lab: Lab) -> None:
    assert source(lab) == str(plan.HOME_ADDRESS)
    with Session(lab, plan.HOME_ADDRESS) as session:
        assert session.lives()
        advertise(lab, Advertised(plan.HOME_PREFIX, preferred=0), Advertised(NEW_PREFIX))
        wait_until(lambda: is_registered(lab, NEW_ADDRESS), WITHIN, "the new home address")
        assert status(lab)["former_home_address"] == str(plan.HOME_ADDRESS)
        assert homes(lab) == [(str(NEW_ADDRESS), str(plan.HOME_ADDRESS))]
        assert source(lab) == str(NEW_ADDRESS)
        assert session.lives()
        for address in (NEW_ADDRESS, plan.HOME_ADDRESS, plan.HOST, plan.IPV4_HOME_ADDRESS):
            assert reaches(lab, address), address
        lab.move("home")
        wait_until(lambda: status(lab)["state"] == "at home", WITHIN, "at home while the old prefix is valid")
        assert session.lives()
        assert source(lab) == str(NEW_ADDRESS)
        wait_until(lambda: reaches(lab, plan.HOST), WITHIN, "the mobile network at home")
        lab.move("wifi6")
        wait_until(lambda: is_registered(lab, NEW_ADDRESS), WITHIN, "away again")
        assert session.lives()
        advertise(lab, Advertised(plan.HOME_PREFIX, valid=5, preferred=0), Advertised(NEW_PREFIX))
        wait_until(
            lambda: status(lab)["former_home_address_ends_in"] < 10, WITHIN, "told that the prefix ends"
        )
        lab.move("dual")
        assert session.lives()
        advertise(lab, Advertised(NEW_PREFIX))
    wait_until(lambda: status(lab)["former_home_address"] is None, WITHIN, "the old prefix is over")
    assert "former-home-address-ended" in events(lab)
    wait_until(lambda: homes(lab) == [(str(NEW_ADDRESS), None)], WITHIN, "over at the home agent, too")
    assert not reaches(lab, plan.HOME_ADDRESS)
    assert reaches(lab, NEW_ADDRESS)

    lab.move("home")
    wait_until(lambda: status(lab)["state"] == "at home", WITHIN, "at home")
    assert homes(lab) == []
    for address in (NEW_ADDRESS, plan.HOST, plan.IPV4_HOME_ADDRESS):
        wait_until(lambda a=address: reaches(lab, a), WITHIN, f"{address} is reached")  # type: ignore[misc]
    lab.move("wifi6")
    wait_until(lambda: status(lab)["state"] == "registered", WITHIN, "away again")
    assert homes(lab) == [(str(NEW_ADDRESS), None)]
    assert reaches(lab, NEW_ADDRESS)


def test_renumbered_while_at_home(lab: Lab) -> None:
    lab.move("home")
    wait_until(lambda: status(lab)["state"] == "at home", WITHIN, "at home")
    with Session(lab, plan.HOME_ADDRESS) as session:
        assert session.lives()
        advertise(lab, Advertised(plan.HOME_PREFIX, preferred=0), Advertised(NEW_PREFIX))
        wait_until(lambda: status(lab)["home_address"] == str(NEW_ADDRESS), WITHIN, "the new home address")
        assert status(lab)["state"] == "at home"
        assert status(lab)["former_home_address"] == str(plan.HOME_ADDRESS)
        assert source(lab) == str(NEW_ADDRESS)
        assert session.lives()
        assert reaches(lab, NEW_ADDRESS)
        lab.move("wifi6")
        wait_until(lambda: is_registered(lab, NEW_ADDRESS), WITHIN, "away")
        assert homes(lab) == [(str(NEW_ADDRESS), str(plan.HOME_ADDRESS))]
        assert session.lives()
        for address in (NEW_ADDRESS, plan.HOST):
            assert reaches(lab, address), address


def test_renumbered_while_in_an_ipv4_network_behind_a_nat(lab: Lab) -> None:
    lab.move("nat4")
    wait_until(lambda: is_registered(lab, plan.HOME_ADDRESS), WITHIN, "registered behind the NAT")
    with Session(lab, plan.HOME_ADDRESS) as session:
        assert session.lives()
        advertise(lab, Advertised(plan.HOME_PREFIX, preferred=0), Advertised(NEW_PREFIX))
        wait_until(lambda: is_registered(lab, NEW_ADDRESS), WITHIN, "the new home address")
        assert homes(lab) == [(str(NEW_ADDRESS), str(plan.HOME_ADDRESS))]
        assert session.lives()
        for address in (NEW_ADDRESS, plan.HOST, plan.IPV4_HOME_ADDRESS):
            assert reaches(lab, address), address


def test_renumbered_with_two_uplinks() -> None:
    with _lab(UPLINKS) as lab, Session(lab, plan.HOME_ADDRESS) as session:
        lab.move("cgn4", "lte0")
        wait_until(lambda: care_ofs(lab) == 2, WITHIN, "both are registered")
        assert session.lives()
        advertise(lab, Advertised(plan.HOME_PREFIX, preferred=0), Advertised(NEW_PREFIX))
        wait_until(lambda: is_registered(lab, NEW_ADDRESS), WITHIN, "the new home address")
        wait_until(lambda: care_ofs(lab) == 2, WITHIN, "both are registered under it")
        assert homes(lab) == [(str(NEW_ADDRESS), str(plan.HOME_ADDRESS))]
        assert session.lives()
        lab.unplug("wlan0")
        assert session.lives()
        for address in (NEW_ADDRESS, plan.HOST, plan.IPV4_HOME_ADDRESS):
            wait_until(lambda a=address: reaches(lab, a), WITHIN, f"{address} is reached")  # type: ignore[misc]


def test_renumbered_while_at_home_and_abroad() -> None:
    with _lab(UPLINKS) as lab, Session(lab, plan.HOME_ADDRESS) as session:
        lab.move("dual", "lte0")
        lab.move("home", "wlan0")
        wait_until(lambda: tunnels(lab) == ["ipv6", "link"], WITHIN, "registered at home and abroad")
        assert session.lives()
        advertise(lab, Advertised(plan.HOME_PREFIX, preferred=0), Advertised(NEW_PREFIX))
        wait_until(lambda: is_registered(lab, NEW_ADDRESS), WITHIN, "the new home address")
        wait_until(lambda: tunnels(lab) == ["ipv6", "link"], WITHIN, "at home and abroad under it")
        assert homes(lab) == [(str(NEW_ADDRESS), str(plan.HOME_ADDRESS))]
        assert session.lives()
        for address in (NEW_ADDRESS, plan.HOST, plan.IPV4_HOME_ADDRESS):
            wait_until(lambda a=address: reaches(lab, a), WITHIN, f"{address} is reached")  # type: ignore[misc]
        lab.unplug("wlan0")
        for address in (NEW_ADDRESS, plan.HOST, plan.IPV4_HOME_ADDRESS):
            wait_until(lambda a=address: reaches(lab, a), WITHIN, f"{address} is reached")  # type: ignore[misc]
        assert session.lives()
