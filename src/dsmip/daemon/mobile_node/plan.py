"""What a mobile node's configuration file means for its engine and for the kernel."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from dsmip.core.mobile_node.config import UNKNOWN, MobileNodeConfig
from dsmip.core.mobile_node.home_agents import HomeAgentAddress
from dsmip.core.types import DSMIP_PORT, IPAddress, IPNetwork
from dsmip.daemon.config.payload import PayloadTable
from dsmip.daemon.config.schema import MobileNodeFile
from dsmip.daemon.config.uplinks import is_multihomed, policy_of
from dsmip.daemon.payload import ProtectedNode
from dsmip.daemon.payload_policies import Ends, Side
from dsmip.daemon.protection import Peer
from dsmip.daemon.signalling_keys import payload_request_of, request_of
from dsmip.host.home_link import own_addresses
from dsmip.host.routing import host_network
from dsmip.movement.engine import InterfaceConfig

#: A mobile node has one binding: that of its home address.
BINDING: Final = 1


def tunnel_ports(address: IPAddress) -> tuple[int, ...]:
    """Outer source ports of tunnelled packets: 0 = protocols 41 and 4."""
    return (0, DSMIP_PORT) if isinstance(address, IPv4Address) else (0,)


def watched_interfaces(config: MobileNodeFile) -> list[InterfaceConfig]:
    """What the movement layer is to look after."""
    return [
        InterfaceConfig(one.name, manage=one.manage, preference=one.preference) for one in config.interface
    ]


def shares_identifier(config: MobileNodeFile) -> bool:
    """Whether the home address has the interface identifier of a link-local address we use on the home link.

    The home agent then defends that one, too (the L flag, RFC 6275 section 11.7.1).
    """
    if config.home_address not in config.home_prefix:
        return False
    identifier = int(config.home_address) & ((1 << 64) - 1)
    link_local = IPv6Address(int(IPv6Address("fe80::")) | identifier)
    interfaces = {interface.name for interface in config.interface}
    return any(address == link_local and name in interfaces for address, name in own_addresses())


def initial_networks(config: MobileNodeFile, home_address: IPv6Address) -> list[IPNetwork]:
    """What belongs to this mobile node before the home agent has said anything. `home_address` is the one in
    use: the configured one, or another after a renumbering."""
    homes = dict.fromkeys((home_address, config.home_address))
    networks: list[IPNetwork] = [*map(host_network, homes), *config.mobile_network_prefixes]
    ipv4 = config.ipv4_home_address
    if ipv4 is not None and ipv4.interface is not None:
        networks.append(host_network(ipv4.interface.ip))
    return [*networks, *config.ipv4_prefixes]


def signalling_peer(config: MobileNodeFile) -> Peer:
    """The home agent, when signalling is under IPsec."""
    local, remote, keys = config.home_address, config.home_agent.address, config.ipsec
    assert remote is not None, "checked with the configuration"
    if keys is None:
        return Peer(local, remote, request_of(local), waits=True)
    return Peer(
        local=local,
        remote=remote,
        request=keys.to_home_agent.spi,
        inbound=keys.from_home_agent.association(),
        outbound=keys.to_home_agent.association(),
    )


def protected_node(config: MobileNodeFile, table: PayloadTable, index: int) -> ProtectedNode:
    """This mobile node, when its payload is under ESP; `index` is that of its binding."""
    assert config.home_agent.address is not None, "checked with the configuration"
    inbound, outbound = table.from_home_agent, table.to_home_agent
    request = outbound.spi if outbound is not None else payload_request_of(config.home_address)
    return ProtectedNode(
        index=index,
        ends=Ends(Side.MOBILE_NODE, config.home_agent.address, config.home_address, request),
        networks=tuple(initial_networks(config, config.home_address)),
        correspondents=table.networks,
        inbound=inbound.association() if inbound is not None else None,
        outbound=outbound.association() if outbound is not None else None,
    )


def engine_config(config: MobileNodeFile) -> MobileNodeConfig:
    """The engine's view of the configuration file."""
    ipv4 = config.ipv4_home_address
    return MobileNodeConfig(
        home_address=config.home_address,
        home_prefix=config.home_prefix,
        home_agent=config.home_agent.address or UNKNOWN,
        home_agent_ipv4=config.home_agent_ipv4,
        other_home_agents=tuple(
            HomeAgentAddress(other.address, other.ipv4_address) for other in config.other_home_agent
        ),
        discovery=config.home_agent_discovery,
        identifier=config.identifier or config.name,
        authentication=config.authentication,
        spi=config.spi,
        key=bytes(config.key or b""),
        key_mobility=config.ike is not None,
        mobile_router=config.role == "mobile-router",
        nemo_mode=config.nemo_mode,
        prefixes=config.mobile_network_prefixes,
        ipv4_home_address=None if ipv4 is None else ipv4.interface.ip if ipv4.interface else "dynamic",
        ipv4_prefixes=config.ipv4_prefixes,
        ipv4_prefix_request=config.ipv4_prefix_request,
        lifetime=config.lifetime,
        udp=config.udp,
        grace=config.grace,
        udp_port=config.udp_port,
        mtu=config.mtu,
        multihoming=(
            policy_of(config.multihoming, config.interface, config.flow)
            if is_multihomed(config.multihoming, config.interface)
            else None
        ),
    )
