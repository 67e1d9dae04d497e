"""Who takes part: home agents, mobile nodes and access networks, all drawn from the seed.

Everything about one mobile node comes from a generator of its own, so that leaving others out changes as
little as possible for it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec

from dsmip.core.flow_selectors import FlowDescription
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.policy import FlowPolicy, InterfacePolicy, Policy, Probing, UplinkChoice
from dsmip.core.types import DSMIP_PORT, MobileNodeEntry
from dsmip.daemon.config.keys import Key
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeTable

#: Name of the home agents' interface on the home link.
HOME_LINK = "home"

#: Interfaces of a mobile node: two radios, and one for the home link.
RADIOS = ("wlan0", "wwan0")
HOME_INTERFACE = "eth0"

#: Where correspondents are; a flow is told by one of these.
REMOTES: tuple[IPv4Network | IPv6Network, ...] = (
    IPv6Network("2001:db8:c::/64"),
    IPv6Network("2001:db8:c:1::/64"),
    IPv4Network("192.0.2.192/27"),
    IPv4Network("192.0.2.224/27"),
)

#: From here on a NAT mapping outlives the keepalives of every home agent here (RFC 5555 section 4.3).
DECENT_NAT_TIMEOUT = 150.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything. `steps` faults and movements, one every `pace` seconds on average."""

    nodes: int
    agents: int
    accesses: int
    steps: int
    pace: float
    #: Whether the maps of home agents are full from time to time.
    full_maps: bool = False

    @classmethod
    def of(cls, seed: int) -> Scale:
        """Small worlds mostly, which are checked more often; every fortieth is a large one."""
        rng = random.Random(f"{seed}/scale")
        if seed % 40 == 39:
            return cls(nodes=rng.randint(200, 400), agents=4, accesses=40, steps=500, pace=0.2)
        return cls(
            nodes=rng.randint(3, 14),
            agents=rng.randint(1, 4),
            accesses=rng.randint(4, 10),
            steps=rng.randint(60, 130),
            pace=rng.choice((0.3, 1.0, 3.0)),
        )


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """One home agent: its configuration file, and how its machine is."""

    number: int
    file: HomeAgentFile
    sqlite: bool
    skew: float


@dataclass(frozen=True, slots=True)
class AccessPlan:
    """One visited network.

    `public` is the address of its NAT if it has one. `filters` tells which way protocols 41 and 4 are
    dropped: "", "both" or "in". `breaks_ipv6`: nothing gets through over IPv6, though addresses are there.
    """

    name: str
    ipv6: IPv6Network | None
    ipv4: IPv4Network | None
    public: IPv4Address | None
    filters: str
    breaks_ipv6: bool
    nat_timeout: float
    lease: float | None


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One mobile node: its configuration with each of the home agents that serve it."""

    number: int
    configs: tuple[tuple[int, MobileNodeConfig], ...]
    skew: float
    preference: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole world."""

    agents: tuple[AgentPlan, ...]
    accesses: tuple[AccessPlan, ...]
    nodes: tuple[NodePlan, ...]


def draw(seed: int, scale: Scale, only: frozenset[int] | None = None) -> Plan:
    """The world of this seed, with these nodes `only` if that is given."""
    chosen = [n for n in range(scale.nodes) if only is None or n in only]
    tables: dict[int, list[MobileNodeTable]] = {number: [] for number in range(scale.agents)}
    nodes = [_node(seed, number, scale.agents, tables) for number in chosen]
    agents = [_agent(seed, number, tables[number]) for number in range(scale.agents)]
    accesses = [_access(seed, number) for number in range(scale.accesses)]
    return Plan(tuple(agents), tuple(accesses), tuple(nodes))


def agent_address(number: int) -> IPv6Address:
    """Where this home agent is."""
    return IPv6Address((0x20010DB8_0100_0000 + (number // 2 << 16)) << 64 | 1 + number % 2)


def agent_ipv4(number: int) -> IPv4Address:
    """The same in IPv4."""
    return IPv4Address(f"198.51.100.{1 + number}")


def home_prefix(number: int) -> IPv6Network:
    """The home network of this home agent; twins, an even and the odd number after it, share one."""
    return IPv6Network((int(agent_address(number)) >> 64 << 64, 64))


def _agent(seed: int, number: int, tables: list[MobileNodeTable]) -> AgentPlan:
    rng = random.Random(f"{seed}/agent/{number}")
    dynamic = sum(table.allow_dynamic_ipv4 for table in tables)
    # Just large enough: a single address lost for good is one too many.
    bits = max(2, (dynamic + 2 - 1).bit_length())
    file = HomeAgentFile(
        role="home-agent",
        name=f"agent{number}",
        address=agent_address(number),
        ipv4_address=agent_ipv4(number),
        uplinks=("uplink",),
        home_link=HOME_LINK if rng.random() < 0.5 else None,
        home_prefixes=(home_prefix(number),),
        ipv4_home_prefixes=(IPv4Network(f"10.{200 + number}.0.0/16"),),
        ipv4_pool=IPv4Network((int(IPv4Address(f"10.{number}.0.0")), 32 - bits)),
        ipv4_prefix_pool=IPv4Network((int(IPv4Address(f"10.{100 + number}.0.0")), 29 - bits)),
        duplicate_address_detection=rng.random() < 0.7,
        max_lifetime=rng.choice((40, 120, 3600)),
        udp_encapsulation=rng.choice(("accept", "accept", "accept", "force", "refuse")),
        nat_keepalive=rng.choice((20, 50, 110)),
        grace=rng.choice((0.5, 3.0)),
        mobile_node=tuple(tables),
    )
    sqlite, skew = rng.random() < 0.3, rng.choice((0.0, 0.0, rng.uniform(-3600, 3600)))
    return AgentPlan(number, _with_several(seed, number, file), sqlite, skew)


def _with_several(seed: int, number: int, file: HomeAgentFile) -> HomeAgentFile:
    """What this home agent can do of RFC 5648 and RFC 6089."""
    rng = random.Random(f"{seed}/agent/{number}/several")
    return msgspec.structs.replace(
        file,
        multiple_care_of_addresses=rng.random() < 0.9,
        bulk_registration=rng.random() < 0.85,
        simultaneous_home=rng.random() < 0.8,
        flow_bindings=rng.random() < 0.85,
    )


def policy_of(rng: random.Random) -> Policy:
    """What somebody may want of several uplinks."""
    interfaces = tuple(
        InterfacePolicy(
            name,
            UplinkChoice(rng.choice((10, 20, 100)), rng.randrange(3), rng.random() < 0.2, rng.random() < 0.1),
        )
        for name in (*RADIOS, HOME_INTERFACE)
    )
    flows = tuple(
        FlowPolicy(
            f"flow{number}",
            FlowDescription(remote=remote),
            tuple(rng.sample((*RADIOS, HOME_INTERFACE), rng.randint(1, 2))) if rng.random() < 0.6 else (),
            "best" if rng.random() < 0.5 else "cheapest",
            rng.choice((1, 1, 1, 2)),
        )
        for number, remote in enumerate(rng.sample(REMOTES, rng.randint(0, 3)))
    )
    return Policy(interfaces, flows, rng.random() < 0.8, Probing(2.0, 20.0, 30.0))


def _access(seed: int, number: int) -> AccessPlan:
    rng = random.Random(f"{seed}/access/{number}")
    # The first four are one of each kind.
    kind = (
        ("ipv6", "ipv4", "nat", "dual")[number] if number < 4 else rng.choice(("ipv6", "ipv4", "nat", "dual"))
    )
    behind_nat = kind == "nat" or (kind == "dual" and rng.random() < 0.6)
    ipv4: IPv4Network | None = None
    if kind != "ipv6":
        # Every NAT hands out the same addresses.
        ipv4 = IPv4Network("192.168.0.0/16") if behind_nat else IPv4Network(f"100.{64 + number}.0.0/16")
    return AccessPlan(
        name=f"access{number}",
        ipv6=IPv6Network((0x20010DB8_0A00_0000 + (number << 16) << 64, 64))
        if kind in ("ipv6", "dual")
        else None,
        ipv4=ipv4,
        public=IPv4Address(f"203.0.113.{1 + number}") if behind_nat else None,
        filters="both" if behind_nat else rng.choice(("", "", "both", "in")),
        breaks_ipv6=kind == "dual" and rng.random() < 0.3,
        nat_timeout=rng.choice((15.0, 60.0, DECENT_NAT_TIMEOUT, 600.0)),
        lease=rng.choice((None, None, 30.0, 120.0)),
    )


def _node(seed: int, number: int, agents: int, tables: dict[int, list[MobileNodeTable]]) -> NodePlan:
    rng = random.Random(f"{seed}/node/{number}")
    first = rng.randrange(agents)
    twin = first ^ 1
    served_by = [first, twin] if twin < agents and rng.random() < 0.5 else [first]
    home_address = home_prefix(first)[0x1000 + number]
    router = rng.random() < 0.4
    prefixes = [
        IPv6Network((0x20010DB8_A000_0000 + (number << 16) + k << 64, 64)) for k in range(rng.randint(1, 2))
    ]
    wants = rng.choice(("nothing", "dynamic", "dynamic", "static"))
    ipv4_request = 29 if rng.random() < 0.2 else 0
    lifetime = rng.choice((16, 40, 60, 120, 200))
    explicit = rng.random() < 0.5
    always_udp = rng.random() < 0.1
    udp_port = rng.choice((DSMIP_PORT, 5000 + number))
    link_local = rng.random() < 0.2
    configs = []
    for agent in served_by:
        static = IPv4Address(f"10.{200 + agent}.{number >> 8}.{number & 255}")
        key = rng.randbytes(16)
        spi = 256 + rng.randrange(1000)
        tables[agent].append(
            MobileNodeTable(
                name=f"mn{number}",
                home_address=home_address,
                ipv4_home_address=static if wants == "static" else None,
                mobile_network_prefixes=tuple(prefixes) if router else (),
                allow_dynamic_ipv4=wants == "dynamic" or ipv4_request > 0,
                spi=spi,
                key=Key(key),
            )
        )
        config = MobileNodeConfig(
            home_address=home_address,
            home_prefix=home_prefix(agent),
            home_agent=agent_address(agent),
            home_agent_ipv4=agent_ipv4(agent),
            identifier=f"mn{number}",
            spi=spi,
            key=key,
            mobile_router=router,
            nemo_mode="explicit" if explicit else "implicit",
            prefixes=tuple(prefixes) if router else (),
            ipv4_home_address={"nothing": None, "dynamic": "dynamic", "static": static}[wants],
            ipv4_prefix_request=ipv4_request,
            lifetime=lifetime,
            udp="always" if always_udp else "auto",
            link_local=link_local,
            udp_port=udp_port,
        )
        configs.append((agent, config))
    skew = rng.choice((0.0, 0.0, rng.uniform(-6, 6), rng.uniform(-1e6, 1e6)))
    preference = rng.choice((50, 100))
    several = random.Random(f"{seed}/node/{number}/several")
    if several.random() < 0.2:
        policy = policy_of(several)
        configs = [(agent, replace(config, multihoming=policy)) for agent, config in configs]
    return NodePlan(number, tuple(configs), skew, preference)


def entry_of(table: MobileNodeTable) -> MobileNodeEntry:
    """The entry's rights, for the oracle."""
    return MobileNodeEntry(
        home_address=table.home_address,
        prefixes=table.mobile_network_prefixes,
        ipv4_home_address=table.ipv4_home_address,
        ipv4_prefixes=table.ipv4_prefixes,
        allow_dynamic_ipv4=table.allow_dynamic_ipv4,
    )
