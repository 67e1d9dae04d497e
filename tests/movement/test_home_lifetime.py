"""How long the home prefix lasts, as the home link's router says (RFC 6275 sections 11.5.2 and 11.7.1)."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest

from dsmip.movement.engine import InterfaceConfig
from dsmip.wire.icmpv6 import PrefixInformation, RouterAdvertisement
from tests.movement.bench import HOME, R1, R1_MAC, Bench, advertisement

NEW = IPv6Network("2001:db8:101::/64")
OTHER = IPv6Network("2001:db8:102::/64")


def heard(bench: Bench, seconds: float, valid: int) -> float | None:
    """The end of the home prefix as published, from `seconds` on with an advertisement of `valid` seconds."""
    bench.now = bench.now._replace(monotonic=100.0 + seconds, unix=1_000_100.0 + seconds)
    bench.engine.router_advertisement(
        "u0", R1, R1_MAC, advertisement(HOME, valid=valid, preferred=0), bench.now
    )
    home = bench.engine.attachments.home
    assert home is not None
    return home.valid_until


@pytest.fixture(params=[True, False], ids=["managed", "observed"])
def bench(request: pytest.FixtureRequest) -> Bench:
    bench = Bench((InterfaceConfig("u0", manage=request.param),))
    bench.engine.link_up("u0", 5, bytes.fromhex("020000000001"), bench.now)
    return bench


def test_the_home_attachment_carries_the_end_of_the_prefix(bench: Bench) -> None:
    assert heard(bench, 0.0, 1000) == 1100.0


def test_infinity_has_no_end(bench: Bench) -> None:
    assert heard(bench, 0.0, 0xFFFFFFFF) is None


def test_a_cut_is_published_a_renewal_only_when_half_has_passed(bench: Bench) -> None:
    assert heard(bench, 0.0, 1000) == 1100.0
    assert heard(bench, 10.0, 1000) == 1100.0  # a little longer: not worth telling
    assert heard(bench, 20.0, 100) == 220.0
    assert heard(bench, 30.0, 1000) == 1130.0


def successor(bench: Bench, *prefixes: PrefixInformation) -> IPv6Network | None:
    """What the home link has instead of the home prefix after an advertisement of these."""
    message = RouterAdvertisement(router_lifetime=1800, options=prefixes)
    bench.engine.router_advertisement("u0", R1, R1_MAC, message, bench.now)
    home = bench.engine.attachments.home
    assert home is not None
    return home.successor


def prefix(network: IPv6Network, preferred: int, *, autonomous: bool = True) -> PrefixInformation:
    return PrefixInformation(network, True, autonomous, False, 86400, preferred)


def test_a_deprecated_home_prefix_has_a_successor(bench: Bench) -> None:
    given_up = prefix(HOME, 0)
    assert successor(bench, given_up) is None
    assert successor(bench, prefix(HOME, 1), prefix(NEW, 86400)) is None
    assert successor(bench, given_up, prefix(NEW, 0)) is None
    assert successor(bench, given_up, prefix(NEW, 86400, autonomous=False)) is None
    assert successor(bench, given_up, prefix(OTHER, 3600), prefix(NEW, 86400)) == NEW
    bench.engine.use_home_prefix(NEW)
    assert successor(bench, given_up, prefix(NEW, 86400)) is None
