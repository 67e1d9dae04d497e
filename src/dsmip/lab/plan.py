"""The map of the lab: which nodes there are, how they are wired and what they are called.

All addresses are from the documentation and private ranges (RFC 3849, RFC 5737, RFC 1918, RFC 6598). They
are the same in every lab: labs differ only in the names of their namespaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

#: Where the mobile router can be plugged in, in the order they are shown.
HOME = "home"

HOME_PREFIX = IPv6Network("2001:db8:100::/64")
IPV4_HOME_PREFIX = IPv4Network("198.51.100.0/24")
HOME_AGENT = IPv6Address("2001:db8:100::1")
HOME_AGENT_IPV4 = IPv4Address("198.51.100.1")
HOME_ADDRESS = IPv6Address("2001:db8:100::10")
IPV4_HOME_ADDRESS = IPv4Address("198.51.100.10")
MOBILE_PREFIX = IPv6Network("2001:db8:aaaa:1::/64")
IPV4_MOBILE_PREFIX = IPv4Network("203.0.113.64/28")
CORRESPONDENT = IPv6Address("2001:db8:400::cafe")
CORRESPONDENT_IPV4 = IPv4Address("192.0.2.200")
HOST = IPv6Address("2001:db8:aaaa:1::66")
HOST_IPV4 = IPv4Address("203.0.113.66")

UPLINK = "wan0"
LAN = "lan0"
UPLINK_MAC = "02:00:5e:10:00:10"

#: The namespace that holds the bridges: the switches and radio cells of the lab.
LINKS = "links"


@dataclass(frozen=True, slots=True)
class Access:
    """A network the mobile router can visit.

    `router` is the node that serves it, `address4` and `address6` that node's addresses on it (None = the
    network has no such family), `public4` the IPv4 source the correspondent sees, where that is not the
    visitor's own. `tunnel` is the format RFC 5555 leads to there, in the words of `observation.TUNNELS`.
    """

    name: str
    about: str
    router: str
    address4: IPv4Interface | None
    address6: IPv6Interface | None
    tunnel: str
    public4: IPv4Address | None = None

    @property
    def port(self) -> str:
        """The router's interface on this network."""
        return "lan" if self.router not in ("core", "edge") else self.name


ACCESS: tuple[Access, ...] = (
    Access(
        HOME,
        "the home link",
        "core",
        IPv4Interface("198.51.100.254/24"),
        IPv6Interface("2001:db8:100::ff/64"),
        "home",
    ),
    Access("wifi6", "IPv6 only", "edge", None, IPv6Interface("2001:db8:206::1/64"), "IPv6-in-IPv6"),
    Access(
        "cafe4", "IPv4 only, public addresses", "edge", IPv4Interface("192.0.2.1/26"), None, "IPv6-in-IPv4"
    ),
    Access(
        "nat4",
        "IPv4 only, behind a NAT",
        "nat4",
        IPv4Interface("10.4.0.1/24"),
        None,
        "UDP",
        IPv4Address("203.0.113.2"),
    ),
    Access(
        "dual",
        "IPv6 and public IPv4",
        "edge",
        IPv4Interface("192.0.2.65/26"),
        IPv6Interface("2001:db8:246::1/64"),
        "IPv6-in-IPv6",
    ),
    Access(
        "cgn4",
        "IPv4 only, behind two NATs, ports randomised",
        "cgn4-cpe",
        IPv4Interface("10.8.0.1/24"),
        None,
        "UDP",
        IPv4Address("203.0.113.10"),
    ),
    Access(
        "fw4",
        "public IPv4, protocols 41 and 4 dropped",
        "fw4",
        IPv4Interface("192.0.2.129/26"),
        None,
        "UDP",
    ),
)

NETWORKS: dict[str, Access] = {access.name: access for access in ACCESS}


@dataclass(frozen=True, slots=True)
class Port:
    """One end of a cable: a node's interface, its addresses and, where it matters, its MAC address."""

    node: str
    interface: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    mac: str = ""
    bridge: str = ""  #: in `links` only: the bridge this end is put into


def _port(node: str, interface: str, *addresses: str, mac: str = "", bridge: str = "") -> Port:
    parsed = tuple(IPv6Interface(text) if ":" in text else IPv4Interface(text) for text in addresses)
    return Port(node, interface, parsed, mac, bridge)


def _access_cable(access: Access) -> tuple[Port, Port]:
    addresses = tuple(address for address in (access.address4, access.address6) if address is not None)
    return (
        Port(access.router, access.port, addresses),
        _port(LINKS, f"{access.name}-r", bridge=access.name),
    )


#: The cable that carries everything between the access networks and the rest: a delay is put in here.
EDGE_CABLE: tuple[Port, Port] = (
    _port("core", "edge", "203.0.113.17/30", "2001:db8:2ff::1/64"),
    _port("edge", "core", "203.0.113.18/30", "2001:db8:2ff::2/64"),
)

CABLES: tuple[tuple[Port, Port], ...] = (
    *(_access_cable(access) for access in ACCESS),
    (
        _port("ha", "eth0", f"{HOME_AGENT_IPV4}/24", f"{HOME_AGENT}/64", mac="02:00:5e:10:00:01"),
        _port(LINKS, "home-ha", bridge=HOME),
    ),
    (
        _port("core", "cn", "192.0.2.193/26", "2001:db8:400::1/64"),
        _port("cn", "eth0", f"{CORRESPONDENT_IPV4}/26", f"{CORRESPONDENT}/64"),
    ),
    (_port("edge", "nat4", "203.0.113.1/30"), _port("nat4", "wan", "203.0.113.2/30")),
    (_port("edge", "fw4", "203.0.113.5/30"), _port("fw4", "wan", "203.0.113.6/30")),
    (_port("edge", "cgn4", "203.0.113.9/30"), _port("cgn4", "wan", "203.0.113.10/30")),
    (_port("cgn4", "inside", "100.64.0.1/30"), _port("cgn4-cpe", "wan", "100.64.0.2/30")),
    (
        _port("mr", LAN, "203.0.113.65/28", "2001:db8:aaaa:1::1/64"),
        _port("host", "eth0", f"{HOST_IPV4}/28"),
    ),
)

NODES: tuple[str, ...] = (
    LINKS,
    "core",
    "edge",
    "ha",
    "cn",
    "nat4",
    "cgn4",
    "cgn4-cpe",
    "fw4",
    "mr",
    "host",
)

#: Nodes that forward from the start. The home agent and the mobile router are routers too: this is their
#: administrator's choice, not something dsmip needs set for it.
ROUTERS: tuple[str, ...] = ("core", "edge", "ha", "nat4", "cgn4", "cgn4-cpe", "fw4", "mr")

#: node -> (destination, next hop)
ROUTES: dict[str, tuple[tuple[str, str], ...]] = {
    "core": (
        (str(MOBILE_PREFIX), str(HOME_AGENT)),
        (str(IPV4_MOBILE_PREFIX), str(HOME_AGENT_IPV4)),
        ("2001:db8:206::/64", "2001:db8:2ff::2"),
        ("2001:db8:246::/64", "2001:db8:2ff::2"),
        ("192.0.2.0/26", "203.0.113.18"),
        ("192.0.2.64/26", "203.0.113.18"),
        ("192.0.2.128/26", "203.0.113.18"),
        ("203.0.113.0/28", "203.0.113.18"),
    ),
    "edge": (
        ("::/0", "2001:db8:2ff::1"),
        ("0.0.0.0/0", "203.0.113.17"),
        ("192.0.2.128/26", "203.0.113.6"),
    ),
    "ha": (("::/0", "2001:db8:100::ff"), ("0.0.0.0/0", "198.51.100.254")),
    "cn": (("::/0", "2001:db8:400::1"), ("0.0.0.0/0", "192.0.2.193")),
    "nat4": (("0.0.0.0/0", "203.0.113.1"),),
    "fw4": (("0.0.0.0/0", "203.0.113.5"),),
    "cgn4": (("0.0.0.0/0", "203.0.113.9"),),
    "cgn4-cpe": (("0.0.0.0/0", "100.64.0.1"),),
    "host": (("0.0.0.0/0", "203.0.113.65"),),
}

_MASQUERADE = """
table ip lab {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "wan" masquerade{how}
  }}
}}
"""

_FIREWALL = """
table ip lab {
  chain forward {
    type filter hook forward priority filter; policy accept;
    meta l4proto { 4, 41 } counter drop
  }
}
"""

#: node -> nftables rules
RULES: dict[str, str] = {
    "nat4": _MASQUERADE.format(how=""),
    "cgn4": _MASQUERADE.format(how=" random,fully-random"),
    "cgn4-cpe": _MASQUERADE.format(how=" random,fully-random"),
    "fw4": _FIREWALL,
}
