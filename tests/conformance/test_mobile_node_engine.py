"""Mobile node rows about timers: the engine with literal times (RFC 6275 section 11)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest

from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.wire.icmpv6 import (
    HomeAgentAddressDiscoveryReply,
    HomeAgentAddressDiscoveryRequest,
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    PrefixInformation,
)
from dsmip.wire.options import BindingRefreshAdvice
from tests.core.mobile_node.mobile_node_bench import (
    CONFIG,
    HOME,
    HOME_ADDRESS,
    HOME_AGENT,
    HOME_PREFIX,
    OTHER6,
    WIFI6,
    Bench,
    asked,
    at,
    drops,
    registered,
)

OTHER_HOME_AGENT = HOME_AGENT + 1
DISCOVERING = replace(CONFIG, discovery=True)


def home_prefix(valid: int, prefix: IPv6Network = HOME_PREFIX) -> PrefixInformation:
    return PrefixInformation(prefix, True, True, False, valid, valid)


def gaps(bench: Bench) -> list[float]:
    times = [sent.time for sent in bench.sent]
    return [round(later - earlier, 6) for earlier, later in itertools.pairwise(times)]


@pytest.mark.row("MN-BU-004")
def test_mn_bu_004_a_registration_that_ran_out_is_made_anew() -> None:
    bench = registered()
    bench.attach(10.0)  # off every link
    bench.attach(700.0, WIFI6)  # 600 s were granted
    count = len(bench.sent)
    assert bench.last.time == 700.0
    bench.run(702.0)
    assert bench.sent[count].time == 701.5


@pytest.mark.row("MN-BU-005")
def test_mn_bu_005_refreshes_before_the_granted_lifetime_ends() -> None:
    bench = registered()
    first = bench.last
    bench.run(600.0)
    second = bench.sent[1]
    assert 0.02 < second.time < 600.0
    assert second.update.sequence == (first.update.sequence + 1) % 0x10000
    assert second.care_of == WIFI6.address


@pytest.mark.row("MN-RTX-001")
def test_mn_rtx_001_a_first_registration_is_repeated() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.run(200.0)
    assert gaps(bench)[:8] == [1.5, 3.0, 6.0, 12.0, 24.0, 32.0, 32.0, 32.0]
    numbers = [sent.update.sequence for sent in bench.sent]
    assert numbers == [(numbers[0] + count) % 0x10000 for count in range(len(numbers))]
    assert bench.node.state(at(200.0)) is MobileNodeState.REGISTERING


@pytest.mark.row("MN-RTX-001")
def test_mn_rtx_001_a_registration_after_a_movement_is_repeated() -> None:
    bench = registered()
    bench.attach(10.0, OTHER6)
    bench.run(200.0)
    assert gaps(bench)[1:9] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 32.0, 32.0]


@pytest.mark.row("MN-BA-005")
@pytest.mark.parametrize("shorter", ["lifetime", "refresh advice"])
def test_mn_ba_005_refreshes_before_a_shorter_time(shorter: str) -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    if shorter == "lifetime":
        bench.answer(time=0.02, lifetime=25)
    else:
        bench.answer(time=0.02, options=(BindingRefreshAdvice(25),))
    bench.run(100.0)
    assert len(bench.sent) > 1
    assert bench.sent[1].time < 100.0


@pytest.mark.row("MN-LT-001")
def test_mn_lt_001_stays_below_both_lifetimes() -> None:
    bench = Bench()
    bench.attach(0.0, home=replace(HOME, valid_until=1000.0))
    bench.answer(time=0.1)
    bench.attach(500.0, replace(WIFI6, valid_until=5000.0))
    assert bench.last.update.lifetime * 4 == 500
    bench.answer(time=500.1)
    bench.attach(600.0, replace(OTHER6, valid_until=700.0))
    assert bench.last.update.lifetime * 4 == 100


# Mobile prefix discovery ------------------------------------------------------------------------------------


def away_with_a_prefix_of(seconds: float) -> Bench:
    """Registered away from home at 10.1 s, with so long a lifetime of the home prefix left at 10 s."""
    bench = Bench()
    bench.attach(0.0, home=replace(HOME, valid_until=10.0 + seconds))
    bench.answer(time=0.1)
    bench.attach(10.0, WIFI6)
    bench.answer(time=10.1)
    return bench


@pytest.mark.row("MN-MPD-001")
def test_mn_mpd_001_asks_before_the_home_address_expires() -> None:
    bench = away_with_a_prefix_of(90.0)
    solicitations = asked(bench.run(99.0), MobilePrefixSolicitation)
    assert solicitations
    packet, _ = solicitations[0]
    assert packet.source == WIFI6.address
    assert packet.destination == HOME_AGENT
    assert packet.home_address == HOME_ADDRESS
    assert packet.payload[6:8] == bytes(2)


@pytest.mark.row("MN-MPD-001")
def test_mn_mpd_001_the_home_address_is_not_used_after_its_end() -> None:
    bench = away_with_a_prefix_of(90.0)
    bench.run(100.0)
    count = len(bench.sent)
    assert bench.node.format is None
    bench.run(1000.0)
    assert len(bench.sent) == count


@pytest.mark.row("MN-MPD-004")
def test_mn_mpd_004_an_answer_ends_the_retransmissions() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    [(_, first)] = asked(bench.answer(time=0.1, status=1), MobilePrefixSolicitation)
    times = []
    for time in (3.1, 9.1, 21.1):
        assert not asked(bench.run(time - 0.01), MobilePrefixSolicitation)
        [(_, again)] = asked(bench.run(time), MobilePrefixSolicitation)
        assert again == first
        times.append(time)
    bench.prefix_advertisement(MobilePrefixAdvertisement(first.identifier, options=(home_prefix(7200),)))
    assert not asked(bench.run(400.0), MobilePrefixSolicitation)


@pytest.mark.row("MN-MPD-003")
def test_mn_mpd_003_an_advertisement_without_esp_is_not_believed() -> None:
    bench = Bench(replace(CONFIG, authentication="ipsec", key=b"", spi=0))
    bench.attach(0.0, WIFI6)
    bench.receive(bench.acknowledgement(bench.last), 0.02, protected=True)
    told = MobilePrefixAdvertisement(0xFFFF, options=(home_prefix(300),))
    assert drops(bench.prefix_advertisement(told, time=1.0)) == ["not-protected"]
    [(_, solicitation)] = asked(bench.prefix_advertisement(told, protected=True), MobilePrefixSolicitation)
    answer = MobilePrefixAdvertisement(solicitation.identifier, options=(home_prefix(300),))
    assert drops(bench.prefix_advertisement(answer)) == ["not-protected"]
    assert bench.last.update.lifetime == 150
    bench.prefix_advertisement(answer, protected=True)
    assert bench.last.update.lifetime == 75  # in units of 4 s: no longer than the prefix


@pytest.mark.row("MN-MPD-002")
def test_mn_mpd_002_an_answer_counts_once() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    [(_, first)] = asked(bench.answer(time=0.1, status=1), MobilePrefixSolicitation)
    answer = MobilePrefixAdvertisement(first.identifier, options=(home_prefix(7200),))
    bench.prefix_advertisement(answer)
    repeated = MobilePrefixAdvertisement(first.identifier, options=(home_prefix(100),))
    [(_, second)] = asked(bench.prefix_advertisement(repeated), MobilePrefixSolicitation)
    assert second.identifier != first.identifier
    assert len(bench.sent) == 1


@pytest.mark.row("MN-BU-006")
def test_mn_bu_006_a_cut_lifetime_is_registered() -> None:
    bench = registered()
    provoked = bench.prefix_advertisement(MobilePrefixAdvertisement(7), time=50.0)
    [(_, solicitation)] = asked(provoked, MobilePrefixSolicitation)
    bench.prefix_advertisement(
        MobilePrefixAdvertisement(solicitation.identifier, options=(home_prefix(200),)), time=51.0
    )
    assert bench.last.time == 51.0
    assert bench.last.update.lifetime * 4 == 200


# Home agent discovery ---------------------------------------------------------------------------------------


@pytest.mark.row("MN-DHAAD-002")
def test_mn_dhaad_002_the_request_is_repeated_at_doubling_intervals() -> None:
    bench = Bench(replace(DISCOVERING, home_agent=IPv6Address("::"), home_agent_ipv4=None))
    first = asked(bench.attach(0.0, WIFI6), HomeAgentAddressDiscoveryRequest)
    assert len(first) == 1
    for time in (3.0, 9.0, 21.0, 45.0):
        assert not asked(bench.run(time - 0.01), HomeAgentAddressDiscoveryRequest)
        assert asked(bench.run(time), HomeAgentAddressDiscoveryRequest) == first
    assert not asked(bench.run(150.0), HomeAgentAddressDiscoveryRequest)
    assert not bench.sent


@pytest.mark.row("MN-DHAAD-003")
@pytest.mark.parametrize("bound", [False, True], ids=["never bound", "bound before"])
def test_mn_dhaad_003_goes_to_another_home_agent_when_the_first_is_silent(bound: bool) -> None:
    bench = registered(DISCOVERING) if bound else Bench(DISCOVERING)
    start = 10.0
    bench.attach(start, OTHER6)
    count = len(bench.sent) - 1
    requests = []
    while not requests:
        requests = asked(bench.run(bench.time + 0.5), HomeAgentAddressDiscoveryRequest)
        assert bench.time < start + 60.0
    [(_, request)] = requests
    # 1.5 + 3 + 6 s without a binding; with one when the interval reaches 32 s: 1 + 2 + 4 + 8 + 16 s.
    assert bench.time == start + (31.0 if bound else 10.5)
    reply = HomeAgentAddressDiscoveryReply(request.identifier, (HOME_AGENT, OTHER_HOME_AGENT))
    bench.icmpv6(reply, time=bench.time + 0.2)
    bench.run(bench.time + 5.0)
    destinations = [sent.packet.destination for sent in bench.sent[count:]]
    assert OTHER_HOME_AGENT in destinations
    other = next(sent for sent in bench.sent if sent.packet.destination == OTHER_HOME_AGENT)
    before = max(sent.time for sent in bench.sent if sent.packet.destination == HOME_AGENT)
    assert other.time - before >= 1.5
    bench.answer(other)
    assert bench.node.state(at(bench.time)) is MobileNodeState.REGISTERED
