"""Traffic selectors in words."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from dsmip.daemon.flow_words import selector_in_words
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector

NET = IPv6Address("2001:db8::")


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        (IPv6TrafficSelector(), "IPv6"),
        (IPv4TrafficSelector(), "IPv4"),
        (IPv6TrafficSelector(next_header=(17, 17), source_port=(5000, 5010)), "udp from ports 5000-5010"),
        (
            IPv6TrafficSelector(
                next_header=(6, 6), source=(NET, NET + (1 << 96) - 1), source_port=(443, 443)
            ),
            "tcp from 2001:db8::/32 port 443",
        ),
        (IPv4TrafficSelector(destination=(IPv4Address("192.0.2.1"),) * 2), "IPv4 to 192.0.2.1"),
        (
            IPv4TrafficSelector(source=(IPv4Address("192.0.2.1"), IPv4Address("192.0.2.5"))),
            "IPv4 from 192.0.2.1-192.0.2.5",
        ),
        (IPv4TrafficSelector(dscp=(0xB8, 0xB8), protocol=(99, 100)), "99-100 DSCP 46"),
        (IPv6TrafficSelector(flow_label=(1, 2), spi=(256, 256)), "IPv6 flow label 1-2 SPI 256"),
    ],
)
def test_selectors(selector: IPv4TrafficSelector | IPv6TrafficSelector, words: str) -> None:
    assert selector_in_words(selector) == words
