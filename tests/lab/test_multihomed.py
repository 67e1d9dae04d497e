"""Several uplinks with the real daemons: a short tour, flows on links of their own, voice over two links."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dsmip.lab import daemons, sniffer, streams
from dsmip.lab.lab import Lab
from dsmip.lab.multihomed import measure, scenario
from dsmip.lab.multihomed.scenario import VIDEO, VOICE, Kind, Place
from dsmip.lab.multihomed.tour import Tour
from dsmip.lab.observation import BINDING_ACKNOWLEDGEMENT, BINDING_UPDATE
from dsmip.lab.plan import NETWORKS
from dsmip.lab.streams import DOWN, FAMILIES, PLAIN, UP, Flow, Stream
from dsmip.lab.uplinks import MULTIHOMED

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.usefixtures("able")]

#: Voice at a packet a millisecond: enough of them that a share of losses means something.
DENSE = Flow(VOICE.name, VOICE.port, every=1, octets=VOICE.octets, families=VOICE.families)
LISTENING = 8.0
WITHIN = 20.0


@pytest.fixture(scope="module")
def vehicle() -> Iterator[Lab]:
    """A mobile router with Wi-Fi and two modems, on Wi-Fi; its policy is the tour's."""
    with Lab.up(f"multi{os.getpid()}", at=scenario.START.network, uplinks=MULTIHOMED) as lab:
        lab.write_configs(policy=scenario.POLICY)
        lab.start_daemons()
        yield lab


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < deadline, f"not within {WITHIN:g} s: {what}"
        time.sleep(0.02)


class Watch:
    """The witness on all links, with flows running; `places` are plugged in and registered before."""

    def __init__(self, lab: Lab, name: str, flows: tuple[Flow, ...], places: tuple[Place, ...]) -> None:
        self.lab, self.flows = lab, flows
        self.directory = lab.directory / name
        self.directory.mkdir()
        sniffer.start(lab.processes, self.directory, lab.uplinks)
        self._control = sniffer.ControlReader(self.directory)
        self._data = sniffer.DataReader(self.directory)
        eventually(lambda: (self.directory / "wire.data").exists(), "the witness watches")
        for place in places:
            if lab.plugged.get(place.link) != place.network:
                plugged = lab.move(place.network, place.link).plugged
                self.await_registration(place.link, plugged)
        streams.start(lab.processes, self.directory, flows)

    def await_registration(self, link: str, since: float) -> None:
        def accepted() -> bool:
            return any(
                (message["kind"], message["interface"]) == (BINDING_ACKNOWLEDGEMENT, link)
                and message["status"] < 128
                and message["time"] > since
                for message in self._control.news()
            )

        eventually(accepted, f"a registration over {link}")

    def await_flow(self, flow: Flow, links: set[str], since: float) -> None:
        """Wait until a flow goes over these links and no other, each way and family."""

        def goes() -> bool:
            latest = self._data.latest()
            now = time.monotonic()
            for up in (True, False):
                for family in flow.families:
                    seen = {
                        kind.interface
                        for kind, moment in latest.items()
                        if (kind.port, kind.up, kind.family) == (flow.port, up, family)
                        and moment > max(since, now - 0.3)
                    }
                    if seen != links:
                        return False
            return True

        eventually(goes, f"{flow.name or 'everything else'} over {' and '.join(sorted(links))}")

    def stop(self) -> tuple[sniffer.Wire, dict[str, dict[str, Stream]]]:
        """End flows and witness; returns what was seen, and what each flow received."""
        self.lab.processes.stop(streams.LABELS)
        self.lab.processes.stop([sniffer.LABEL])
        received = {flow.name: streams.load(self.directory, flow) for flow in self.flows}
        return sniffer.load(self.directory), received


def links_of(wire: sniffer.Wire, flow: Flow, up: bool, start: float, end: float) -> set[str]:
    """The links on which packets of a flow passed in the span."""
    return {
        kind.interface
        for kind, passed in wire.data.items()
        if kind.port == flow.port and kind.up is up and any(start <= moment < end for moment in passed)
    }


def test_a_short_tour_loses_nothing_that_was_planned_and_breaks_nothing(vehicle: Lab, tmp_path: Path) -> None:
    result = Tour(vehicle, scenario.SHORT, dwell=0.8, flows_dwell=0.0).run()
    assert result.failed == []
    assert [(session.name, session.broken) for session in result.sessions if session.broken] == []
    assert len(result.sessions) == 8
    assert [move.stay.kind for move in result.moves] == [step.kind for step in scenario.SHORT]
    assert [move.tunnel for move in result.moves] == ["UDP", "IPv6-in-IPv6", "IPv6-in-IPv4", "IPv6-in-IPv6"]
    planned = result.of_kind(Kind.PLANNED)
    assert [dict(move.lost) for move in planned] == [{"v6": 0, "v4": 0}] * 2
    for move in result.moves:
        assert set(move.duplicates.values()) == {0}
        for direction in (UP, DOWN):
            assert move.moved_ms[direction] is not None
    for move in result.of_kind(Kind.SILENT):
        # Packets vanished until the silence was noticed; then they did not, though the link stayed up.
        assert all(0 < move.lost[family] < 4000 for family in FAMILIES)


def test_two_flows_of_one_host_go_over_two_links_at_once_and_one_moves_in_one_update(vehicle: Lab) -> None:
    watch = Watch(vehicle, "flows", (PLAIN, VIDEO), scenario.FLOWS_AT)
    began = time.monotonic()
    watch.await_flow(PLAIN, {"wifi0"}, began)
    watch.await_flow(VIDEO, {"lte0"}, began)
    apart = time.monotonic()
    time.sleep(0.5)
    left = vehicle.leave("lte0")
    watch.await_flow(VIDEO, {"lte1"}, left)
    moved = time.monotonic()
    time.sleep(0.5)
    wire, received = watch.stop()

    for up in (True, False):
        assert links_of(wire, PLAIN, up, apart, moved) == {"wifi0"}
        assert links_of(wire, VIDEO, up, apart, left) == {"lte0"}
        assert links_of(wire, VIDEO, up, moved, moved + 0.4) == {"lte1"}
    updates = [m for m in wire.control if m["kind"] == BINDING_UPDATE and left <= m["time"] < moved]
    assert len(updates) == 1
    for flow in (PLAIN, VIDEO):
        share = measure.share(flow, received[flow.name], wire, apart, moved)
        assert (share.lost, share.duplicates) == (0, 0)
    vehicle.unplug("lte0")


def test_voice_over_two_lossy_links_loses_next_to_nothing_and_nothing_comes_twice(vehicle: Lab) -> None:
    watch = Watch(vehicle, "voice", (DENSE,), scenario.FLOWS_AT)
    watch.await_flow(DENSE, set(scenario.VOICE_LINKS), time.monotonic())
    for link in scenario.VOICE_LINKS:
        vehicle.reshape(link, loss=scenario.VOICE_LINK_LOSS)
    start = time.monotonic()
    time.sleep(LISTENING)
    end = time.monotonic()
    for link in scenario.VOICE_LINKS:
        vehicle.reshape(link, loss=0.0)
    time.sleep(0.3)
    wire, received = watch.stop()
    share = measure.share(DENSE, received[DENSE.name], wire, start, end)
    assert share.sent == pytest.approx(2 * 1000 * LISTENING, rel=0.05)
    for link in scenario.VOICE_LINKS:  # downwards, the witness stands behind the loss
        assert 0.90 < share.links[DOWN][link] / (share.sent / 2) < 0.98
    assert share.loss < 0.005
    assert share.duplicates == 0


#: Both NATs hand out this one address, as two modems of one make do.
SAME_ROUTER, SAME_ADDRESS = "192.168.1.1", "192.168.1.100"
NATS = {"lte0": "nat4", "lte1": "cgn4"}


def _hand_out_the_same_address(lab: Lab) -> None:
    for network in NATS.values():
        node, port = NETWORKS[network].router, NETWORKS[network].port
        lab.processes.stop([f"dnsmasq-{network}"])
        for command in (f"flush dev {port}", f"add {SAME_ROUTER}/24 dev {port}"):
            lab.exec(node, ["ip", "addr", *command.split()], check=True)
        leases = lab.directory / f"same-{network}"
        options = [
            *("--keep-in-foreground", "--user=root", "--port=0", "--no-ping", "--dhcp-authoritative"),
            *(f"--interface={port}", "--bind-interfaces", "--conf-file=/dev/null"),
            *(f"--dhcp-range={SAME_ADDRESS},{SAME_ADDRESS},1h", f"--dhcp-option=option:router,{SAME_ROUTER}"),
            *(f"--dhcp-leasefile={leases}.leases", f"--pid-file={leases}.own-pid"),
        ]
        lab.processes.start(f"dnsmasq-same-{network}", node, ["dnsmasq", *options])


def test_two_uplinks_with_the_same_private_address_both_carry_flows(vehicle: Lab) -> None:
    """The last of this lab's tests: its NATs are others afterwards."""
    for link in NATS:
        if link in vehicle.plugged:
            vehicle.unplug(link)
        vehicle.exec("mr", ["sysctl", "-qw", f"net.ipv4.conf.{link}.rp_filter=1"], check=True)
    _hand_out_the_same_address(vehicle)
    places = (Place("wifi0", "wifi6"), *(Place(link, network) for link, network in NATS.items()))
    watch = Watch(vehicle, "same", (VIDEO, VOICE), places)
    began = time.monotonic()
    watch.await_flow(VIDEO, {"lte0"}, began)
    watch.await_flow(VOICE, {"lte0", "lte1"}, began)
    apart = time.monotonic()
    time.sleep(0.5)
    left = vehicle.leave("lte0")
    watch.await_flow(VIDEO, {"lte1"}, left)
    moved = time.monotonic()
    [binding] = daemons.ask(vehicle.instance("ha"), "bindings")
    paths = daemons.ask(vehicle.instance("mr"), "attachments")["paths"]
    filters = [f"net.ipv4.conf.{link}.rp_filter" for link in NATS]
    loosened = vehicle.exec("mr", ["sysctl", "-n", *filters], capture_output=True).stdout.split()
    wire, received = watch.stop()

    same = {one["interface"]: one["bid"] for one in paths if one["care_of"] == SAME_ADDRESS}
    assert same.keys() == NATS.keys()
    seen = {one["bid"]: one["nat_source"] for one in binding["care_of_bindings"]}
    for link, network in NATS.items():
        assert seen[same[link]].startswith(f"{NETWORKS[network].public4}:")
    assert loosened == ["2", "2"], "a source that is routed over the other uplink is not refused"
    for up in (True, False):
        assert links_of(wire, VIDEO, up, apart, left) == {"lte0"}
        assert links_of(wire, VOICE, up, apart, left) == {"lte0", "lte1"}
    for flow in (VIDEO, VOICE):
        share = measure.share(flow, received[flow.name], wire, apart, moved)
        assert (share.lost, share.duplicates) == (0, 0)
