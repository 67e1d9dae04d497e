"""The lab's tour with signalling or all under ESP, and what is seen of it on the networks visited."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dsmip.lab import daemons, plan, protection
from dsmip.lab.lab import Lab
from dsmip.lab.result import Result
from dsmip.lab.tour import Tour
from dsmip.lab.transfers import NAMES, _Content
from tests.guest.inside.test_signalling import CLEAR_PREFIX_DISCOVERY, CLEAR_SIGNALLING, ESP_SIGNALLING
from tests.system.conftest import run, wait_until

#: IPv6, a NAT, a firewall that lets only UDP through, and home again, where payload is not protected.
ROUTE = ("wifi6", "nat4", "fw4", "home")
TUNNELS = ["IPv6-in-IPv6", "UDP", "UDP", "home"]
NATS = [False, True, False, False]
#: The guest is some ten times slower than the machine it runs on.
PACE, DWELL, PATIENCE = 20, 3.0, 180.0

IN_IPV6, IN_UDP = "ip6[6] = 41", "udp port 4191"
ESP, ICMPV6 = 50, 58
#: So that the home agent advertises prefixes to whoever has registered, and is asked about them.
AT_ONCE = "min_mobile_prefix_interval = 0.1\nmax_mobile_prefix_interval = 0.2\n"
#: Of what is inside a tunnel, only ESP and echoes may be seen, and never a Mobility Header.
CLEAR_PAYLOAD = (
    f"({IN_IPV6} and ip6[46] != {ESP} and ip6[46] != {ICMPV6}) or ip6[6] = 4"
    f" or ({IN_UDP} and (udp[8] & 0xf0 = 0x40 or (udp[14] != {ESP} and udp[14] != {ICMPV6})))"
    " or ip proto 4 or (ip proto 41 and ip[26] != 50 and ip[26] != 58)"
)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab.up(f"tour{os.getpid()}") as built:
        yield built


def seen(capture: Path, what: str) -> list[str]:
    return run("tcpdump", "-nr", str(capture), what).stdout.splitlines()


def told(lab: Lab, node: str) -> list[str]:
    """The events of a daemon so far."""
    return [event["event"] for event in daemons.ask(lab.instance(node), "events")]


def travel(lab: Lab, route: Sequence[str], protect: str, directory: Path) -> tuple[Result, dict[str, Path]]:
    """What came of a tour in which nothing breaks, and captures of the networks visited, by name."""
    home_agent, _ = lab.write_configs(protect=protect)
    home_agent.write_text(AT_ONCE + home_agent.read_text())
    visited = [plan.NETWORKS[name] for name in route if name != plan.HOME]
    captures = {access.name: directory / f"{access.name}.pcap" for access in visited}
    listeners = [
        lab.popen(
            access.router,
            f"capture-{access.name}",
            [
                "tcpdump",
                "-i",
                access.port,
                "-U",
                "--immediate-mode",
                "-w",
                str(captures[access.name]),
                "ip or ip6",
            ],
        )
        for access in visited
    ]
    lab.start_daemons()
    result = Tour(lab, route, dwell=DWELL, patience=PATIENCE, pace=PACE, protect=protect).run()
    if route[-1] != plan.HOME:
        # Asked and answered, under ESP: nothing else is believed.
        wait_until(lambda: "home-prefix" in told(lab, "mr"), 30, "prefixes advertised")
    for listener in listeners:
        listener.terminate()
        listener.wait(30)

    assert result.failed == []
    assert [(session.name, session.broken) for session in result.sessions if session.broken] == []
    # What the witness on the mobile router's own uplink says, and nobody exchanged keys.
    assert (result.exposed, result.key_exchanges) == (0, 0)
    for name, capture in captures.items():
        assert seen(capture, CLEAR_SIGNALLING) == [], name
        assert seen(capture, CLEAR_PREFIX_DISCOVERY) == [], name
    return result, captures


def test_signalling_under_esp_breaks_nothing_and_is_not_seen(lab: Lab, tmp_path: Path) -> None:
    result, captures = travel(lab, ("nat4", "wifi6"), protection.SIGNALLING, tmp_path)
    assert [move.handover.tunnel for move in result.moves] == ["UDP", "IPv6-in-IPv6"]
    assert [move.nat == "detected" for move in result.moves] == [True, False]
    assert set(result.associations) == set(protection.SIGNALLING_SPIS)
    for name, capture in captures.items():
        assert seen(capture, ESP_SIGNALLING), name
        assert seen(capture, CLEAR_PAYLOAD), f"{name}: what would be seen of payload"


def test_all_under_esp_breaks_nothing_and_shows_nothing(lab: Lab, tmp_path: Path) -> None:
    result, captures = travel(lab, ROUTE, protection.ALL, tmp_path)
    assert [move.handover.tunnel for move in result.moves] == TUNNELS
    assert [move.nat == "detected" for move in result.moves] == NATS
    # The same all the way.
    assert set(result.associations) == {*protection.SIGNALLING_SPIS, *protection.PAYLOAD_SPIS}
    contents = [_Content(name).read()[:32] for name in NAMES]
    for name, capture in captures.items():
        assert len(seen(capture, f"ip6[46] = {ESP} or udp[14] = {ESP}")) > 20, name
        assert seen(capture, CLEAR_PAYLOAD) == [], name
        octets = capture.read_bytes()
        assert not any(content in octets for content in contents), name
