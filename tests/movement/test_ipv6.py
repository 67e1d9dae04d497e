"""Router discovery, address autoconfiguration and attachment to known IPv6 networks."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from dsmip.movement.actions import (
    AddAddress,
    AddressFlags,
    AttachmentsChanged,
    ProbeRouter,
    RemoveAddress,
    RemoveDefaultRoute,
    SetDefaultRoute,
    SetMtu,
    SolicitRouters,
)
from dsmip.wire.icmpv6 import NeighborAdvertisement
from tests.movement.bench import LINK_LOCAL, P1, P2, R1, R1_MAC, R2, R2_MAC, Bench, advertisement


def test_rfc6059_5_5_1_router_solicitation_leaves_at_link_up_from_the_link_local_address() -> None:
    bench = Bench()
    bench.up()
    assert bench.only(SolicitRouters) == [SolicitRouters("u0", LINK_LOCAL)]


def test_rfc4861_4_1_router_solicitation_from_the_unspecified_address_without_a_link_local_one() -> None:
    bench = Bench()
    bench.up(link_local=False)
    assert bench.only(SolicitRouters) == [SolicitRouters("u0", None)]


def test_rfc4861_6_3_7_three_solicitations_four_seconds_apart_then_silence() -> None:
    bench = Bench()
    bench.up()
    assert len(bench.only(SolicitRouters)) == 1
    bench.pass_time(3.9)
    assert bench.only(SolicitRouters) == []
    bench.pass_time(0.2)
    assert len(bench.only(SolicitRouters)) == 1
    bench.pass_time(60)
    assert len(bench.only(SolicitRouters)) == 1


def test_rfc4861_6_3_7_no_solicitation_after_a_default_router_was_heard() -> None:
    bench = Bench()
    bench.up()
    bench.take()
    bench.hear(R1, R1_MAC, advertisement(P1))
    bench.pass_time(20)
    assert bench.only(SolicitRouters) == []


def test_a_solicitation_lost_while_the_link_came_up_is_repeated_when_something_else_gets_through() -> None:
    bench = Bench()
    bench.up()
    bench.pass_time(0.26)
    bench.take()
    bench.lease()
    assert len(bench.only(SolicitRouters)) == 1
    bench.lease()
    bench.pass_time(3.9)
    assert bench.only(SolicitRouters) == []


def test_a_solicitation_that_may_still_be_answered_is_not_repeated() -> None:
    bench = Bench()
    bench.up()
    bench.take()
    bench.pass_time(0.01)
    bench.lease()
    assert bench.only(SolicitRouters) == []


def test_rfc4862_5_5_3_advertisement_gives_a_usable_address_and_route_before_it_is_published() -> None:
    bench = Bench()
    bench.up()
    bench.take()
    bench.hear(R1, R1_MAC, advertisement(P1))
    kinds = [type(action) for action in bench.engine._actions]
    assert kinds.index(AddAddress) < kinds.index(AttachmentsChanged)
    assert kinds.index(SetDefaultRoute) < kinds.index(AttachmentsChanged)
    actions = bench.take()
    added = next(action for action in actions if isinstance(action, AddAddress))
    assert added.address in P1
    assert (added.valid, added.preferred, added.dad, added.on_link) == (86400, 14400, True, True)
    route = next(action for action in actions if isinstance(action, SetDefaultRoute))
    assert (route.gateway, route.mac) == (R1, R1_MAC)
    (care_of,) = bench.attachments.care_of
    assert (care_of.address, care_of.gateway, care_of.ifindex) == (added.address, R1, 7)
    assert care_of.network == "v6:fe80::a%2001:db8:a::/64"
    assert care_of.valid_until == bench.now.monotonic + 86400


@pytest.mark.parametrize(
    "message",
    [
        advertisement(P1, autonomous=False),
        advertisement(IPv6Network("fe80::/64")),
        advertisement(P1, valid=10, preferred=20),
        advertisement(IPv6Network("2001:db8:a::/72")),
        advertisement(P1, valid=0, preferred=0),
    ],
)
def test_rfc4862_5_5_3_prefixes_that_form_no_address(message: object) -> None:
    bench = Bench()
    bench.up()
    bench.take()
    bench.hear(R1, R1_MAC, message)  # type: ignore[arg-type]
    assert bench.only(AddAddress) == []
    assert bench.addresses == []


def test_rfc4862_5_5_3_e_two_hour_rule() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1, valid=86400))
    start = bench.now.monotonic
    bench.hear(R1, R1_MAC, advertisement(P1, valid=60, preferred=60))
    assert bench.attachments.care_of[0].valid_until == start + 7200
    bench.pass_time(10)
    bench.hear(R1, R1_MAC, advertisement(P1, valid=60, preferred=60))
    assert bench.attachments.care_of[0].valid_until == start + 7200
    bench.hear(R1, R1_MAC, advertisement(P1, valid=7500))
    assert bench.attachments.care_of[0].valid_until == start + 7200
    bench.take()
    bench.hear(R1, R1_MAC, advertisement(P1, valid=86400))
    assert [added.valid for added in bench.only(AddAddress)] == [86400]


def test_rfc4862_5_5_4_an_expired_address_is_removed() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1, valid=30, preferred=30))
    assert len(bench.addresses) == 1
    bench.take()
    bench.pass_time(31)
    assert len(bench.only(RemoveAddress)) == 1
    assert bench.addresses == []


def test_rfc4862_5_5_4_a_deprecated_address_gives_way_to_a_preferred_one() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1))
    old = bench.addresses
    bench.hear(R1, R1_MAC, advertisement(P1, preferred=0))
    assert bench.addresses == old
    bench.hear(R1, R1_MAC, advertisement(P2))
    assert len(bench.addresses) == 1
    assert IPv6Address(bench.addresses[0]) in P2


def test_rfc4862_5_4_5_a_duplicate_address_is_replaced_by_the_next() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1))
    seen = set()
    for _ in range(4):
        (address,) = bench.addresses
        assert address not in seen
        seen.add(address)
        flags = AddressFlags.DAD_FAILED | AddressFlags.TENTATIVE
        bench.engine.address_removed("u0", IPv6Address(address), flags, bench.now)
    assert bench.addresses == []


def test_rfc4429_without_optimistic_detection_an_address_waits_for_the_kernel() -> None:
    bench = Bench(optimistic=False)
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1))
    (added,) = bench.only(AddAddress)
    assert bench.addresses == []
    bench.address(added.address, AddressFlags.TENTATIVE)
    assert bench.addresses == []
    bench.address(added.address, AddressFlags.NONE)
    assert bench.addresses == [str(added.address)]


def test_rfc4861_6_3_4_mtu_option_between_1280_and_the_links_own() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1, mtu=1400))
    assert bench.only(SetMtu) == [SetMtu("u0", 1400)]
    assert bench.attachments.care_of[0].mtu == 1400
    bench.hear(R1, R1_MAC, advertisement(P1, mtu=9000))
    assert bench.only(SetMtu) == [SetMtu("u0", 1500)]
    bench.hear(R1, R1_MAC, advertisement(P1, mtu=600))
    assert bench.attachments.care_of[0].mtu == 1500


def test_the_mtu_of_an_interface_may_change() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1))
    bench.take()
    bench.engine.link_mtu("u0", 1400, bench.now)
    assert bench.published() == 1
    assert bench.attachments.care_of[0].mtu == 1400


def test_rfc4861_6_3_4_router_lifetime_zero_ends_the_default_route() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1))
    bench.take()
    bench.hear(R1, R1_MAC, advertisement(P1, lifetime=0))
    assert [route.gateway for route in bench.only(RemoveDefaultRoute)] == [R1]
    assert bench.addresses == []


def test_unchanged_advertisements_publish_nothing_and_touch_nothing() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1))
    bench.take()
    for _ in range(50):
        bench.pass_time(0.05)
        bench.hear(R1, R1_MAC, advertisement(P1))
    assert bench.take() == []


def test_an_address_somebody_deletes_is_put_back_but_not_for_ever() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1))
    (address,) = bench.addresses
    bench.take()
    for _ in range(5):
        bench.engine.address_removed("u0", IPv6Address(address), AddressFlags.NONE, bench.now)
        bench.pass_time(0.1)
        assert [str(added.address) for added in bench.only(AddAddress)] == [address]
    bench.engine.address_removed("u0", IPv6Address(address), AddressFlags.NONE, bench.now)
    bench.pass_time(0.1)
    assert bench.only(AddAddress) == []
    assert bench.addresses == []


# Known networks --------------------------------------------------------------------------------------------


def _visited() -> Bench:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1))
    bench.pass_time(5)
    bench.down()
    assert bench.addresses == []
    bench.take()
    bench.pass_time(5)
    return bench


def test_rfc6059_5_4_link_down_makes_every_address_inoperable() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1))
    bench.take()
    bench.down()
    actions = bench.take()
    assert [type(a) for a in actions if isinstance(a, RemoveAddress | RemoveDefaultRoute)] == [
        RemoveDefaultRoute,
        RemoveAddress,
    ]
    assert bench.attachments.care_of == ()


def test_rfc6059_5_5_3_solicitation_and_probe_leave_together() -> None:
    bench = _visited()
    bench.up()
    actions = bench.take()
    assert SolicitRouters("u0", LINK_LOCAL) in actions
    assert ProbeRouter("u0", LINK_LOCAL, R1, R1_MAC) in actions


def test_rfc6059_5_7_1_an_answer_restores_address_and_route_without_dad() -> None:
    bench = _visited()
    bench.up()
    bench.take()
    bench.pass_time(0.002)
    bench.answer(R1, R1_MAC)
    actions = bench.take()
    added = next(action for action in actions if isinstance(action, AddAddress))
    assert not added.dad
    assert added.valid == pytest.approx(86400 - 10.002)
    assert [str(added.address)] == bench.addresses
    assert any(isinstance(action, SetDefaultRoute) and action.mac == R1_MAC for action in actions)


def test_rfc6059_5_7_1_link_local_and_mac_must_both_match() -> None:
    bench = _visited()
    bench.up()
    bench.answer(R1, R2_MAC)
    bench.answer(R2, R1_MAC)
    unsolicited = NeighborAdvertisement(R1, router=True, solicited=False)
    bench.engine.neighbor_advertisement("u0", R1_MAC, unsolicited, bench.now)
    assert bench.addresses == []


def test_rfc6059_5_11_at_most_two_retransmissions_and_none_after_an_answer() -> None:
    bench = _visited()
    bench.up()
    bench.pass_time(10)
    assert len(bench.only(ProbeRouter)) == 3
    bench.down()
    bench.pass_time(2)
    bench.up()
    bench.answer(R1, R1_MAC)
    bench.take()
    bench.pass_time(3)
    assert bench.only(ProbeRouter) == []


def test_rfc6059_5_11_not_more_than_once_a_second() -> None:
    bench = _visited()
    bench.up()
    assert len(bench.only(ProbeRouter)) == 1
    bench.down()
    bench.pass_time(0.3)
    bench.up()
    assert bench.only(ProbeRouter) == []
    bench.pass_time(0.71)
    assert len(bench.only(ProbeRouter)) == 1


def test_rfc6059_5_5_2_no_probe_once_the_prefix_has_expired() -> None:
    bench = _visited()
    bench.pass_time(90_000)
    bench.up()
    assert bench.only(ProbeRouter) == []


def test_rfc6059_5_5_3_at_most_six_routers() -> None:
    bench = Bench()
    for number in range(1, 10):
        bench.up()
        router, mac = IPv6Address(f"fe80::{number}"), bytes((2, 0, 0, 0, 0, number))
        bench.hear(router, mac, advertisement(IPv6Network(f"2001:db8:{number}::/64")))
        bench.pass_time(2)
        bench.down()
    bench.take()
    bench.up()
    assert [int(probe.router) & 0xFF for probe in bench.only(ProbeRouter)] == [9, 8, 7, 6, 5, 4]


def test_rfc6059_5_7_2_an_advertisement_beats_the_answer_of_the_same_router() -> None:
    bench = _visited()
    bench.up()
    bench.answer(R1, R1_MAC)
    assert [IPv6Address(address) in P1 for address in bench.addresses] == [True]
    bench.hear(R1, R1_MAC, advertisement(P2))
    assert any(IPv6Address(address) in P2 for address in bench.addresses)


def test_rfc6059_5_10_a_prefix_missing_from_three_advertisements_is_forgotten() -> None:
    bench = Bench()
    bench.up()
    bench.hear(R1, R1_MAC, advertisement(P1, P2))
    for _ in range(3):
        bench.hear(R1, R1_MAC, advertisement(P2))
    known = bench.memory.router("u0", R1, R1_MAC)
    assert known is not None
    assert [prefix.prefix for prefix in known.prefixes] == [P2]


def test_rfc4429_3_1_no_probe_from_an_optimistic_address() -> None:
    bench = _visited()
    bench.engine.address_removed("u0", LINK_LOCAL, AddressFlags.NONE, bench.now)
    bench.address(LINK_LOCAL, AddressFlags.TENTATIVE | AddressFlags.OPTIMISTIC)
    bench.up(link_local=False)
    actions = bench.take()
    assert SolicitRouters("u0", LINK_LOCAL) in actions
    assert not any(isinstance(action, ProbeRouter) for action in actions)
    bench.address(LINK_LOCAL, AddressFlags.NONE)
    assert len(bench.only(ProbeRouter)) == 1
