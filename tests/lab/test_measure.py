"""Gaps, losses and shares from literal times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from dsmip.lab import measure
from dsmip.lab.measure import Stay
from dsmip.lab.observation import DataClass
from dsmip.lab.sniffer import Wire
from dsmip.lab.streams import Stream

MS = 0.001


def steady(start: float, end: float) -> list[float]:
    return [start + n * MS for n in range(round((end - start) / MS))]


def stream(
    sent: Sequence[float], *, without: range | tuple[int, ...] = (), latency: float = 0.0002
) -> Stream:
    return Stream("x", sent, [(n, moment + latency) for n, moment in enumerate(sent) if n not in without])


def test_no_outage_in_a_steady_stream() -> None:
    assert measure.outage(steady(0, 10), 2, 8) == pytest.approx(0, abs=1e-9)


def test_outage_is_the_longest_gap_less_the_nominal_one() -> None:
    times = [*steady(0, 5), *steady(5.047, 7), *steady(7.020, 10)]
    assert measure.outage(times, 4.9, 9) == pytest.approx(5.047 - 4.999 - MS)
    assert measure.outage(times, 5.5, 9) == pytest.approx(7.020 - 6.999 - MS, abs=1e-6)


def test_a_gap_counts_as_far_as_it_lies_in_the_span() -> None:
    times = [*steady(0, 5), *steady(5.5, 10)]
    assert measure.outage(times, 5.2, 9) == pytest.approx(0.3 - MS)
    assert measure.outage(times, 1, 5.2) == pytest.approx(5.2 - 4.999 - MS)
    assert measure.outage(times, 5.2, 5.3) == pytest.approx(0.1 - MS)


def test_a_stream_that_never_comes_back_is_out_until_the_end() -> None:
    assert measure.outage(steady(0, 5), 4.9, 9) == pytest.approx(9 - 4.999 - MS)
    assert measure.outage([], 4, 9) == pytest.approx(5 - MS)


def test_a_stream_that_begins_late_is_out_from_the_start() -> None:
    assert measure.outage(steady(3, 9), 1, 8) == pytest.approx(2 - MS)


def test_lost_counts_packets_sent_in_the_span_that_never_came() -> None:
    sent = steady(0, 10)
    flow = stream(sent, without=range(4000, 4031))
    assert measure.lost(flow, 3.9, 9) == 31
    assert measure.lost(flow, 0, 3.9) == 0
    assert measure.lost(flow, 4.0105, 9) == 20  # 11 of them were sent before


def test_a_stream_is_silent_when_most_of_what_is_sent_is_lost() -> None:
    sent = steady(0, 10)
    assert not measure.is_silent(stream(sent, without=range(9000, 9400)), 9, 9.9)
    assert measure.is_silent(stream(sent, without=range(9000, 9500)), 9, 9.9)
    # A sender that was late has sent nothing meanwhile, and nothing of it is missing.
    late = [*steady(0, 9), 9.6]
    assert not measure.is_silent(stream(late), 9, 9.9)
    assert measure.is_silent(stream(steady(0, 9)), 9, 9.9)


def test_duplicates_and_reordering_are_not_losses() -> None:
    sent = steady(0, 1)
    pairs = [(n, moment + 0.002) for n, moment in enumerate(sent)]
    pairs[10], pairs[11] = pairs[11], pairs[10]
    assert measure.lost(Stream("x", sent, [*pairs, pairs[500]]), 0, 2) == 0


def test_round_trips_add_both_ways_and_miss_what_was_lost() -> None:
    sent = steady(0, 0.003)
    trips = measure.round_trips(stream(sent, latency=0.0002), stream(sent, without=(1,), latency=0.0003))
    assert trips[0] == (0.0, pytest.approx(0.0005))
    assert trips[1] == (sent[1], None)


def test_losses_of_both_directions_in_order() -> None:
    sent = steady(0, 0.01)
    assert measure.losses(stream(sent, without=(7,)), stream(sent, without=(3, 7))) == [
        sent[3],
        sent[7],
        sent[7],
    ]


# One move, from cut to data -------------------------------------------------------------------------------

CARE_OF = "2001:db8:206::abcd"


def control(*messages: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return sorted(messages, key=lambda message: float(message["time"]))


def advertisement(moment: float, prefix: str = "2001:db8:206::/64") -> dict[str, Any]:
    return {"time": moment, "kind": "router-advertisement", "source": "fe80::1", "prefixes": [prefix]}


def update(moment: float, care_of: str = CARE_OF, sequence: int = 7) -> dict[str, Any]:
    return {"time": moment, "kind": "binding-update", "care_of": care_of, "sequence": sequence}


def acknowledgement(
    moment: float, care_of: str = CARE_OF, sequence: int = 7, status: int = 0
) -> dict[str, Any]:
    return {
        "time": moment,
        "kind": "binding-acknowledgement",
        "care_of": care_of,
        "sequence": sequence,
        "status": status,
    }


def data(form: str, local: str, up: float, down: float, family: str = "v6") -> dict[DataClass, list[float]]:
    return {
        DataClass(True, family, form, local): steady(up, 16),
        DataClass(False, family, form, local): steady(down, 16),
    }


def test_shares_of_a_handover_to_an_ipv6_network() -> None:
    wire = Wire(
        control(
            advertisement(9.5, "2001:db8:100::/64"),
            advertisement(10.020),
            update(10.0215),
            acknowledgement(10.0225),
        ),
        data("ipv6", CARE_OF, 10.0218, 10.0230) | data("ipv6", CARE_OF, 10.0219, 10.0233, "v4"),
    )
    flow = stream(steady(0, 16), without=range(9990, 10022))
    streams = dict.fromkeys(("down-v6", "up-v6", "down-v4", "up-v4"), flow)
    found = measure.handover(Stay("wifi6", 9.990, 10.0, 16.0), streams, wire)
    assert (found.network, found.care_of, found.tunnel) == ("wifi6", CARE_OF, "IPv6-in-IPv6")
    assert found.formats == {"v6": "IPv6-in-IPv6", "v4": "IPv4-in-IPv6"}
    assert found.address_ms == pytest.approx(20)
    assert found.binding_ms == pytest.approx(22.5)
    assert found.ours_ms == {"v6": pytest.approx(3.0), "v4": pytest.approx(3.3)}
    assert found.first_packet_ms["v6"] == pytest.approx(23.0)
    assert found.lost == {"v6": 64, "v4": 64}
    assert found.outage_ms["v6"] == pytest.approx(32)
    assert found.registered


def test_a_refusal_is_no_registration_but_the_retry_is() -> None:
    wire = Wire(
        control(
            advertisement(10.001),
            update(10.002),
            acknowledgement(10.003, status=135),
            update(10.004, sequence=90),
            acknowledgement(10.006, sequence=90),
        ),
        {},
    )
    found = measure.registration(wire, 10, 16)
    assert found is not None
    assert (found.update, found.acknowledgement) == (10.004, 10.006)


def test_an_acknowledgement_of_an_update_sent_before_the_move_is_not_counted() -> None:
    assert measure.registration(Wire([update(9.99), acknowledgement(10.01)], {}), 10, 16) is None


def test_without_a_registration_there_are_outages_but_no_shares() -> None:
    flow = stream(steady(0, 16), without=range(10000, 16000))
    streams = dict.fromkeys(("down-v6", "up-v6", "down-v4", "up-v4"), flow)
    found = measure.handover(Stay("wifi6", 10.0, 10.0, 16.0), streams, Wire([], {}))
    assert not found.registered
    assert (found.address_ms, found.tunnel, found.ours_ms["v6"]) == (None, None, None)
    assert found.outage_ms["v6"] == pytest.approx(5900, abs=2)


@pytest.mark.parametrize(
    ("care_of", "message", "counts"),
    [
        (CARE_OF, advertisement(10.1), True),
        (CARE_OF, advertisement(10.1, "2001:db8:246::/64"), False),
        ("2001:db8:100::10", advertisement(10.1, "2001:db8:100::1/64"), True),
        (CARE_OF, {"time": 10.1, "kind": "neighbour-advertisement", "solicited": True}, True),
        (CARE_OF, {"time": 10.1, "kind": "neighbour-advertisement", "solicited": False}, False),
        (CARE_OF, {"time": 10.1, "kind": "arp-reply", "sender": "10.4.0.1"}, False),
        ("10.4.0.7", {"time": 10.1, "kind": "dhcp-ack", "address": "10.4.0.7"}, True),
        ("10.4.0.7", {"time": 10.1, "kind": "dhcp-ack", "address": "10.4.0.8"}, False),
        ("10.4.0.7", {"time": 10.1, "kind": "arp-reply", "sender": "10.4.0.1"}, True),
        ("10.4.0.7", advertisement(10.1), False),
    ],
)
def test_what_makes_an_address_usable(care_of: str, message: dict[str, Any], counts: bool) -> None:
    assert measure.usable(Wire([message], {}), care_of, 10, 11) == (10.1 if counts else None)


def test_the_tunnel_is_what_the_stay_settled_on() -> None:
    early = {DataClass(True, "v6", "udp4", "192.0.2.21"): steady(10, 12)}
    late = {DataClass(True, "v6", "ipv4", "192.0.2.21"): steady(12, 16)}
    assert measure.settled_format(Wire([], early | late), "v6", 15, 16) == "ipv4"


def test_both_tunnels_are_named_where_the_families_differ() -> None:
    assert measure.tunnel_name({"v6": "ipv4", "v4": "ipv4"}) == "IPv6-in-IPv4"
    assert measure.tunnel_name({"v6": "ipv6", "v4": "udp4"}) == "IPv6-in-IPv6 + UDP"
    assert measure.tunnel_name({"v6": None, "v4": None}) is None


def test_at_home_the_first_packets_without_a_tunnel_count() -> None:
    home = "2001:db8:100::10"
    wire = Wire(
        control(
            advertisement(10.002, "2001:db8:100::/64"),
            update(10.003, home),
            acknowledgement(10.004, home),
        ),
        data("native", "", 10.0035, 10.0045) | data("native", "", 10.0035, 10.0047, "v4"),
    )
    flow = stream(steady(0, 16))
    streams = dict.fromkeys(("down-v6", "up-v6", "down-v4", "up-v4"), flow)
    found = measure.handover(Stay("home", 9.99, 10.0, 16.0), streams, wire)
    assert (found.tunnel, found.care_of) == ("home", home)
    assert found.ours_ms == {"v6": pytest.approx(2.5), "v4": pytest.approx(2.7)}
