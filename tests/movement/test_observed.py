"""Links that something else configures."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from dsmip.core.actions import Event
from dsmip.core.types import HomeAttachment
from dsmip.movement.actions import AddressFlags, AttachmentsChanged
from dsmip.movement.engine import InterfaceConfig
from tests.movement.bench import GATEWAY, HOME, P1, R1, R1_MAC, R2, Bench, advertisement

V4, V6 = IPv4Address("10.1.0.9"), IPv6Address("2001:db8:a::9")


def _bench() -> Bench:
    bench = Bench((InterfaceConfig("u0", manage=False),))
    bench.up(link_local=False)
    return bench


def test_an_address_is_usable_with_a_default_route_of_its_family() -> None:
    bench = _bench()
    bench.address(V4, AddressFlags.NONE)
    bench.address(V6, AddressFlags.NONE)
    assert bench.addresses == []
    bench.engine.default_route_added("u0", GATEWAY, 100, bench.now)
    assert bench.networks() == ["v4:10.1.0.1%10.1.0.0/24"]
    bench.engine.default_route_added("u0", R1, 100, bench.now)
    assert bench.networks() == ["v6:fe80::a%2001:db8:a::/64", "v4:10.1.0.1%10.1.0.0/24"]
    bench.engine.default_route_removed("u0", R1, 100, bench.now)
    assert bench.addresses == [str(V4)]


@pytest.mark.parametrize(
    ("flags", "usable"),
    [
        (AddressFlags.TENTATIVE, False),
        (AddressFlags.TENTATIVE | AddressFlags.OPTIMISTIC, True),
        (AddressFlags.DAD_FAILED | AddressFlags.TENTATIVE, False),
        (AddressFlags.DEPRECATED, True),
    ],
)
def test_rfc4862_states_of_an_address(flags: AddressFlags, usable: bool) -> None:
    bench = _bench()
    bench.engine.default_route_added("u0", R1, 100, bench.now)
    bench.address(V6, flags)
    assert bench.addresses == ([str(V6)] if usable else [])


def test_a_deprecated_address_comes_after_a_preferred_one() -> None:
    bench = _bench()
    bench.engine.default_route_added("u0", R1, 100, bench.now)
    bench.address(V6, AddressFlags.DEPRECATED)
    bench.address(IPv6Address("2001:db8:a::10"), AddressFlags.NONE)
    assert bench.addresses == ["2001:db8:a::10", "2001:db8:a::9"]


def test_link_local_loopback_and_home_addresses_are_no_care_of_addresses() -> None:
    bench = _bench()
    bench.engine.default_route_added("u0", R1, 100, bench.now)
    bench.engine.default_route_added("u0", GATEWAY, 100, bench.now)
    for address in (R2, IPv6Address("::1"), HOME[7], IPv4Address("169.254.1.1"), IPv4Address("127.0.0.2")):
        bench.address(address, AddressFlags.NONE)
    assert bench.addresses == []


def test_nothing_is_sent_added_or_removed() -> None:
    bench = _bench()
    bench.address(V6, AddressFlags.NONE)
    bench.engine.default_route_added("u0", R1, 100, bench.now)
    bench.hear(R1, R1_MAC, advertisement(P1))
    bench.lease()
    bench.arp()
    bench.answer(R1, R1_MAC)
    bench.pass_time(100)
    bench.down()
    bench.up(link_local=False)
    assert {type(action) for action in bench.take()} == {Event, AttachmentsChanged}


def test_rfc6275_11_5_2_the_home_link_is_recognised_by_its_advertisements() -> None:
    bench = _bench()
    bench.address(V4, AddressFlags.NONE)
    bench.engine.default_route_added("u0", GATEWAY, 100, bench.now)
    bench.engine.default_route_added("u0", R1, 100, bench.now)
    bench.hear(R1, R1_MAC, advertisement(HOME))
    assert bench.attachments.home == HomeAttachment("u0", 7, R1, GATEWAY)
    assert bench.addresses == []
    bench.engine.default_route_added("u0", R2, 100, bench.now)
    assert bench.attachments.home is None
    bench.hear(R1, R1_MAC, advertisement(HOME, valid=30, preferred=30))
    assert bench.attachments.home is not None
    bench.pass_time(31)
    assert bench.attachments.home is None


def test_link_down_makes_everything_unusable_and_up_believes_the_kernel() -> None:
    bench = _bench()
    bench.address(V6, AddressFlags.NONE)
    bench.engine.default_route_added("u0", R1, 100, bench.now)
    bench.down()
    assert bench.addresses == []
    bench.up(link_local=False)
    assert bench.addresses == [str(V6)]
