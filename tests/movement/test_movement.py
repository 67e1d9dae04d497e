"""Movement without a link event, returning home, several interfaces (RFC 6275 section 11.5)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from dsmip.core.types import HomeAttachment
from dsmip.movement.actions import (
    AddAddress,
    AttachmentsChanged,
    ProbeGateway,
    ProbeRouter,
    RemoveAddress,
    RemoveDefaultRoute,
    SetDefaultRoute,
    SolicitRouters,
)
from dsmip.movement.engine import METRIC_BASE, METRIC_STEP, InterfaceConfig
from tests.movement.bench import (
    GATEWAY,
    GATEWAY_MAC,
    HOME,
    LINK_LOCAL,
    P1,
    P2,
    R1,
    R1_MAC,
    R2,
    R2_MAC,
    Bench,
    advertisement,
)


def _attached() -> Bench:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1))
    bench.pass_time(10)
    bench.take()
    return bench


def test_rfc6275_11_5_1_a_new_router_alone_is_no_movement() -> None:
    bench = _attached()
    before = bench.addresses
    bench.hear(R2, R2_MAC, advertisement(P2))
    assert bench.only(ProbeRouter) == [ProbeRouter("u0", LINK_LOCAL, R1, R1_MAC)]
    bench.answer(R1, R1_MAC)
    bench.pass_time(5)
    assert bench.addresses == before
    assert bench.only(AttachmentsChanged) == []


def test_rfc6275_11_5_1_the_new_router_is_used_when_the_old_one_is_gone() -> None:
    bench = _attached()
    (old,) = bench.addresses
    bench.hear(R2, R2_MAC, advertisement(P2))
    bench.pass_time(0.25)
    assert len(bench.only(ProbeRouter)) == 3
    assert bench.addresses == [old]
    bench.pass_time(0.1)
    actions = bench.take()
    assert [str(a.address) for a in actions if isinstance(a, RemoveAddress)] == [old]
    assert [a.gateway for a in actions if isinstance(a, RemoveDefaultRoute)] == [R1]
    assert [a.gateway for a in actions if isinstance(a, SetDefaultRoute)] == [R2]
    assert len([a for a in actions if isinstance(a, AttachmentsChanged)]) == 1
    assert bench.networks() == ["v6:fe80::b%2001:db8:b::/64"]


def test_rfc6275_11_5_1_the_same_link_local_address_with_another_mac_is_another_router() -> None:
    bench = _attached()
    bench.hear(R1, R2_MAC, advertisement(P2))
    assert bench.only(ProbeRouter) == [ProbeRouter("u0", LINK_LOCAL, R1, R1_MAC)]
    bench.answer(R1, R2_MAC)
    bench.pass_time(0.4)
    assert bench.networks() == ["v6:fe80::a%2001:db8:b::/64"]
    assert [route.mac for route in bench.only(SetDefaultRoute)] == [R2_MAC]


def test_rfc6275_11_5_1_another_router_of_the_same_prefix_causes_no_probe() -> None:
    bench = _attached()
    bench.hear(R2, R2_MAC, advertisement(P1))
    assert bench.only(ProbeRouter) == []


def test_rfc6275_11_5_1_a_coexisting_router_costs_at_most_a_probe_a_second() -> None:
    bench = _attached()
    for _ in range(30):
        bench.hear(R2, R2_MAC, advertisement(P2))
        bench.answer(R1, R1_MAC)
        bench.pass_time(0.1)
    assert len(bench.only(ProbeRouter)) <= 4


def test_rfc6275_11_5_1_missed_advertisements_make_the_router_suspect() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1, interval=50))
    bench.take()
    bench.pass_time(0.2)
    assert bench.only(ProbeRouter) == []
    bench.pass_time(0.02)
    assert len(bench.only(ProbeRouter)) == 1
    bench.pass_time(0.4)
    assert bench.addresses == []
    assert len(bench.only(SolicitRouters)) == 1


def test_rfc6275_11_5_1_a_router_that_answers_is_kept_though_it_misses_advertisements() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1, interval=50))
    for _ in range(10):
        bench.pass_time(0.1)
        bench.answer(R1, R1_MAC)
    assert len(bench.addresses) == 1


def test_rfc4861_6_3_6_a_second_router_of_the_link_takes_over_the_address() -> None:
    bench = _attached()
    before = bench.addresses
    bench.hear(R2, R2_MAC, advertisement(P1))
    bench.hear(R1, R1_MAC, advertisement(P1, lifetime=0))
    assert bench.addresses == before
    actions = bench.take()
    assert [a.gateway for a in actions if isinstance(a, SetDefaultRoute)] == [R2]
    assert not any(isinstance(a, AddAddress | RemoveAddress) for a in actions)


def test_movement_without_link_event_makes_ipv4_look_after_its_gateway() -> None:
    bench = _attached()
    lease = bench.lease()
    bench.arp()
    bench.take()
    bench.hear(R2, R2_MAC, advertisement(P2))
    assert bench.only(ProbeGateway) == [ProbeGateway("u0", lease.address, GATEWAY, GATEWAY_MAC)]
    bench.pass_time(0.4)
    assert bench.networks() == ["v6:fe80::b%2001:db8:b::/64"]


def test_a_flap_the_kernel_reported_only_the_end_of_leaves_nothing_unconfirmed() -> None:
    bench = _attached()
    bench.engine.link_up("u0", 7, bytes(6), bench.now)
    assert bench.addresses == []
    bench.hear(R2, R2_MAC, advertisement(P2))
    assert bench.networks() == ["v6:fe80::b%2001:db8:b::/64"]


# Home ------------------------------------------------------------------------------------------------------


def test_rfc6275_11_5_2_home_prefix_on_link_is_home_and_no_care_of_address_is_formed() -> None:
    bench = Bench()
    bench.up()
    bench.take()
    bench.hear(R1, R1_MAC, advertisement(HOME))
    assert bench.attachments.home == HomeAttachment("u0", 7, R1, None)
    assert bench.attachments.care_of == ()
    actions = bench.take()
    assert not any(isinstance(action, AddAddress) for action in actions)
    assert [a.gateway for a in actions if isinstance(a, SetDefaultRoute)] == [R1]


def test_rfc6275_11_5_2_a_prefix_that_contains_the_home_prefix_is_home_and_off_link_is_not() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(HOME, on_link=False))
    assert bench.attachments.home is None
    bench.hear(R1, R1_MAC, advertisement(IPv6Network("2001:db8:f::/60"), autonomous=False))
    assert bench.attachments.home is not None


def test_rfc6275_11_5_2_home_without_default_router() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(HOME, lifetime=0))
    assert bench.attachments.home == HomeAttachment("u0", 7, None, None)


def test_the_lease_on_the_home_link_is_only_good_for_its_router() -> None:
    bench = Bench()
    bench.up()
    bench.lease()
    assert len(bench.addresses) == 1
    bench.take()
    bench.hear(R1, R1_MAC, advertisement(HOME))
    assert bench.attachments.home == HomeAttachment("u0", 7, R1, GATEWAY)
    assert bench.attachments.care_of == ()
    assert len(bench.only(RemoveAddress)) == 1


def test_a_lease_known_to_be_the_home_links_is_withheld_until_the_advertisement() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(HOME))
    bench.lease()
    bench.arp()
    bench.pass_time(3)
    bench.down()
    bench.pass_time(3)
    bench.up()
    bench.arp()
    assert bench.attachments.care_of == ()
    bench.lease()
    assert bench.attachments.care_of == ()
    bench.answer(R1, R1_MAC)
    assert bench.attachments.home == HomeAttachment("u0", 7, R1, GATEWAY)
    bench.down()
    bench.pass_time(3)
    bench.up()
    bench.lease()
    assert bench.attachments.care_of == ()
    bench.pass_time(1.1)
    assert bench.addresses == ["10.1.0.9"]


def test_leaving_home_forms_a_care_of_address() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(HOME))
    bench.down()
    assert bench.attachments.home is None
    bench.up()
    bench.hear(R2, R2_MAC, advertisement(P2))
    assert bench.attachments.home is None
    assert [IPv6Address(address) in P2 for address in bench.addresses] == [True]


# Several interfaces ----------------------------------------------------------------------------------------


def test_care_of_addresses_come_in_the_order_of_preference_with_metrics_of_their_own() -> None:
    interfaces = (InterfaceConfig("u0", True, 200), InterfaceConfig("u1", True, 100), InterfaceConfig("u2"))
    bench = Bench(interfaces)
    for name, router, mac, prefix in (("u0", R1, R1_MAC, P1), ("u1", R2, R2_MAC, P2)):
        bench.up(name)
        bench.hear(router, mac, advertisement(prefix), name)
    assert [care_of.interface for care_of in bench.attachments.care_of] == ["u1", "u0"]
    bench.up("u2")
    bench.hear(R1, R1_MAC, advertisement(P1), "u2")
    metrics = [route.metric for route in bench.only(SetDefaultRoute)]
    assert len(set(metrics)) == 3
    assert metrics[0] > metrics[1]


def test_ipv6_is_listed_before_ipv4_and_each_is_published_at_once() -> None:
    bench = Bench()
    bench.up()
    bench.take()
    bench.lease()
    assert bench.published() == 1
    bench.hear(R1, R1_MAC, advertisement(P1))
    assert bench.published() == 1
    assert [care_of.address.version for care_of in bench.attachments.care_of] == [6, 4]


def test_interfaces_that_are_not_configured_are_ignored() -> None:
    bench = Bench()
    bench.up("other0")
    bench.hear(R1, R1_MAC, advertisement(P1), "other0")
    bench.hear(R1, R1_MAC, advertisement(P1), "u0")
    assert bench.take() == []


def test_interfaces_come_and_go_and_the_others_are_not_touched() -> None:
    bench = Bench([InterfaceConfig("u0"), InterfaceConfig("u1")])
    for name, router, mac, prefix in (("u0", R1, R1_MAC, P1), ("u1", R2, R2_MAC, P2)):
        bench.up(name)
        bench.hear(router, mac, advertisement(prefix), interface=name)
    bench.pass_time(10)
    assert {address.interface for address in bench.attachments.care_of} == {"u0", "u1"}
    bench.take()

    bench.engine.use_interfaces([InterfaceConfig("u1"), InterfaceConfig("u2")], bench.now)
    told = bench.take()
    assert {one.interface for one in told if isinstance(one, (AddAddress, RemoveAddress))} == {"u0"}
    assert {one.interface for one in told if isinstance(one, RemoveDefaultRoute)} == {"u0"}
    assert [address.interface for address in bench.attachments.care_of] == ["u1"]
    bench.up("u0")
    assert bench.take() == [], "nobody looks at it any more"

    bench.up("u2")
    bench.hear(R1, R1_MAC, advertisement(P1), interface="u2")
    bench.pass_time(10)
    metrics = {one.interface: one.metric for one in bench.take() if isinstance(one, SetDefaultRoute)}
    assert metrics == {"u2": METRIC_BASE + METRIC_STEP * 100}, "the place of the one that went"
    assert {address.interface for address in bench.attachments.care_of} == {"u1", "u2"}
