"""DHCP leases and known IPv4 networks (RFC 4436, RFC 2131)."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from dsmip.movement.actions import (
    AddAddress,
    DhcpLease,
    ProbeGateway,
    RemoveAddress,
    RemoveDefaultRoute,
    SetDefaultRoute,
    StartDhcp,
    StopDhcp,
)
from tests.movement.bench import GATEWAY, GATEWAY_MAC, OTHER_GATEWAY, OTHER_GATEWAY_MAC, Bench


def _visited(lifetime: float | None = 3600.0) -> tuple[Bench, DhcpLease]:
    bench = Bench()
    bench.up()
    lease = bench.lease(lifetime=lifetime)
    bench.arp()
    bench.pass_time(2)
    bench.down()
    bench.pass_time(2)
    bench.take()
    return bench, lease


def test_rfc2131_4_4_1_dhcp_starts_at_link_up() -> None:
    bench = Bench()
    bench.up()
    assert bench.only(StartDhcp) == [StartDhcp("u0", None)]


def test_a_lease_is_installed_and_published_at_once() -> None:
    bench = Bench()
    bench.up()
    bench.take()
    bench.lease()
    actions = bench.take()
    (added,) = [action for action in actions if isinstance(action, AddAddress)]
    assert (str(added.address), added.prefix_length, added.valid) == ("10.1.0.9", 24, 3600.0)
    (route,) = [action for action in actions if isinstance(action, SetDefaultRoute)]
    assert (route.gateway, route.source) == (GATEWAY, IPv4Address("10.1.0.9"))
    (care_of,) = bench.attachments.care_of
    assert care_of.network == "v4:02:00:00:00:00:a4%10.1.0.0/24"
    assert care_of.valid_until == bench.now.monotonic + 3600


def test_rfc4436_2_the_gateways_mac_is_learnt_after_the_lease() -> None:
    bench = Bench()
    bench.up()
    bench.take()
    lease = bench.lease()
    assert bench.only(ProbeGateway) == [ProbeGateway("u0", lease.address, GATEWAY, None)]
    assert list(bench.memory.gateways("u0", bytes.fromhex("020000000001"), bench.now.unix)) == []
    bench.arp()
    (known,) = bench.memory.gateways("u0", bytes.fromhex("020000000001"), bench.now.unix)
    assert (known.gateway, known.mac, known.lease) == (GATEWAY, GATEWAY_MAC, lease)


def test_rfc4436_2_1_dhcp_and_unicast_probe_leave_together() -> None:
    bench, lease = _visited()
    bench.up()
    actions = bench.take()
    assert StartDhcp("u0", None) in actions
    assert ProbeGateway("u0", lease.address, GATEWAY, GATEWAY_MAC) in actions


def test_rfc4436_2_1_an_answer_makes_the_lease_usable_and_has_the_server_confirm_it() -> None:
    bench, lease = _visited()
    bench.up()
    bench.take()
    bench.arp()
    assert bench.addresses == ["10.1.0.9"]
    actions = bench.take()
    assert StartDhcp("u0", lease) in actions
    (added,) = [action for action in actions if isinstance(action, AddAddress)]
    assert added.valid == pytest.approx(3596)


def test_rfc4436_2_1_1_sender_address_and_mac_must_both_match() -> None:
    bench, _ = _visited()
    bench.up()
    bench.arp(GATEWAY, OTHER_GATEWAY_MAC)
    bench.arp(OTHER_GATEWAY, GATEWAY_MAC)
    assert bench.addresses == []


def test_rfc4436_2_1_at_most_two_retransmissions() -> None:
    bench, _ = _visited()
    bench.up()
    bench.pass_time(10)
    assert len(bench.only(ProbeGateway)) == 3


def test_rfc4436_2_1_not_more_than_once_a_second() -> None:
    bench, _ = _visited()
    bench.up()
    assert len(bench.only(ProbeGateway)) == 1
    bench.down()
    bench.pass_time(0.2)
    bench.up()
    assert bench.only(ProbeGateway) == []
    bench.pass_time(0.81)
    assert len(bench.only(ProbeGateway)) == 1


def test_rfc4436_2_1_a_no_probe_for_an_expired_lease() -> None:
    bench, _ = _visited(lifetime=60.0)
    bench.pass_time(100)
    bench.up()
    assert bench.only(ProbeGateway) == []


def test_rfc4436_2_1_d_no_probe_with_another_client_identifier() -> None:
    bench, _ = _visited()
    bench.engine.link_up("u0", 7, bytes.fromhex("0200000000ff"), bench.now)
    assert bench.only(ProbeGateway) == []


def test_rfc4436_2_1_all_known_networks_are_probed_and_the_first_answer_wins() -> None:
    bench, _ = _visited()
    bench.up()
    bench.lease("10.2.0.9", OTHER_GATEWAY, server_mac=OTHER_GATEWAY_MAC)
    bench.arp(OTHER_GATEWAY, OTHER_GATEWAY_MAC)
    bench.down()
    bench.pass_time(2)
    bench.take()
    bench.up()
    assert {probe.gateway for probe in bench.only(ProbeGateway)} == {GATEWAY, OTHER_GATEWAY}
    bench.arp(GATEWAY, GATEWAY_MAC)
    bench.arp(OTHER_GATEWAY, OTHER_GATEWAY_MAC)
    assert bench.addresses == ["10.1.0.9"]


def test_rfc4436_2_1_a_different_dhcp_result_beats_the_probe() -> None:
    bench, _ = _visited()
    bench.up()
    bench.arp()
    bench.take()
    bench.lease("10.1.0.77")
    actions = bench.take()
    assert [str(a.address) for a in actions if isinstance(a, RemoveAddress)] == ["10.1.0.9"]
    assert bench.addresses == ["10.1.0.77"]


def test_rfc2131_3_2_a_refused_lease_is_given_up_and_forgotten() -> None:
    bench, lease = _visited()
    bench.up()
    bench.arp()
    bench.take()
    bench.engine.lease_lost("u0", lease.address, bench.now)
    actions = bench.take()
    assert any(isinstance(action, RemoveAddress) for action in actions)
    assert any(isinstance(action, RemoveDefaultRoute) for action in actions)
    assert bench.addresses == []
    assert list(bench.memory.gateways("u0", bytes.fromhex("020000000001"), bench.now.unix)) == []


def test_rfc2131_3_2_the_lease_is_used_to_its_end_when_the_server_is_silent() -> None:
    bench, _ = _visited()
    bench.up()
    bench.arp()
    bench.pass_time(3590)
    assert bench.addresses == ["10.1.0.9"]
    bench.pass_time(10)
    assert bench.addresses == []


def test_a_renewed_lease_prolongs_the_address_and_moves_nothing() -> None:
    bench = Bench()
    bench.up()
    bench.lease()
    bench.arp()
    bench.pass_time(1800)
    bench.take()
    bench.lease()
    actions = bench.take()
    assert [a.valid for a in actions if isinstance(a, AddAddress)] == [3600.0]
    assert not any(isinstance(a, RemoveAddress | SetDefaultRoute) for a in actions)
    assert bench.addresses == ["10.1.0.9"]


def test_link_down_stops_dhcp_without_forgetting_the_lease() -> None:
    bench = Bench()
    bench.up()
    bench.lease()
    bench.take()
    bench.down()
    actions = bench.take()
    assert StopDhcp("u0") in actions
    assert any(isinstance(action, RemoveAddress) for action in actions)
    assert any(isinstance(action, RemoveDefaultRoute) for action in actions)
    assert bench.addresses == []


def test_a_lease_without_end() -> None:
    bench = Bench()
    bench.up()
    bench.lease(lifetime=None)
    (care_of,) = bench.attachments.care_of
    assert care_of.valid_until is None
