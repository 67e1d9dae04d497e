"""Traffic selectors (RFC 6088) the way people say them: "udp from 2001:db8::/32 ports 5000-5010"."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, summarize_address_range

from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector

_PROTOCOLS = {
    1: "icmp",
    6: "tcp",
    17: "udp",
    33: "dccp",
    50: "esp",
    51: "ah",
    58: "icmpv6",
    132: "sctp",
    136: "udp-lite",
}

#: The DSCP is the upper six bits of the octet that selectors name.
_DSCP_SHIFT = 2


def selector_in_words(selector: IPv4TrafficSelector | IPv6TrafficSelector) -> str:
    """What it matches, seen from the correspondent: "from" is the correspondent, "to" the mobile node."""
    words: list[str] = []
    if isinstance(selector, IPv6TrafficSelector):
        family, protocol, traffic_class = "IPv6", selector.next_header, selector.traffic_class
    else:
        family, protocol, traffic_class = "IPv4", selector.protocol, selector.dscp
    words.append(_range(protocol, _PROTOCOLS) if protocol is not None else family)
    for side, addresses, ports in (
        ("from", selector.source, selector.source_port),
        ("to", selector.destination, selector.destination_port),
    ):
        if addresses is not None or ports is not None:
            words.append(side)
        if addresses is not None:
            words.append(_addresses(*addresses))
        if ports is not None:
            words.append(f"port{'s' if ports[0] != ports[1] else ''} {_range(ports)}")
    if traffic_class is not None:
        first, last = traffic_class
        words.append(f"DSCP {_range((first >> _DSCP_SHIFT, last >> _DSCP_SHIFT))}")
    if isinstance(selector, IPv6TrafficSelector) and selector.flow_label is not None:
        words.append(f"flow label {_range(selector.flow_label)}")
    if selector.spi is not None:
        words.append(f"SPI {_range(selector.spi)}")
    return " ".join(words)


def _range(span: tuple[int, int], names: dict[int, str] | None = None) -> str:
    first, last = ((names or {}).get(number, str(number)) for number in span)
    return first if first == last else f"{first}-{last}"


def _addresses(first: IPv4Address | IPv6Address, last: IPv4Address | IPv6Address) -> str:
    """As a prefix where it is one."""
    if first == last:
        return str(first)
    networks = list(summarize_address_range(first, last)) if int(first) < int(last) else []
    return str(networks[0]) if len(networks) == 1 else f"{first}-{last}"
