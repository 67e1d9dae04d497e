"""A mobile node that was told no home agent finds it, and finds it again when its address has changed.

RFC 6275 sections 10.5 and 11.4.1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from dsmip.lab import plan
from dsmip.lab.lab import Lab
from tests.system.conftest import wait_until
from tests.system.renumbered_lab import reaches, status

pytestmark = [pytest.mark.root, pytest.mark.lab]

OTHER = plan.HOME_PREFIX[2]
WITHIN = 20.0


@pytest.fixture
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with Lab.up(f"discover{os.getpid()}", at="wifi6") as built:
        _, mr_file = built.write_configs()
        lines = mr_file.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(("home_agent", "lifetime"))]
        # A short lifetime, so that the silence of the home agent shows soon.
        mr_file.write_text('home_agent = "discover"\nlifetime = 8\n' + "".join(kept))
        built.start_daemons()
        yield built


def is_registered(lab: Lab, home_agent: object) -> bool:
    found = status(lab)
    return found["state"] == "registered" and found["home_agent"] == str(home_agent)


def test_the_home_agent_is_found_and_found_again(lab: Lab) -> None:
    wait_until(lambda: is_registered(lab, plan.HOME_AGENT), WITHIN, "registered with who was found")
    for address in (plan.HOME_ADDRESS, plan.HOST):
        assert reaches(lab, address), address

    lab.stop_daemons(only="ha")
    # The routes go with the address, and the mobile networks are routed to it.
    for command in (
        f"addr add {OTHER}/64 dev eth0 nodad",
        f"addr del {plan.HOME_AGENT}/64 dev eth0",
        "-6 route replace default via 2001:db8:100::ff",
    ):
        lab.exec("ha", ["ip", *command.split()], check=True)
    lab.exec("core", ["ip", "route", "replace", str(plan.MOBILE_PREFIX), "via", str(OTHER)], check=True)
    ha_file = lab.directory / "ha.toml"
    ha_file.write_text(ha_file.read_text().replace(f'"{plan.HOME_AGENT}"', f'"{OTHER}"'))
    lab.start_daemons(only="ha")
    wait_until(lambda: is_registered(lab, OTHER), WITHIN, "registered with who was found")
    for address in (plan.HOME_ADDRESS, plan.HOST, plan.IPV4_HOME_ADDRESS):
        wait_until(lambda a=address: reaches(lab, a), WITHIN, f"{address} is reached")  # type: ignore[misc]
