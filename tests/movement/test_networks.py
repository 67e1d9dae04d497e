"""The memory of known networks, and stable interface identifiers."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest

from dsmip.movement.actions import DhcpLease
from dsmip.movement.identifiers import StableIdentifiers
from dsmip.movement.networks import KnownGateway, KnownNetworks, KnownPrefix, KnownRouter
from tests.movement.bench import GATEWAY, GATEWAY_MAC, MAC, P1, P2, R1, R1_MAC, SECRET, Bench, advertisement

ROUTER = KnownRouter(
    interface="u0",
    router=R1,
    mac=R1_MAC,
    prefixes=(KnownPrefix(P1, True, True, 2000.0, 1500.0, IPv6Address("2001:db8:a::9")),),
    lifetime_until=1900.0,
    seen=1000.0,
    mtu=1400,
)
LEASE = DhcpLease(IPv4Address("10.1.0.9"), 24, 1000.0, 600.0, GATEWAY, GATEWAY, GATEWAY_MAC, 1450)
NETWORK = KnownGateway("u0", MAC, GATEWAY, GATEWAY_MAC, LEASE, 1000.0, home=True)


def test_memory_survives_as_json() -> None:
    memory = KnownNetworks()
    memory.remember_router(ROUTER)
    memory.remember_gateway(NETWORK)
    again = KnownNetworks()
    again.load(memory.encode())
    assert list(again.routers("u0", 1000.0)) == [ROUTER]
    assert list(again.gateways("u0", MAC, 1000.0)) == [NETWORK]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"routers":[{"router":"x"}]}', b'{"gateways":[{"interface":1}]}']
)
def test_a_damaged_memory_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        KnownNetworks().load(data)


def test_the_memory_is_bounded_and_forgets_the_oldest() -> None:
    memory = KnownNetworks(limit=10)
    for number in range(100):
        mac = number.to_bytes(6, "big")
        memory.remember_router(replace(ROUTER, mac=mac, seen=float(number)))
        memory.remember_gateway(replace(NETWORK, mac=mac, seen=float(number)))
    assert len(memory) == 20
    assert memory.router("u0", R1, (99).to_bytes(6, "big")) is not None
    assert memory.router("u0", R1, (89).to_bytes(6, "big")) is None


def test_rfc4436_2_1_a_link_local_and_expired_leases_are_not_operable() -> None:
    assert NETWORK.operable(1599.0)
    assert not NETWORK.operable(1600.0)
    link_local = replace(NETWORK, lease=replace(LEASE, address=IPv4Address("169.254.3.4")))
    assert not link_local.operable(1000.0)


def test_a_network_remembered_on_disk_is_confirmed_after_a_restart() -> None:
    first = Bench()
    first.up()
    first.hear(R1, R1_MAC, advertisement(P1))
    addresses = first.addresses
    first.down()
    memory = KnownNetworks()
    memory.load(first.memory.encode())
    second = Bench(memory=memory)
    second.up()
    second.answer(R1, R1_MAC)
    assert second.addresses == addresses


def test_rfc7217_5_the_same_inputs_give_the_same_address_and_others_another() -> None:
    identifiers = StableIdentifiers(SECRET)
    address = identifiers.address(P1, "u0")
    assert address in P1
    assert address == StableIdentifiers(SECRET).address(P1, "u0")
    others = {
        identifiers.address(P1, "u0", 1),
        identifiers.address(P1, "u1"),
        StableIdentifiers(bytes(32)).address(P1, "u0"),
    }
    assert address not in others
    assert len(others) == 3
    other = identifiers.address(P2, "u0")
    assert int(other) & (2**64 - 1) != int(address) & (2**64 - 1)


def test_rfc5453_reserved_identifiers_are_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    free = StableIdentifiers(SECRET).address(P1, "u0")
    number = int(free) & (2**64 - 1)
    monkeypatch.setattr("dsmip.movement.identifiers._RESERVED", (range(number, number + 1),))
    other = StableIdentifiers(SECRET).address(P1, "u0")
    assert other in IPv6Network(P1)
    assert other != free


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="16 octets"):
        StableIdentifiers(b"short")
