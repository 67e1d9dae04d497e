"""What a home agent puts into kernel and data plane for a configuration and a binding: pure decisions."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Address, IPv6Network

import msgspec

from dsmip.core.frozen_entries import fields_of
from dsmip.core.home_agent.engine import HomeAgentConfig
from dsmip.core.types import (
    DSMIP_PORT,
    Binding,
    CareOfBinding,
    IPAddress,
    IPNetwork,
    Nat,
    Path,
    TunnelFormat,
)
from dsmip.daemon.config.payload import PayloadTable
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeTable
from dsmip.daemon.frozen_tables import FrozenTables
from dsmip.daemon.payload import ProtectedNode
from dsmip.daemon.payload_policies import Ends, Side
from dsmip.daemon.protection import Peer
from dsmip.daemon.signalling_keys import payload_request_of, request_of
from dsmip.host.routing import halves, host_network
from dsmip.wire.extensions import Extensions

#: What the data plane can do beyond the RFCs.
EXTENSIONS = Extensions.DUPLICATION | Extensions.PROBES


class OuterSource(msgspec.Struct, frozen=True, gc=False):
    """Where a mobile node may tunnel from: `port` 0 = protocols 41 and 4, otherwise UDP from that port.

    `until` is CLOCK_MONOTONIC seconds, `bid` the path whose packets these are.
    """

    address: IPAddress
    port: int
    until: float
    bid: int

    @property
    def key(self) -> SourceKey:
        """Address and port alone."""
        return self.address.packed, self.port


#: An outer source by the octets of its address: the hash of an address object takes a microsecond.
SourceKey = tuple[bytes, int]


def engine_config(config: HomeAgentFile) -> HomeAgentConfig:
    """The engine's view of the configuration file."""
    return HomeAgentConfig(
        address=config.address,
        ipv4_address=config.ipv4_address,
        home_prefixes=config.home_prefixes,
        ipv4_home_prefixes=config.ipv4_home_prefixes,
        mobile_nodes=FrozenTables.of(config.mobile_node).entries,
        max_lifetime=config.max_lifetime,
        udp=config.udp_encapsulation,
        nat_keepalive=config.nat_keepalive,
        ipv4_pool=config.ipv4_pool,
        ipv4_prefix_pool=config.ipv4_prefix_pool,
        home_link=config.home_link is not None,
        dad=config.home_link is not None and config.duplicate_address_detection,
        grace=config.grace,
        timestamp_tolerance=config.timestamp_tolerance,
        max_bindings=config.max_bindings,
        error_rate=config.error_rate,
        preference=config.home_agent_preference,
        mobile_prefix_advertisements=config.mobile_prefix_advertisements,
        renumbering=config.renumbering,
        mobile_prefix_interval=(config.min_mobile_prefix_interval, config.max_mobile_prefix_interval),
        multiple_care_of_addresses=config.multiple_care_of_addresses,
        bulk_registration=config.bulk_registration,
        simultaneous_home=config.simultaneous_home,
        flow_bindings=config.flow_bindings,
        extensions=EXTENSIONS,
    )


def signalling_peer(config: HomeAgentFile, node: MobileNodeTable) -> Peer:
    """A mobile node whose signalling is under IPsec. The home address names it (RFC 4877 section 4.1)."""
    keys = node.ipsec
    if keys is None:
        return Peer(config.address, node.home_address, request_of(node.home_address))
    return Peer(
        local=config.address,
        remote=node.home_address,
        request=keys.to_home_agent.spi,
        inbound=keys.to_home_agent.association(),
        outbound=keys.from_home_agent.association(),
    )


def protected_node(
    config: HomeAgentFile, node: MobileNodeTable, table: PayloadTable, index: int
) -> ProtectedNode:
    """A mobile node whose payload is under ESP; `index` is that of its bindings."""
    networks: list[IPNetwork] = [host_network(node.home_address), *node.mobile_network_prefixes]
    if node.ipv4_home_address is not None:
        networks.append(host_network(node.ipv4_home_address))
    inbound, outbound = table.to_home_agent, table.from_home_agent
    request = inbound.spi if inbound is not None else payload_request_of(node.home_address)
    return ProtectedNode(
        index=index,
        ends=Ends(Side.HOME_AGENT, config.address, node.home_address, request),
        networks=(*networks, *node.ipv4_prefixes),
        correspondents=table.networks,
        inbound=inbound.association() if inbound is not None else None,
        outbound=outbound.association() if outbound is not None else None,
    )


def routed_networks(config: HomeAgentFile) -> list[IPNetwork]:
    """What is routed into the tunnel device: aggregates, never one binding."""
    pools = config.pools
    ipv6 = [*config.home_prefixes, *config.mobile_prefixes, *pools.mobile_network_prefixes]
    ipv4 = [*config.ipv4_home_prefixes, *config.ipv4_mobile_prefixes, *pools.ipv4_prefixes]
    ipv4 += [pool for pool in (config.ipv4_pool, config.ipv4_prefix_pool) if pool is not None]
    # A fleet's prefixes are in these already, one and all: nothing is made of them that is not needed.
    spans6, spans4 = list(map(_span, ipv6)), list(map(_span, ipv4))
    for record in FrozenTables.of(config.mobile_node).records:
        fields = fields_of(record)
        ipv6 += (IPv6Network((number, length)) for number, length in _outside(fields.prefixes, spans6))
        ipv4 += (IPv4Network((number, length)) for number, length in _outside(fields.ipv4_prefixes, spans4))
    routed: list[IPNetwork] = list(ipaddress.collapse_addresses(ipv6))
    for network in ipaddress.collapse_addresses(ipv4):
        # On a home link the kernel has a connected route to this very network, which only a more specific
        # one beats.
        connected = config.home_link is not None and network in config.ipv4_home_prefixes
        routed += halves(network) if connected else (network,)
    return routed


def _span(network: IPNetwork) -> tuple[int, int]:
    return int(network.network_address), int(network.broadcast_address)


def _outside(
    prefixes: tuple[tuple[bytes, int], ...], spans: list[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Those of the prefixes (numbers and lengths) that begin in none of the spans, or are larger."""
    for octets, length in prefixes:
        first = int.from_bytes(octets)
        last = first + (1 << (8 * len(octets) - length)) - 1
        if not any(start <= first and last <= end for start, end in spans):
            yield first, length


def path_of(entry: CareOfBinding, home_address: IPv6Address, config: HomeAgentFile, home_link: int) -> Path:
    """How packets reach this care-of address as long as it is bound. `home_link` is an ifindex."""
    if entry.at_home:
        return on_home_link(home_address, config, home_link, entry.ends)
    if entry.format is TunnelFormat.IPV6:
        return Path(entry.format, local=config.address, remote=entry.care_of, expires=entry.ends)
    assert config.ipv4_address is not None, "a binding over IPv4 without an IPv4 address of our own"
    if entry.format is TunnelFormat.UDP4 and entry.nat_source is not None:
        return Path(
            entry.format,
            local=config.ipv4_address,
            remote=entry.nat_source.address,
            local_port=DSMIP_PORT,
            remote_port=entry.nat_source.port,
            expires=entry.ends,
        )
    return Path(entry.format, local=config.ipv4_address, remote=entry.care_of, expires=entry.ends)


def on_home_link(
    home_address: IPv6Address, config: HomeAgentFile, home_link: int, expires: float | None = None
) -> Path:
    """How packets reach a mobile node that is at home, until `expires` (CLOCK_MONOTONIC seconds)."""
    return Path(
        TunnelFormat.LINK,
        local=config.address,
        remote=home_address,
        interface=home_link,
        next_hop=home_address,
        expires=expires,
    )


def outer_sources(binding: Binding) -> dict[SourceKey, OuterSource]:
    """Outer source addresses and ports this mobile node may tunnel from.

    Without a NAT both plain and UDP encapsulation are accepted, whichever the mobile node chose: the home
    agent's wish is known to it only one round trip later (RFC 5555 4.4.2 and 4.5 differ here).
    """
    sources: dict[SourceKey, OuterSource] = {}
    for entry in binding.care_ofs:
        for source in _sources_of(entry):
            # Two may share one: it is good as long as one of them is.
            known = sources.get(key := source.key)
            if known is None or known.until < source.until:
                sources[key] = source
    return sources


def _sources_of(entry: CareOfBinding) -> tuple[OuterSource, ...]:
    if entry.at_home:
        return ()
    ends, bid = entry.ends, entry.bid
    if entry.nat_source is None:
        return (OuterSource(entry.care_of, 0, ends, bid),)
    address, port = entry.nat_source
    behind = OuterSource(address, port, ends, bid)
    if entry.nat is Nat.DETECTED:
        return (behind,)
    return (OuterSource(address, 0, ends, bid), behind)


def defended(binding: Binding, config: HomeAgentFile) -> list[IPAddress]:
    """Addresses on the home link to answer for while the mobile node is away (RFC 6275 10.4.1), and nowhere
    but away (RFC 5648 section 6.3)."""
    addresses: list[IPAddress] = []
    if binding.at_home:
        return addresses
    if binding.former is not None and any(binding.former in prefix for prefix in config.home_prefixes):
        addresses.append(binding.former)
    if any(binding.home_address in prefix for prefix in config.home_prefixes):
        addresses.append(binding.home_address)
        if binding.link_local:
            interface_id = int(binding.home_address) & 0xFFFF_FFFF_FFFF_FFFF
            addresses.append(IPv6Address(0xFE80 << 112 | interface_id))
    ipv4 = binding.ipv4_home_address
    if ipv4 is not None and any(ipv4 in prefix for prefix in config.ipv4_home_prefixes):
        addresses.append(ipv4)
    return addresses


def networks_at_home(
    node: MobileNodeTable, home_address: IPv6Address, config: HomeAgentFile
) -> list[IPNetwork]:
    """Prefixes to hand to a mobile router over the home link while it is there (RFC 3963 section 8)."""
    if not any(home_address in prefix for prefix in config.home_prefixes):
        return []
    return [*node.mobile_network_prefixes, *node.ipv4_prefixes]
