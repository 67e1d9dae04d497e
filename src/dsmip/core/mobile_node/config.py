"""What a mobile node or mobile router is told once, when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from dsmip.core.authentication import SecurityAssociation
from dsmip.core.mobile_node.home_agents import HomeAgentAddress
from dsmip.core.mobile_node.policy import Policy
from dsmip.core.types import DSMIP_PORT

#: Seconds between Binding Updates that keep a NAT mapping alive, when the home agent names none
#: (RFC 5555 section 4.3, NATKATIMEOUT).
NAT_KEEPALIVE = 110

#: In place of the home agent's address: it has to be discovered.
UNKNOWN = IPv6Address("::")


@dataclass(frozen=True, slots=True)
class MobileNodeConfig:
    """A mobile node's identity, its home, and what it asks its home agent for.

    `home_agent` is the one in use, at first the first to try: the unspecified address when none is known and
    one has to be discovered. `other_home_agents` are tried when it fails, and after them what `discovery`
    finds (RFC 6275 section 11.4.1).

    `lifetime` is the binding lifetime to ask for, `grace` how long packets to the previous care-of address
    are still taken, `nat_keepalive` the default keepalive interval: all in seconds. `authentication` is
    "mn-ha" (RFC 4285), "ipsec" (RFC 4877) or "none" (closed test networks only). `ipv4_prefix_request` is
    the length of an IPv4 prefix to ask for, 0 = none. `udp` "always" forces UDP in every IPv4 network
    (RFC 5555 section 3.1.3, F flag). `link_local`: the home link's link-local address shares the home
    address's interface identifier (the L flag). `key_mobility`: keys are negotiated, and that survives
    movements (the K flag). `multihoming`: register a care-of address on each uplink
    (RFC 5648) and use them as this policy says; None = the best one only. `mtu` is the most that an inner
    packet may have on whatever path, in octets; 0 = nothing is found out about the MTU of paths.
    """

    home_address: IPv6Address
    home_prefix: IPv6Network
    home_agent: IPv6Address
    home_agent_ipv4: IPv4Address | None = None
    other_home_agents: tuple[HomeAgentAddress, ...] = ()
    discovery: bool = False
    identifier: str = ""
    authentication: Literal["mn-ha", "ipsec", "none"] = "mn-ha"
    spi: int = 256
    key: bytes = field(default=b"", repr=False)
    mobile_router: bool = False
    nemo_mode: Literal["implicit", "explicit"] = "explicit"
    prefixes: tuple[IPv6Network, ...] = ()
    ipv4_home_address: IPv4Address | Literal["dynamic"] | None = None
    ipv4_prefixes: tuple[IPv4Network, ...] = ()
    ipv4_prefix_request: int = 0
    lifetime: int = 600
    udp: Literal["auto", "always"] = "auto"
    link_local: bool = False
    key_mobility: bool = False
    grace: float = 3.0
    nat_keepalive: int = NAT_KEEPALIVE
    udp_port: int = DSMIP_PORT
    multihoming: Policy | None = None
    mtu: int = 0

    @property
    def home_agents(self) -> tuple[HomeAgentAddress, ...]:
        """Every home agent told, in the order of trial."""
        if self.home_agent == UNKNOWN:
            return self.other_home_agents
        return (HomeAgentAddress(self.home_agent, self.home_agent_ipv4), *self.other_home_agents)

    @property
    def security_association(self) -> SecurityAssociation | None:
        """The key shared with the home agent (RFC 4285 section 5.1); None when there is none."""
        if self.authentication != "mn-ha":
            return None
        return SecurityAssociation(spi=self.spi, key=self.key, identifier=self.identifier)
