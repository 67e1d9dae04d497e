"""Streams, downloads and the witness, over the home link without a tunnel, with an outage made on purpose."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from dsmip.lab import measure, plan, sniffer, streams, transfers
from dsmip.lab.lab import Lab
from dsmip.lab.observation import DataClass

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.usefixtures("able")]

OUTAGE = 0.2


@pytest.fixture(scope="module")
def routed() -> Iterator[Lab]:
    """A lab whose mobile router is configured by hand, as if it were at home for ever."""
    with Lab.up(f"traffic{os.getpid()}") as lab:
        for node, commands in {
            "mr": (
                f"addr add {plan.HOME_ADDRESS}/64 dev wan0 nodad",
                f"addr add {plan.IPV4_HOME_ADDRESS}/24 dev wan0",
                "route add ::/0 via 2001:db8:100::ff",
                "route add 0.0.0.0/0 via 198.51.100.254",
            ),
            "ha": (
                f"route add {plan.MOBILE_PREFIX} via {plan.HOME_ADDRESS}",
                f"route add {plan.IPV4_MOBILE_PREFIX} via {plan.IPV4_HOME_ADDRESS}",
            ),
        }.items():
            for command in commands:
                assert lab.exec(node, ["ip", *command.split()]).returncode == 0
        yield lab


def test_an_outage_made_on_purpose_is_measured_as_long_as_it_was(routed: Lab) -> None:
    directory = routed.directory / "traffic"
    directory.mkdir()
    sniffer.start(routed.processes, directory)
    streams.start(routed.processes, directory)
    time.sleep(2.5)  # addresses are resolved by then, and a lost carrier would be told of at once
    transfers.start(routed.processes, directory)
    time.sleep(1)
    plug = routed.move(plan.HOME, unplugged=OUTAGE)
    time.sleep(2.5)
    end = time.monotonic()
    sessions = transfers.finish(routed.processes, directory)
    routed.processes.stop(streams.LABELS)
    routed.processes.stop([sniffer.LABEL])

    assert [session.broken for session in sessions] == ["", ""]
    assert all(session.octets > transfers.RATE for session in sessions)

    flows = streams.load(directory)
    assert sorted(flows) == ["down-v4", "down-v6", "up-v4", "up-v6"]
    for flow in flows.values():
        # Late packets are caught up with: a thousand a second, all in all.
        assert len(flow.sent) == pytest.approx(1000 * (flow.sent[-1] - flow.sent[0]), rel=0.01)
        gap = measure.outage(measure.arrivals(flow), plug.cut - measure.BEFORE_CUT, end)
        gone = measure.lost(flow, plug.cut - measure.BEFORE_CUT, end)
        # Downwards packets wait at the core router while it resolves the address again, or not; upwards the
        # mobile router's own resolution may take one retransmission, a second.
        assert OUTAGE - 0.01 <= gap <= OUTAGE + 1.5
        assert 1000 * (OUTAGE - 0.02) <= gone <= 1000 * (gap + 0.05)
        assert measure.outage(measure.arrivals(flow), plug.cut - 0.8, plug.cut - 0.3) < 0.1
        latencies = sorted(moment - flow.sent[number] for number, moment in flow.received)
        assert 0 < latencies[len(latencies) // 2] < 0.01

    wire = sniffer.load(directory)
    assert {kind for kind in wire.data if kind.port} == {  # 0: answers to what came too early
        DataClass(up, family, "native", "", port, plan.UPLINK)
        for up in (True, False)
        for family in streams.FAMILIES
        for port in (streams.PORT, transfers.PORT)
    }
    passed = wire.data[DataClass(True, "v4", "native", "", streams.PORT, plan.UPLINK)]
    assert len(passed) > 0.9 * len(flows["up-v4"].received)
    assert not any(plug.heard_down < moment < plug.plugged for moment in passed if plug.heard_down)
    assert any(message["kind"] == "router-advertisement" for message in wire.control)


def test_the_digest_finds_a_changed_octet(routed: Lab) -> None:
    directory = routed.directory / "digest"
    directory.mkdir()
    transfers.start(routed.processes, directory)
    deadline = time.monotonic() + 20
    while not all(transfers.read(directory, "fetch", name).octets for name in transfers.NAMES):
        assert time.monotonic() < deadline, "the downloads begin"
        time.sleep(0.05)
    assert [session.broken for session in transfers.finish(routed.processes, directory)] == ["", ""]
    came = transfers.read(directory, "fetch", "tcp-v6")
    assert came.digest == transfers.content_digest("tcp-v6", came.octets)
    assert came.digest != transfers.content_digest("tcp-v6", came.octets - 1)
