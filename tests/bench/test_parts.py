"""Every part runs, in the smallest version, and gives its figures. What they are worth is not looked at."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace

import pytest

from dsmip.bench import flows, handover, roaming, run, throughput, wireguard
from dsmip.bench.figures import Figure
from dsmip.bench.network import NODES, Network
from dsmip.cli.main import main
from dsmip.lab import daemons, namespaces

pytestmark = pytest.mark.root

TINY = run.Effort(
    repeat=1,
    tours=1,
    tour_rounds=0,
    roaming=(1, 1, 1),
    seconds=0.1,
    vehicles=64,
    rounds=1,
    large_fleet=100,
    daemon_vehicles=64,
    bindings=(64,),
)


@pytest.fixture(autouse=True)
def able() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")


def names(figures: list[Figure]) -> set[str]:
    return {figure.name for figure in figures}


def test_throughput() -> None:
    if shutil.which("iperf3") is None:
        pytest.skip("needs iperf3")
    found: list[Figure] = []
    formats = throughput.FORMATS[::5]
    throughput.measure(found.append, lambda _: None, repeat=1, seconds=0.1, formats=formats)
    ours = {
        f"throughput/{what} {form.name} {direction}"
        for form in formats
        for direction in ("down", "up")
        for what in ("bulk TCP", "64 B packets", "eBPF program")
    }
    theirs = {
        f"throughput/bulk TCP IPv6-in-UDP {direction}, beside WireGuard" for direction in ("down", "up")
    }
    assert names(found) == ours | theirs
    for figure in found:
        assert figure.value.minimum > 0


def test_flow_rules() -> None:
    if shutil.which("iperf3") is None:
        pytest.skip("needs iperf3")
    found: list[Figure] = []
    flows.measure(found.append, lambda _: None, repeat=1, seconds=0.1, formats=flows.FORMATS[1:])
    assert names(found) == {
        *(f"throughput/bulk TCP IPv4-in-UDP {direction}, 32 flow rules" for direction in ("down", "up")),
        *(
            f"throughput/{what} IPv4-in-UDP down, 32 flow rules, {which}"
            for what in ("64 B packets", "eBPF program")
            for which in ("one flow", "8,192 flows")
        ),
    }
    assert all(figure.value.minimum > 0 for figure in found)
    assert len(flows.rules(ipv6=True)) == flows.RULES == 32


def test_signalling() -> None:
    found = run.run(["signalling"], TINY, lambda _: None).figures
    assert names(list(found)) == {
        f"signalling/{what}"
        for what in (
            *("in memory", "SQLite", "SQLite, 100 mobile nodes", "daemon, SQLite"),
            "daemon, p99 of the answer at 70% of that rate",
        )
    }
    assert all(figure.value.minimum > 0 for figure in found)


def test_scale() -> None:
    found = {figure.name: figure for figure in run.run(["scale"], TINY, lambda _: None).figures}
    assert set(found) == {
        "scale/memory per binding, 64 bindings",
        "scale/memory per binding after a restart, 64 bindings",
        "scale/kill -9 to Binding Updates served, 64 bindings",
        "scale/data packets lost meanwhile, 64 bindings",
        "scale/fleet that can move within a minute, by what 64 take",
        "scale/answer to a refresh, all 64 within a minute, p99",
        "scale/64 handovers at once, until the last one is answered",
        "scale/answer while 32 bindings end, p99",
        "scale/64 B packets, 1 binding",
        "scale/64 B packets, 64 bindings",
    }
    assert found["scale/data packets lost meanwhile, 64 bindings"].value.median == 0


def test_scale_of_a_fleet_that_is_in_the_store() -> None:
    found = run.run(["scale"], replace(TINY, restored=64), lambda _: None).figures
    assert names(list(found)) == {
        "scale/start with empty maps to Binding Updates served, 64 bindings",
        "scale/start with empty maps to data for the last, 64 bindings",
        "scale/start with empty maps to all bindings in them, 64 bindings",
        "scale/memory per binding, 64 bindings",
        "scale/kill -9 to Binding Updates served, 64 bindings",
        "scale/data packets lost meanwhile, 64 bindings",
        "scale/fleet that can move within a minute, by what 64 take",
        "scale/answer to a refresh, all 64 within a minute, p99",
        "scale/64 handovers at once, until the last one is answered",
        "scale/answer while 32 bindings end, p99",
    }


@pytest.mark.lab
def test_handover() -> None:
    found: list[Figure] = []
    handover.measure(
        found.append, lambda _: None, repeat=1, way=("wifi6", "nat4", "wifi6"), dwell=3.0, planned=1
    )
    assert {
        "handover/IPv6, from the home link: our share beyond one round trip",
        "handover/IPv4 behind a NAT, new: our share beyond one round trip",
        "handover/IPv6, known: our share beyond one round trip",
        "handover/IPv6, known: link up to first packet beyond two round trips",
        "handover/event to Binding Update, p99",
        "handover/moves that failed",
        "handover/sessions broken over a tour of all networks",
        "handover/packets lost, make before break, 1,000 packets/s each way",
    } == names(found)


@pytest.mark.lab
def test_handover_beside_wireguard() -> None:
    if absent := wireguard.missing():
        pytest.skip(f"needs {absent}")
    found: list[Figure] = []
    roaming.measure(found.append, lambda _: None, each_way=1, outside=1, alone=0)
    assert names(found) == {
        f"handover/address there to first packets through, packets {which}, beside wireguard-go"
        for which in ("each way", "from outside only")
    }
    assert all(figure.baseline and figure.baseline.minimum > 0 for figure in found)


def test_options_of_one_part_are_refused_with_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "signalling", "--baseline", "kernel"]) == 2
    assert "is for throughput" in capsys.readouterr().err
    assert main(["bench", "signalling", "--bindings", "1000000"]) == 2
    assert "is for scale" in capsys.readouterr().err
    for bindings in ("9", "1048577"):
        assert main(["bench", "scale", "--bindings", bindings]) == 2
        assert "from 10 to 1048576" in capsys.readouterr().err


def fail_in(net: Network) -> None:
    with net:
        assert namespaces.exists(net.namespace("ha"))
        net.plane("ha")
        raise RuntimeError("in between")


def test_the_network_is_gone_afterwards_whatever_happens() -> None:
    net = Network("x")
    with pytest.raises(RuntimeError, match="in between"):
        fail_in(net)
    assert not any(namespaces.exists(net.namespace(node)) for node in NODES)


def test_what_is_left_out_is_not_measured() -> None:
    report = run.run([], replace(TINY, repeat=2), lambda _: None)
    assert report.parts == ()
    assert list(report.figures) == []


def test_what_a_killed_run_left_is_removed_by_the_next() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    namespaces.batch([f"netns add dsmip-bench{gone.pid}x-ha"])
    names = (f"bench{gone.pid}x-ha", f"bench{gone.pid}")
    with Network("x") as present:
        ours = present.plane("ha")
        left = [root / name for root in (daemons.PIN_ROOT, daemons.RUN_ROOT) for name in names]
        for directory in left:
            directory.mkdir()
        with Network("y"):
            assert not namespaces.exists(f"dsmip-bench{gone.pid}x-ha")
            assert not [directory for directory in left if directory.exists()]
            # That of a process that is there stays.
            assert (daemons.PIN_ROOT / f"bench{os.getpid()}x-ha" / "settings").exists()
        assert ours.bindings() == frozenset()
