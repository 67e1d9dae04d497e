"""The lab's tour with signalling and payload under ESP, and what is seen of it on the networks visited."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsmip.lab import plan, protection
from dsmip.lab.lab import Lab
from dsmip.lab.tour import Tour
from dsmip.lab.transfers import NAMES, _Content
from tests.system.conftest import run

#: IPv6, a NAT, a firewall that lets only UDP through, and home again, where nothing is protected.
ROUTE = ("wifi6", "nat4", "fw4", "home")
TUNNELS = ["IPv6-in-IPv6", "UDP", "UDP", "home"]
NATS = [False, True, False, False]
#: The guest is some ten times slower than the machine it runs on.
PACE, DWELL, PATIENCE = 20, 3.0, 60.0

IN_IPV6, IN_UDP = "ip6[6] = 41", "udp port 4191"
ESP, ICMPV6, MOBILITY = 50, 58, 135
#: Of what is inside a tunnel, only ESP and echoes may be seen, and never a Mobility Header.
CLEAR_PAYLOAD = (
    f"({IN_IPV6} and ip6[46] != {ESP} and ip6[46] != {ICMPV6}) or ip6[6] = 4"
    f" or ({IN_UDP} and (udp[8] & 0xf0 = 0x40 or (udp[14] != {ESP} and udp[14] != {ICMPV6})))"
    " or ip proto 4 or (ip proto 41 and ip[26] != 50 and ip[26] != 58)"
)
CLEAR_SIGNALLING = (
    f"ip6[6] = {MOBILITY} or (ip6[6] = 60 and ip6[40] = {MOBILITY}) or (ip6[6] = 43 and ip6[40] = {MOBILITY})"
    f" or ({IN_UDP} and udp[14] = {MOBILITY})"
)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab.up(f"tour{os.getpid()}") as built:
        yield built


def seen(capture: Path, what: str) -> list[str]:
    return run("tcpdump", "-nr", str(capture), what).stdout.splitlines()


def test_all_under_esp_breaks_nothing_and_shows_nothing(lab: Lab, tmp_path: Path) -> None:
    lab.write_configs(protect=protection.ALL)
    visited = [plan.NETWORKS[name] for name in ROUTE if name != plan.HOME]
    captures = {access.name: tmp_path / f"{access.name}.pcap" for access in visited}
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
    result = Tour(lab, ROUTE, dwell=DWELL, patience=PATIENCE, pace=PACE, protect=protection.ALL).run()
    for listener in listeners:
        listener.terminate()
        listener.wait(30)

    assert result.failed == []
    assert [(session.name, session.broken) for session in result.sessions if session.broken] == []
    assert [move.handover.tunnel for move in result.moves] == TUNNELS
    assert [move.nat == "detected" for move in result.moves] == NATS
    # The same security associations all the way, and nobody exchanged keys.
    assert set(result.associations) == {*protection.SIGNALLING_SPIS, *protection.PAYLOAD_SPIS}
    assert result.key_exchanges == 0
    contents = [_Content(name).read()[:32] for name in NAMES]
    for name, capture in captures.items():
        assert len(seen(capture, f"ip6[46] = {ESP} or udp[14] = {ESP}")) > 20, name
        assert seen(capture, CLEAR_SIGNALLING) == [], name
        assert seen(capture, CLEAR_PAYLOAD) == [], name
        octets = capture.read_bytes()
        assert not any(content in octets for content in contents), name
