"""Moving: which path is used when, and falling back from one care-of address to another."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from mobile_node_bench import (
    BEHIND_NAT,
    CAFE4,
    CONFIG,
    HOME_ADDRESS,
    HOME_AGENT,
    HOME_AGENT_IPV4,
    MOBILE_PREFIX,
    NAT4,
    NO_NAT,
    NO_NAT_FORCED,
    OTHER6,
    WIFI6,
    Bench,
    at,
    event,
    only,
    order,
    registered,
)

from dsmip.core.actions import (
    InstallPath,
    RemovePath,
    SendDatagram,
    SendPacket,
)
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.core.types import Path, TunnelFormat

IPV4, IPV6, UDP4 = TunnelFormat.IPV4, TunnelFormat.IPV6, TunnelFormat.UDP4


# Paths ------------------------------------------------------------------------------------------------------


def test_first_registration_uses_the_path_at_once_and_the_update_goes_first() -> None:
    bench = Bench(replace(CONFIG, mobile_router=True, prefixes=(MOBILE_PREFIX,)))
    actions = bench.attach(0.0, WIFI6)
    assert order(actions, SendPacket, InstallPath) == [SendPacket, InstallPath]
    [install] = only(actions, InstallPath)
    assert install.path == Path(IPV6, WIFI6.address, HOME_AGENT, interface=3, next_hop=IPv6Address("fe80::1"))
    assert install.networks == (IPv6Network(HOME_ADDRESS), MOBILE_PREFIX)
    assert only(bench.answer(time=0.02), InstallPath) == []  # nothing new


def test_break_before_make_uses_the_new_path_with_the_first_update() -> None:
    bench = registered()
    actions = bench.attach(10.0, OTHER6)
    assert order(actions, SendPacket, InstallPath) == [SendPacket, InstallPath]
    assert only(actions, InstallPath)[0].grace == 3.0


def test_make_before_break_waits_for_the_acknowledgement() -> None:
    bench = registered(care_of=NAT4)
    actions = bench.attach(10.0, NAT4, WIFI6)
    assert order(actions, SendPacket, InstallPath) == [SendPacket]
    assert bench.node.format is UDP4
    assert bench.node.state(at(10.0)) is MobileNodeState.REGISTERING
    actions = bench.answer(time=10.02)
    assert [install.path.format for install in only(actions, InstallPath)] == [IPV6]
    assert event(actions, "handover").fields["previous"] == "192.168.1.2"


def test_make_before_break_turns_into_break_before_make_when_the_old_path_goes() -> None:
    bench = registered(care_of=NAT4)
    bench.attach(10.0, NAT4, WIFI6)
    actions = bench.attach(10.01, WIFI6)
    assert [install.path.format for install in only(actions, InstallPath)] == [IPV6]
    assert order(actions, SendPacket, SendDatagram) == []  # the update is under way already


def test_a_path_that_was_never_acknowledged_is_not_kept() -> None:
    bench = Bench()
    bench.attach(0.0, NAT4)
    actions = bench.attach(0.1, NAT4, WIFI6)
    assert [install.path.format for install in only(actions, InstallPath)] == [IPV6]


def test_ipv4_path_carries_ports_in_udp_only() -> None:
    bench = Bench()
    [install] = only(bench.attach(0.0, CAFE4), InstallPath)
    assert install.path == Path(
        UDP4, CAFE4.address, HOME_AGENT_IPV4, 4191, 4191, interface=5, next_hop=CAFE4.gateway
    )


def test_another_router_for_the_same_address_changes_the_path_without_an_update() -> None:
    bench = registered()
    router = IPv6Address("fe80::99")
    actions = bench.attach(10.0, replace(WIFI6, gateway=router))
    assert [install.path.next_hop for install in only(actions, InstallPath)] == [router]
    assert len(bench.sent) == 1


def test_router_that_changes_while_the_update_is_under_way_is_kept() -> None:
    bench = registered(care_of=NAT4)
    bench.attach(10.0, NAT4, WIFI6)
    later = replace(WIFI6, gateway=IPv6Address("fe80::99"))
    bench.attach(10.01, NAT4, later)
    [install] = only(bench.answer(time=10.02), InstallPath)
    assert install.path.next_hop == later.gateway


def test_the_same_private_address_in_another_network_is_registered_anew() -> None:
    bench = registered(care_of=NAT4)
    bench.attach(10.0, replace(NAT4, network="another-nat"))
    assert bench.last.time == 10.0


def test_detached_and_back_sends_an_update_at_once() -> None:
    bench = registered()
    actions = bench.attach(10.0)
    assert only(actions, RemovePath) == [RemovePath("detached")]
    assert bench.node.state(at(10.0)) is MobileNodeState.DETACHED
    assert only(bench.attach(10.5), RemovePath) == []
    actions = bench.attach(11.0, WIFI6)
    assert order(actions, SendPacket, InstallPath) == [SendPacket, InstallPath]
    bench.run(12.0)
    assert bench.last.time == 12.0  # one second: the home agent still has the binding


def test_unchanged_attachments_send_nothing() -> None:
    bench = registered()
    for time in (1.0, 2.0, 3.0):
        assert bench.attach(time, WIFI6) == []
    assert len(bench.sent) == 1


def test_an_address_that_runs_out_is_left_without_being_told() -> None:
    bench = Bench()
    bench.attach(0.0, replace(WIFI6, valid_until=100.0), OTHER6)
    bench.answer(time=0.02)
    bench.attach(10.0, replace(WIFI6, valid_until=100.0))
    bench.run(95.9)
    assert bench.node.state(at(95.9)) is not MobileNodeState.DETACHED
    bench.run(96.1)
    assert bench.node.state(at(96.1)) is MobileNodeState.DETACHED


# Fall-back --------------------------------------------------------------------------------------------------


def test_rfc5555_4_4_1_three_unanswered_updates_over_ipv6_lead_to_ipv4() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6, CAFE4)
    actions = bench.run(11.0)
    assert [(sent.time, str(sent.care_of)) for sent in bench.sent] == [
        (0.0, "2001:db8:200::5678"),
        (1.5, "2001:db8:200::5678"),
        (4.5, "2001:db8:200::5678"),
        (10.5, "198.51.100.7"),
    ]
    assert event(actions, "fallback").fields["network"] == "wifi6"
    assert [install.path.format for install in only(actions, InstallPath)] == [UDP4]


def test_refresh_unanswered_over_ipv6_replaces_the_path_at_once() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6, CAFE4)
    bench.answer(time=0.02)
    actions = bench.run(487.1)
    assert bench.last.time == pytest.approx(487.0)
    assert str(bench.last.care_of) == "198.51.100.7"
    assert [install.path.format for install in only(actions, InstallPath)] == [UDP4]


def test_rfc6275_11_8_each_care_of_address_has_its_own_attempts() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6, CAFE4)
    bench.run(4.6)
    assert len(bench.sent) == 3
    bench.attach(5.0, OTHER6, CAFE4)
    bench.run(15.4)
    assert [str(sent.care_of) for sent in bench.sent[3:]] == ["2001:db8:300::5678"] * 3
    bench.run(15.5)
    assert str(bench.last.care_of) == "198.51.100.7"


def test_an_answer_ends_the_memory_of_silence() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6, CAFE4)
    bench.run(10.5)
    bench.attach(11.0, WIFI6)  # nothing else is left
    bench.answer(time=11.02)
    bench.attach(12.0, CAFE4, WIFI6)
    assert bench.node.care_of == WIFI6


def test_ipv6_is_tried_again_after_half_a_minute_make_before_break() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6, CAFE4)
    bench.run(10.5)
    bench.answer(time=10.52, options=(NO_NAT_FORCED,))
    bench.run(40.5)
    assert bench.node.care_of == CAFE4
    actions = bench.run(40.6)
    assert str(bench.last.care_of) == "2001:db8:200::5678"
    assert only(actions, InstallPath) == []
    bench.answer(time=40.62)
    assert bench.node.format is IPV6


def test_ipv6_that_is_still_broken_costs_no_packet_on_ipv4() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6, CAFE4)
    bench.run(10.5)
    bench.answer(time=10.52, options=(NO_NAT_FORCED,))
    actions = bench.run(50.0)
    assert only(actions, InstallPath) == []
    assert only(actions, RemovePath) == []
    assert str(bench.last.care_of) == "198.51.100.7"
    bench.answer(options=(NO_NAT_FORCED,))
    assert bench.node.state(at(50.0)) is MobileNodeState.REGISTERED


def test_the_network_with_broken_ipv6_is_remembered_over_visits() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6, CAFE4)
    bench.run(10.5)
    bench.attach(20.0)
    bench.attach(30.0, WIFI6, CAFE4)
    assert str(bench.last.care_of) == "198.51.100.7"


def test_where_everything_was_silent_each_gets_its_turn() -> None:
    """The home agent was down, and when it is back, IPv6 is broken: IPv4 is not left out for five minutes."""
    bench = Bench()
    bench.attach(0.0, WIFI6, CAFE4)
    bench.run(200.0)
    tried = [(sent.time, sent.care_of.version) for sent in bench.sent]
    assert tried[:6] == [(0.0, 6), (1.5, 6), (4.5, 6), (10.5, 4), (12.0, 4), (15.0, 4)]
    assert tried[6:] == [(21.0, 6), (33.0, 4), (57.0, 6), (89.0, 4), (121.0, 6), (153.0, 4), (185.0, 6)]
    bench.run(217.0)
    bench.answer(options=(NO_NAT_FORCED,))
    assert bench.node.state(at(217.0)) is MobileNodeState.REGISTERED
    assert bench.node.care_of == CAFE4


def test_data_stays_where_it_was_while_everything_is_silent() -> None:
    """A home agent's data plane goes on without its daemon; IPv6 was known to be broken."""
    bench = Bench()
    bench.attach(0.0, WIFI6, CAFE4)
    bench.run(10.5)
    bench.answer(time=10.52, options=(NO_NAT_FORCED,))
    actions = bench.run(500.0)  # at 40.52 IPv6 is tried again
    assert {sent.care_of.version for sent in bench.sent[-4:]} == {4, 6}
    assert only(actions, InstallPath) == []
    assert only(actions, RemovePath) == []


def test_without_an_alternative_ipv6_goes_on() -> None:
    bench = Bench(replace(CONFIG, home_agent_ipv4=None))
    bench.attach(0.0, WIFI6, CAFE4)
    bench.run(50.0)
    assert {str(sent.care_of) for sent in bench.sent} == {"2001:db8:200::5678"}


def test_a_silent_access_network_is_left_for_another_interface() -> None:
    bench = Bench()
    bench.attach(0.0, CAFE4, replace(NAT4, interface="wwan0", ifindex=9, preference=200))
    bench.run(10.5)
    assert str(bench.last.care_of) == "192.168.1.2"


def test_refusals_are_answers_and_cause_no_fall_back() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6, CAFE4)
    for _ in range(4):
        bench.answer(status=130, time=bench.time)
        due = bench.node.timeout()
        assert due is not None
        bench.run(due)
    assert {str(sent.care_of) for sent in bench.sent} == {"2001:db8:200::5678"}


# Tunnel format of IPv4 networks is in test_mn_encapsulation; here only what a NAT means for the path --------


def test_nat_keeps_udp_without_a_second_registration() -> None:
    bench = Bench()
    bench.attach(0.0, NAT4)
    actions = bench.answer(time=0.02, options=(BEHIND_NAT,))
    assert only(actions, InstallPath) == []
    assert len(bench.sent) == 1


def test_no_nat_and_not_forced_is_ip_in_ip() -> None:
    bench = Bench()
    bench.attach(0.0, CAFE4)
    bench.answer(time=0.02, status=129)
    actions = bench.answer(time=0.04, options=(NO_NAT,))
    assert [install.path.format for install in only(actions, InstallPath)] == [IPV4]
