"""Whatever arrives at a running daemon: counted by reason, logged seldom, no state, no traceback."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from dsmip.core.authentication import SecurityAssociation, ntp_timestamp
from dsmip.daemon.control import ask
from dsmip.lab import namespaces, plan
from dsmip.lab.lab import Lab
from dsmip.wire.constants import BUFlag, NextHeader
from dsmip.wire.ip import IPv4Header
from dsmip.wire.messages import BindingUpdate, encode_message
from dsmip.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    MessageIdentifier,
    MobileNodeIdentifier,
)
from dsmip.wire.packet import encode_packet
from tests.system.conftest import wait_until

pytestmark = [pytest.mark.root, pytest.mark.lab]

INJECT = Path(__file__).with_name("inject.py")
ATTACKER = plan.CORRESPONDENT
IDENTIFIER = "mr1@example.org"
PROTOCOL_6IN4 = 41


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with Lab.up("bad", at="wifi6") as built:
        built.start_daemons()
        wait_until(lambda: bool(ask(built.instance("ha"), "bindings")), 15, "the mobile router registers")
        yield built
        for node in ("ha", "mr"):
            assert "Traceback" not in log(built, node)


def log(lab: Lab, node: str) -> str:
    return lab.processes.log(f"dsmip-{node}").read_text()


def inject(lab: Lab, lines: Iterable[str], node: str = "cn") -> None:
    command = namespaces.command(lab.namespace(node), [sys.executable, str(INJECT)])
    subprocess.run(command, input="\n".join(lines), text=True, check=True, timeout=60)


def counters(lab: Lab, node: str = "ha") -> dict[str, int]:
    found: dict[str, dict[str, int]] = ask(lab.instance(node), "stats")
    return {**found["signalling_refused"], **found["dataplane_dropped"]}


def state(lab: Lab) -> list[dict[str, Any]]:
    """What must not change: the binding, apart from its clocks and traffic counters."""
    rows: list[dict[str, Any]] = ask(lab.instance("ha"), "bindings")
    keep = ("home_address", "care_of", "tunnel", "sequence", "nat_source", "prefixes", "lifetime")
    return [{key: row[key] for key in keep} for row in rows]


def rises(lab: Lab, before: dict[str, int], reason: str, by: int = 1) -> None:
    wait_until(
        lambda: counters(lab).get(reason, 0) >= before.get(reason, 0) + by,
        5,
        f"{reason} counted: {counters(lab)}",
    )


def binding_update(
    key: bytes, timestamp: int, home_address: IPv6Address = plan.HOME_ADDRESS, identifier: str = IDENTIFIER
) -> str:
    """A Binding Update that would divert the mobile router's traffic to the attacker."""
    association = SecurityAssociation(4096, key, identifier)
    message = BindingUpdate(
        sequence=60000,
        flags=BUFlag.A | BUFlag.H | BUFlag.R,
        lifetime=100,
        options=(
            AlternateCareOfAddress(ATTACKER),
            MobileNodeIdentifier(identifier.encode()),
            MessageIdentifier(timestamp),
            Authentication(4096, bytes(12)),
        ),
    )
    signer = association.signer(ATTACKER, home_address)
    payload = encode_message(message, home_address, plan.HOME_AGENT, signer)
    return "6 " + encode_packet(ATTACKER, plan.HOME_AGENT, payload, home_address=home_address).hex()


def key_of(lab: Lab) -> bytes:
    return bytes.fromhex(tomllib.loads((lab.directory / "mr.toml").read_text())["key"])


def test_random_bytes_change_nothing_and_are_counted(lab: Lab) -> None:
    rng = random.Random(4191)
    before, counted = state(lab), counters(lab)
    lines = [f"u {plan.HOME_AGENT_IPV4} {rng.randbytes(rng.randint(1, 600)).hex()}" for _ in range(300)]
    for _ in range(300):
        payload = rng.randbytes(8 * rng.randint(1, 20))
        lines.append("6 " + encode_packet(ATTACKER, plan.HOME_AGENT, payload).hex())
    inject(lab, lines)
    rises(lab, counted, "checksum", by=200)
    rises(lab, counted, "malformed", by=100)
    assert state(lab) == before


def test_unknown_mobile_node_gets_no_answer_and_no_state(lab: Lab) -> None:
    before, counted = state(lab), counters(lab)
    stranger = IPv6Address("2001:db8:100::bad")
    inject(lab, [binding_update(bytes(16), ntp_timestamp(time.time()), stranger, "stranger@example.org")])
    rises(lab, counted, "unknown-mobile-node")
    assert state(lab) == before


def test_wrong_authenticator_is_refused(lab: Lab) -> None:
    before, counted = state(lab), counters(lab)
    inject(lab, [binding_update(bytes(16), ntp_timestamp(time.time()))] * 5)
    rises(lab, counted, "authentication-failed", by=5)
    assert state(lab) == before


def test_old_timestamp_with_the_right_key_is_a_replay(lab: Lab) -> None:
    before, counted = state(lab), counters(lab)
    inject(lab, [binding_update(key_of(lab), ntp_timestamp(time.time() - 3600))])
    rises(lab, counted, "replay")
    assert state(lab) == before


def test_spoofed_tunnel_packets_are_dropped(lab: Lab) -> None:
    counted = counters(lab)
    inner = encode_packet(plan.HOST, plan.CORRESPONDENT, bytes(16), NextHeader.NONE)
    foreign = encode_packet(IPv6Address("2001:db8:100::bad"), plan.CORRESPONDENT, bytes(16), NextHeader.NONE)
    in_ipv4 = IPv4Header(
        source=plan.CORRESPONDENT_IPV4,
        destination=plan.HOME_AGENT_IPV4,
        protocol=PROTOCOL_6IN4,
        payload_length=len(inner),
    )
    lines = ["6 " + encode_packet(ATTACKER, plan.HOME_AGENT, inner, NextHeader.IPV6).hex()] * 7
    lines += ["4 " + (in_ipv4.encode() + inner).hex()] * 7
    lines += [f"u {plan.HOME_AGENT_IPV4} {inner.hex()}"] * 7
    lines += ["6 " + encode_packet(ATTACKER, plan.HOME_AGENT, foreign, NextHeader.IPV6).hex()] * 3
    inject(lab, lines)
    rises(lab, counted, "outer-source", by=21)
    rises(lab, counted, "inner-address", by=3)


def test_a_flood_is_logged_at_a_limited_rate(lab: Lab) -> None:
    lines_before = len(log(lab, "ha").splitlines())
    inject(lab, [f"u {plan.HOME_AGENT_IPV4} 6000000000008740" + "00" * 40] * 2000)
    time.sleep(0.5)
    assert len(log(lab, "ha").splitlines()) - lines_before < 50
    assert ask(lab.instance("ha"), "status")["bindings"] == 1


def test_the_mobile_router_survives_garbage_too(lab: Lab) -> None:
    status = ask(lab.instance("mr"), "status")
    care_of = IPv6Address(status["care_of"])
    counted = counters(lab, "mr")
    rng = random.Random(1)
    lines = []
    for _ in range(200):
        payload = rng.randbytes(8 * rng.randint(1, 20))
        lines.append("6 " + encode_packet(ATTACKER, care_of, payload).hex())
    inner = encode_packet(plan.CORRESPONDENT, plan.HOST, bytes(16), NextHeader.NONE)
    lines += ["6 " + encode_packet(ATTACKER, care_of, inner, NextHeader.IPV6).hex()] * 4
    inject(lab, lines)
    wait_until(lambda: counters(lab, "mr")["outer-source"] >= counted["outer-source"] + 4, 5, "drops counted")
    assert ask(lab.instance("mr"), "status")["state"] == "registered"
