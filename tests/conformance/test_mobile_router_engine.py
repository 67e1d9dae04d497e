"""Mobile router rows about timers and refusals: the engine with literal times (RFC 3963 section 5)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from dsmip.core.actions import Drop, RemovePath, SendPacket
from dsmip.core.mobile_node.engine import MobileNodeConfig, MobileNodeState
from dsmip.wire.constants import BEStatus, BUFlag
from dsmip.wire.icmpv6 import (
    HomeAgentAddressDiscoveryReply,
    HomeAgentAddressDiscoveryRequest,
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    ParameterProblem,
    PrefixInformation,
)
from dsmip.wire.messages import BindingError, decode_message
from dsmip.wire.options import BindingRefreshAdvice, MobileNetworkPrefix, find_all
from dsmip.wire.packet import decode_packet
from tests.core.mobile_node.mobile_node_bench import (
    CONFIG,
    HOME,
    HOME_ADDRESS,
    HOME_AGENT,
    HOME_PREFIX,
    MOBILE_PREFIX,
    OTHER6,
    WIFI6,
    Bench,
    asked,
    at,
    only,
    registered,
)

ROUTER = replace(CONFIG, mobile_router=True, prefixes=(MOBILE_PREFIX,), discovery=True)
IMPLICIT = replace(ROUTER, nemo_mode="implicit")
OTHER_HOME_AGENT = HOME_AGENT + 1
THIRD_HOME_AGENT = HOME_AGENT + 2


# Binding Updates --------------------------------------------------------------------------------------------


@pytest.mark.row("MR-BU-002")
@pytest.mark.parametrize(
    ("config", "link_local"),
    [
        (replace(ROUTER, link_local=True), True),
        (replace(ROUTER, home_address=MOBILE_PREFIX.network_address + 1), False),
    ],
    ids=["home address of the home link", "home address of the mobile network"],
)
def test_mr_bu_002_flags(config: MobileNodeConfig, link_local: bool) -> None:
    bench = Bench(config)
    bench.attach(0.0, WIFI6)
    flags = bench.last.update.flags
    assert bool(flags & BUFlag.L) is link_local
    assert flags & BUFlag.R
    assert not flags & BUFlag.K


@pytest.mark.row("MR-BU-002")
def test_mr_bu_002_lifetime_is_below_those_of_both_addresses() -> None:
    bench = Bench(ROUTER)
    bench.attach(0.0, home=replace(HOME, valid_until=400.0))
    bench.answer(time=0.1)
    bench.attach(100.0, WIFI6)
    assert bench.last.update.lifetime * 4 == 300
    bench.attach(110.0, replace(OTHER6, valid_until=210.0))
    assert bench.last.update.lifetime * 4 == 100


@pytest.mark.row("MR-BU-003")
@pytest.mark.parametrize("why", ["movement", "expiry", "prefix cut", "expiry off-link"])
def test_mr_bu_003_registers_anew(why: str) -> None:
    bench = registered(ROUTER)
    first = bench.last
    match why:
        case "movement":
            bench.attach(50.0, OTHER6)
        case "expiry":
            bench.run(600.0)
        case "prefix cut":
            provoked = bench.prefix_advertisement(MobilePrefixAdvertisement(7), time=50.0)
            [(_, solicitation)] = asked(provoked, MobilePrefixSolicitation)
            cut = PrefixInformation(HOME_PREFIX, True, True, False, 100, 100)
            bench.prefix_advertisement(MobilePrefixAdvertisement(solicitation.identifier, options=(cut,)))
        case _:
            bench.attach(50.0)
            bench.attach(700.0, WIFI6)
    again = bench.sent[1]
    assert again.update.flags & BUFlag.R
    assert again.update.sequence == (first.update.sequence + 1) % 0x10000
    assert again.care_of == (OTHER6 if why == "movement" else WIFI6).address
    assert why == "expiry off-link" or again.time < 600.02


# Binding Acknowledgements -----------------------------------------------------------------------------------


@pytest.mark.row("MR-BA-004")
@pytest.mark.parametrize("shorter", ["lifetime", "refresh advice"])
def test_mr_ba_004_refreshes_in_time(shorter: str) -> None:
    bench = Bench(ROUTER)
    bench.attach(0.0, WIFI6)
    if shorter == "lifetime":
        bench.answer(time=0.02, lifetime=25)
    else:
        bench.answer(time=0.02, options=(BindingRefreshAdvice(25),))
    bench.run(100.0)
    assert len(bench.sent) > 1
    assert bench.sent[1].time < 100.0


@pytest.mark.row("MR-BA-005")
@pytest.mark.parametrize("config", [ROUTER, IMPLICIT], ids=["explicit", "implicit"])
@pytest.mark.parametrize("status", [140, 141, 142, 143])
def test_mr_ba_005_the_only_home_agent_is_left_alone(config: MobileNodeConfig, status: int) -> None:
    bench = Bench(config)
    bench.attach(0.0, WIFI6)
    actions = bench.answer(time=0.02, status=status)
    assert len(only(actions, RemovePath)) == 1
    bench.run(60.0)
    assert len(bench.sent) == 1
    assert bench.node.format is None


@pytest.mark.row("MR-BA-006")
@pytest.mark.parametrize("config", [ROUTER, IMPLICIT], ids=["explicit", "implicit"])
@pytest.mark.parametrize("status", [140, 141, 142, 143])
def test_mr_ba_006_another_home_agent_is_found(config: MobileNodeConfig, status: int) -> None:
    bench = Bench(config)
    bench.attach(0.0, WIFI6)
    refused = bench.answer(time=0.02, status=status)
    [(_, request)] = asked(refused, HomeAgentAddressDiscoveryRequest)
    assert request.mobile_routers
    reply = HomeAgentAddressDiscoveryReply(request.identifier, (HOME_AGENT, OTHER_HOME_AGENT), True)
    bench.icmpv6(reply, time=0.05)
    bench.run(2.0)
    assert bench.last.packet.destination == OTHER_HOME_AGENT
    assert bench.last.time == 1.5
    assert bench.last.update.flags & BUFlag.R
    bench.answer(time=2.0)
    assert bench.node.state(at(2.0)) is MobileNodeState.REGISTERED


@pytest.mark.row("MR-BA-007")
@pytest.mark.parametrize("status", [0, 1, 127])
def test_mr_ba_007_a_home_agent_without_mobile_routers(status: int) -> None:
    bench = Bench(ROUTER)
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.02, status=status, flags=0)
    parting = bench.last
    assert (parting.packet.destination, parting.update.lifetime) == (HOME_AGENT, 0)
    assert not parting.update.flags & BUFlag.R
    assert bench.node.format is None
    parted = bench.answer(time=0.04, flags=0)
    [(_, request)] = asked(parted, HomeAgentAddressDiscoveryRequest)
    assert request.mobile_routers
    bench.icmpv6(
        HomeAgentAddressDiscoveryReply(request.identifier, (HOME_AGENT, OTHER_HOME_AGENT), True), time=0.1
    )
    bench.run(2.0)
    assert bench.last.packet.destination == OTHER_HOME_AGENT
    assert bench.last.update.flags & BUFlag.R
    assert bench.last.update.lifetime


# Returning home ---------------------------------------------------------------------------------------------


@pytest.mark.row("MR-DR-001")
@pytest.mark.parametrize("home_address", [HOME_ADDRESS, MOBILE_PREFIX.network_address + 1], ids=str)
def test_mr_dr_001_no_prefix_options_in_a_de_registration(home_address: IPv6Address) -> None:
    bench = Bench(replace(ROUTER, home_address=home_address))
    bench.attach(0.0, WIFI6)
    registration = bench.last
    bench.attach(10.0, home=HOME)
    assert bench.last.packet.source == home_address
    assert bench.last.update.flags & (BUFlag.A | BUFlag.H) == BUFlag.A | BUFlag.H
    assert bench.last.update.lifetime == 0
    assert 0 < (bench.last.update.sequence - registration.update.sequence) % 0x10000 < 0x8000
    assert find_all(registration.update.options, MobileNetworkPrefix)
    assert not find_all(bench.last.update.options, MobileNetworkPrefix)


# Discovery --------------------------------------------------------------------------------------------------


@pytest.mark.row("MR-DHAAD-001")
def test_mr_dhaad_001_an_unknown_home_agent_is_discovered() -> None:
    bench = Bench(replace(ROUTER, home_agent=IPv6Address("::"), home_agent_ipv4=None))
    first = asked(bench.attach(0.0, WIFI6), HomeAgentAddressDiscoveryRequest)
    [(packet, request)] = first
    assert request.mobile_routers
    assert packet.payload[6:8] == b"\x80\x00"  # R, and the reserved bits are zero
    for time in (3.0, 9.0):
        assert not asked(bench.run(time - 0.01), HomeAgentAddressDiscoveryRequest)
        assert asked(bench.run(time), HomeAgentAddressDiscoveryRequest) == first
    order = (OTHER_HOME_AGENT, HOME_AGENT, THIRD_HOME_AGENT)
    bench.icmpv6(HomeAgentAddressDiscoveryReply(request.identifier, order, True), time=9.5)
    bench.run(9.6)
    assert bench.last.packet.destination == OTHER_HOME_AGENT
    bench.answer(time=9.7, status=130)
    bench.run(12.0)
    assert bench.last.packet.destination == HOME_AGENT  # the next one after a failure
    bench.answer(time=12.1, status=140)
    bench.run(15.0)
    assert bench.last.packet.destination == THIRD_HOME_AGENT
    assert bench.last.update.flags & BUFlag.R


@pytest.mark.row("MR-DHAAD-001")
def test_mr_dhaad_001_a_reply_to_nothing_is_ignored() -> None:
    bench = Bench(replace(ROUTER, home_agent=IPv6Address("::"), home_agent_ipv4=None))
    [(_, request)] = asked(bench.attach(0.0, WIFI6), HomeAgentAddressDiscoveryRequest)
    forged = HomeAgentAddressDiscoveryReply(request.identifier ^ 1, (OTHER_HOME_AGENT,), True)
    assert only(bench.icmpv6(forged, time=0.1), Drop)
    bench.run(2.0)
    assert not bench.sent


# Mobile prefix discovery ------------------------------------------------------------------------------------


@pytest.mark.row("MR-MPD-001")
def test_mr_mpd_001_asks_before_the_prefix_ends_and_registers_what_is_left() -> None:
    bench = Bench(ROUTER)
    bench.attach(0.0, home=replace(HOME, valid_until=100.0))
    bench.answer(time=0.1)
    bench.attach(10.0, WIFI6)
    bench.answer(time=10.1)
    solicitations = asked(bench.run(99.0), MobilePrefixSolicitation)
    assert solicitations
    packet, solicitation = solicitations[-1]
    assert (packet.source, packet.home_address) == (WIFI6.address, HOME_ADDRESS)
    longer = PrefixInformation(HOME_PREFIX, True, True, False, 7200, 3600)
    bench.prefix_advertisement(
        MobilePrefixAdvertisement(solicitation.identifier, options=(longer,)), time=99.1
    )
    bench.run(200.0)
    again = next(sent for sent in bench.sent if sent.time > 99.1)
    assert again.update.flags & BUFlag.R
    assert again.update.lifetime == 150


@pytest.mark.row("MR-MPD-001")
def test_mr_mpd_001_a_cut_is_registered_with_r() -> None:
    bench = registered(ROUTER)
    provoked = bench.prefix_advertisement(MobilePrefixAdvertisement(7), time=50.0)
    [(_, solicitation)] = asked(provoked, MobilePrefixSolicitation)
    wrong = MobilePrefixAdvertisement(solicitation.identifier ^ 1)
    [(_, solicitation)] = asked(bench.prefix_advertisement(wrong, time=52.0), MobilePrefixSolicitation)
    cut = PrefixInformation(HOME_PREFIX, True, True, False, 100, 100)
    bench.prefix_advertisement(MobilePrefixAdvertisement(solicitation.identifier, options=(cut,)), time=53.0)
    assert bench.last.time == 53.0
    assert bench.last.update.flags & BUFlag.R
    assert bench.last.update.lifetime * 4 <= 100


# Malformed messages -----------------------------------------------------------------------------------------


@pytest.mark.row("MR-MH-001")
@pytest.mark.parametrize(("offset", "value"), [(0, 58), (1, 0)], ids=["proto", "length"])
def test_mr_mh_001_parameter_problem(offset: int, value: int) -> None:
    bench = Bench(ROUTER)
    bench.attach(0.0, WIFI6)
    packet = bytearray(bench.acknowledgement(bench.last))
    packet[64 + offset] = value
    # The checksum is checked first: keep it right (it is a sum of 16-bit words).
    before = bench.acknowledgement(bench.last)[64 + offset]
    checksum = int.from_bytes(packet[68:70], "big") + (before - value << (8 if offset % 2 == 0 else 0))
    packet[68:70] = (checksum % 0xFFFF).to_bytes(2, "big")
    [(answer, problem)] = asked(bench.receive(bytes(packet)), ParameterProblem)
    assert (problem.code, problem.pointer) == (0, 64 + offset)
    assert (answer.source, answer.destination) == (WIFI6.address, HOME_AGENT)
    assert answer.home_address is None


@pytest.mark.row("MR-MH-001")
def test_mr_mh_001_unknown_type_and_wrong_checksum() -> None:
    bench = Bench(ROUTER)
    bench.attach(0.0, WIFI6)
    packet = bytearray(bench.acknowledgement(bench.last))
    packet[66] = 250
    assert [drop.reason for drop in only(bench.receive(bytes(packet)), Drop)] == ["checksum"]
    checksum = int.from_bytes(packet[68:70], "big") + ((6 - 250) << 8)
    packet[68:70] = (checksum % 0xFFFF).to_bytes(2, "big")
    [answer] = only(bench.receive(bytes(packet)), SendPacket)
    error = decode_packet(answer.packet)
    message = decode_message(error.payload, error.sender, error.recipient)
    assert message == BindingError(BEStatus.UNRECOGNIZED_MH_TYPE, IPv6Address("::"))
    assert error.destination == HOME_AGENT


@pytest.mark.row("MR-MH-001")
def test_mr_mh_001_the_home_agent_does_not_know_the_mobility_header() -> None:
    bench = Bench(ROUTER)
    bench.attach(0.0, WIFI6)
    assert isinstance(bench.last.action, SendPacket)
    forged = bytearray(bench.last.action.packet)
    forged[-1] ^= 1
    bench.icmpv6(ParameterProblem(1, 64, bytes(forged)), time=0.1)
    bench.icmpv6(ParameterProblem(1, 64, bench.last.action.packet), source=CONFIG.home_agent + 9, time=0.1)
    bench.run(2.0)
    assert len(bench.sent) == 2  # neither counted
    assert isinstance(bench.last.action, SendPacket)
    bench.icmpv6(ParameterProblem(1, 64, bench.last.action.packet), time=2.1)
    bench.run(100.0)
    assert len(bench.sent) == 2
    bench.attach(110.0, OTHER6)
    assert len(bench.sent) == 3
