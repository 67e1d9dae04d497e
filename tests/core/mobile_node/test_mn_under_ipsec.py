"""A mobile node whose signalling is under IPsec believes nothing that comes without (RFC 6275, RFC 4877)."""

from __future__ import annotations

from dataclasses import replace

from mobile_node_bench import CONFIG, HOME_PREFIX, WIFI6, Bench, asked, at, drops, event

from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.wire.icmpv6 import MobilePrefixAdvertisement, MobilePrefixSolicitation, PrefixInformation

UNDER_IPSEC = replace(CONFIG, authentication="ipsec", key=b"", spi=0)
PREFIX = PrefixInformation(HOME_PREFIX, True, True, False, 7200, 7200)


def registered() -> Bench:
    bench = Bench(UNDER_IPSEC)
    bench.attach(0.0, WIFI6)
    bench.receive(bench.acknowledgement(bench.last), 0.02, protected=True)
    assert bench.node.state(at(0.02)) is MobileNodeState.REGISTERED
    return bench


def test_rfc6275_11_7_3_an_acknowledgement_without_ipsec_is_not_believed() -> None:
    bench = Bench(UNDER_IPSEC)
    bench.attach(0.0, WIFI6)
    assert drops(bench.answer(time=0.02)) == ["not-protected"]
    assert bench.node.state(at(0.02)) is MobileNodeState.REGISTERING


def test_rfc6275_11_4_3_an_advertisement_without_ipsec_is_not_believed() -> None:
    """Nor does it make the mobile node ask: anybody could have it do so. With IPsec it does both."""
    bench = registered()
    unasked = bench.prefix_advertisement(MobilePrefixAdvertisement(0xFFFF), time=10.0)
    assert drops(unasked) == ["not-protected"]
    assert asked(unasked, MobilePrefixSolicitation) == []

    provoked = bench.prefix_advertisement(MobilePrefixAdvertisement(0xFFFF), protected=True)
    [(_, solicitation)] = asked(provoked, MobilePrefixSolicitation)
    answer = MobilePrefixAdvertisement(solicitation.identifier, options=(PREFIX,))
    assert drops(bench.prefix_advertisement(answer)) == ["not-protected"]
    told = event(bench.prefix_advertisement(answer, protected=True), "home-prefix").fields
    assert told == {"valid": 7200.0, "others": ""}
