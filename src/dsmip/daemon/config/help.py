"""What each key of a configuration file means: `dsmip.toml(5)` and docs/configuration.md are made from this.

Defaults, ranges and choices are not repeated here: they come from the schema.
"""

from __future__ import annotations

import msgspec

from dsmip.daemon.config.ike import HomeAgentIkeTable, IkeTable, MobileNodeIkeTable
from dsmip.daemon.config.ipsec import AssociationTable, IpsecTable
from dsmip.daemon.config.observation import MetricsTable, WebTable
from dsmip.daemon.config.payload import PayloadAssociationTable, PayloadTable
from dsmip.daemon.config.schema import (
    HomeAgentFile,
    HomeAgentTable,
    MobileNodeFile,
    MobileNodeTable,
    PoolsTable,
)
from dsmip.daemon.config.uplinks import FlowTable, InterfaceTable, MultihomingTable, NetworkTable

_AUTHENTICATION = (
    'How Binding Updates are authenticated: "mn-ha" is RFC 4285 with `key`, "ipsec" is ESP with the keys of'
    ' `ipsec` or those that `ike` negotiates; "none" lets anybody take the home address over and needs'
    " `allow_unauthenticated` as well."
)
_SPI = "Security parameter index of RFC 4285, the same at both ends."
_KEY = "Shared secret in hexadecimal, at least 16 octets, the same at both ends: `openssl rand -hex 16`."
_UNAUTHENTICATED = 'Confirms that `authentication = "none"` is meant. For closed test networks only.'
_GRACE = "Seconds for which packets of the previous care-of address are still accepted after a handover."
_MTU = "The most octets that an inner packet may have. What a path really takes is found out by probes."
_STATE = "Where bindings and what must survive a restart are kept; /var/lib/dsmip/NAME by default."
_LISTEN = 'Address and port: "127.0.0.1:9418" or "[::1]:9418".'
_REMOTE = "Confirms that other machines may connect, over plain HTTP."
_HOSTS = "Names by which this, or a proxy in front, is reached. Others are refused (DNS rebinding)."

_PAYLOAD = (
    "Payload under ESP, whatever networks it goes through; the same at both ends. In clear by default."
    " Without keys, `ike` negotiates them."
)
_IPSEC = "Manual keys for signalling under IPsec (ESP); the same at both ends."
_IKE = "Keys for signalling under IPsec (ESP) negotiated by IKEv2, which strongSwan speaks."
_CERTIFICATE = "PEM file with the certificate shown to the other end; with `private_key` and `ca`."
_PRIVATE_KEY = "PEM file with its private key."
_CA = "PEM file with the certificate of the authority that the other end's has to be signed by."
_VICI = "Socket of strongSwan's IKE daemon, the one in the same network namespace."
_PSK = "Shared secret in hexadecimal, at least 16 octets, the same at both ends."

KEYS: dict[type[msgspec.Struct], dict[str, str]] = {
    HomeAgentFile: {
        "role": "What this machine is.",
        "name": "Name of this instance, for `dsmip status NAME`, its run directory and its state.",
        "address": "The home agent's own IPv6 address: mobile nodes send Binding Updates there.",
        "ipv4_address": "The home agent's own IPv4 address, for mobile nodes in IPv4 networks.",
        "public_name": "DNS name of these addresses; `dsmip provision` puts it into vehicles' files instead.",
        "uplinks": "Interfaces over which tunnelled packets arrive.",
        "home_link": "Interface of a physical home link, where mobile nodes can be at home; none by default.",
        "home_prefixes": "IPv6 prefixes that home addresses are in. They have to be routed to this machine.",
        "ipv4_home_prefixes": "IPv4 prefixes that IPv4 home addresses are in, routed to this machine.",
        "mobile_prefixes": "Aggregates that the mobile network prefixes are in: one route each, not many.",
        "ipv4_mobile_prefixes": "The same for IPv4 prefixes of mobile networks.",
        "ipv4_pool": "IPv4 addresses for mobile nodes that ask for any (RFC 5555 section 3.1.1).",
        "ipv4_prefix_pool": "IPv4 prefixes for mobile routers that ask for any.",
        "pools": "Where `dsmip provision add` takes addresses and prefixes from.",
        "duplicate_address_detection": "On a home link: probe for a home address before taking it over.",
        "max_lifetime": "Longest lifetime of a binding that is granted, in seconds.",
        "max_bindings": "Bindings at once; sizes the maps of the data plane.",
        "udp_encapsulation": (
            'UDP in IPv4 networks without a NAT: "accept" it when asked for, "force" it, or "refuse" it.'
            " With a NAT there is always UDP."
        ),
        "nat_keepalive": "Seconds between the keepalives that a mobile node behind a NAT is told to send.",
        "multiple_care_of_addresses": "Several care-of addresses of a mobile node at once (RFC 5648).",
        "bulk_registration": "Several of them in one Binding Update.",
        "simultaneous_home": "The home link as one of them; needs `home_link`.",
        "flow_bindings": "Flows that take the care-of address a mobile node wants (RFC 6089).",
        "home_agent_preference": "Place in discovery replies, the higher the better.",
        "mobile_prefix_advertisements": "Tell mobile nodes about changes of the home prefixes.",
        "renumbering": "A mobile node with a key may move its home address to another of `home_prefixes`.",
        "min_mobile_prefix_interval": "Seconds between two such advertisements at least.",
        "max_mobile_prefix_interval": "Seconds between two such advertisements at most.",
        "error_rate": "Answers a second to packets of unknown origin, each kind by itself.",
        "grace": _GRACE,
        "timestamp_tolerance": "Seconds by which a mobile node's clock may be off.",
        "mtu": _MTU,
        "allow_unauthenticated": _UNAUTHENTICATED,
        "state_directory": _STATE,
        "store": "URL of a Redis server, or of its sentinels, to keep bindings in; by default a file in"
        " `state_directory`.",
        "ike": "What is shown to mobile nodes with certificates, and where strongSwan listens.",
        "mobile_node": "The mobile nodes and mobile routers that are served, besides the provisioned ones.",
        "metrics": "Counters for Prometheus; off by default.",
        "web": "The status page; off by default.",
    },
    MobileNodeTable: {
        "name": "What people call it: shown everywhere, and its identifier if there is no other.",
        "home_address": "Its IPv6 home address, in one of `home_prefixes`.",
        "identifier": "Its network access identifier (RFC 4283); `name` by default.",
        "ipv4_home_address": "Its IPv4 home address, in one of `ipv4_home_prefixes`.",
        "mobile_network_prefixes": "IPv6 prefixes of the network behind it.",
        "ipv4_prefixes": "IPv4 prefixes of the network behind it.",
        "allow_dynamic_ipv4": "Whether it may have addresses and prefixes of the IPv4 pools.",
        "authentication": _AUTHENTICATION,
        "spi": _SPI,
        "key": _KEY,
        "ipsec": _IPSEC,
        "payload": _PAYLOAD,
        "ike": _IKE,
    },
    IpsecTable: {
        "to_home_agent": "The security association from the mobile node to the home agent.",
        "from_home_agent": "The security association from the home agent to the mobile node.",
    },
    AssociationTable: {
        "spi": "Names the security association in ESP headers: one for each mobile node and direction.",
        "cipher_key": "Key of AES-CBC: 16, 24 or 32 octets.",
        "mac_key": "Key of HMAC-SHA-256: 32 octets.",
    },
    PayloadTable: {
        "correspondents": "Networks with which the mobile node talks under ESP; everything by default.",
        "to_home_agent": "The security association from the mobile node to the home agent.",
        "from_home_agent": "The security association from the home agent to the mobile node.",
    },
    PayloadAssociationTable: {
        "spi": "Names the security association in ESP headers: one for each mobile node and direction.",
        "key": "Key of AES-GCM with its salt: 20 octets for AES-128, 36 for AES-256.",
    },
    HomeAgentIkeTable: {
        "certificate": _CERTIFICATE,
        "private_key": _PRIVATE_KEY,
        "ca": _CA,
        "identity": "Whom the certificate is for, a name in it; `address` by default. With a psk that it is.",
        "vici": _VICI,
    },
    MobileNodeIkeTable: {
        "psk": f"{_PSK} Without it the mobile node shows a certificate.",
        "identity": "Who alone may have this home address; by default whoever proves to be `home_address`.",
    },
    IkeTable: {
        "psk": _PSK,
        "certificate": _CERTIFICATE,
        "private_key": _PRIVATE_KEY,
        "ca": _CA,
        "identity": "Whom this node says to be, a name in the certificate; `home_address` by default.",
        "home_agent_identity": "Whom the home agent has to be; `home_agent` by default.",
        "vici": _VICI,
    },
    PoolsTable: {
        "home_addresses": "Parts of `home_prefixes` to take home addresses from.",
        "mobile_network_prefixes": "Prefixes to cut mobile network prefixes out of.",
        "mobile_network_prefix_length": "Length of each.",
        "ipv4_home_addresses": "Parts of `ipv4_home_prefixes` to take IPv4 home addresses from.",
        "ipv4_prefixes": "Prefixes to cut IPv4 prefixes of mobile networks out of.",
        "ipv4_prefix_length": "Length of each.",
    },
    MobileNodeFile: {
        "role": "A single host, or a router with a network behind it.",
        "name": "Name of this instance; the identifier told to the home agent, if there is no other.",
        "identifier": "Network access identifier (RFC 4283); `name` by default.",
        "home_agent": 'The home agent\'s IPv6 address, its DNS name, or "discover".',
        "home_agent_ipv4": "The home agent's IPv4 address, for networks without IPv6.",
        "other_home_agent": "Home agents to turn to when the first one does not serve.",
        "home_agent_discovery": "Look for home agents on the home link when those named do not serve.",
        "home_address": "This mobile node's IPv6 home address.",
        "home_prefix": "The prefix of the home link.",
        "ipv4_home_address": 'IPv4 home address with the length of its prefix, or "dynamic" to be given one.',
        "mobile_network_prefixes": "IPv6 prefixes of the network behind this router.",
        "nemo_mode": 'Name the prefixes in Binding Updates ("explicit"), or leave them to the home agent.',
        "ipv4_prefixes": "IPv4 prefixes of the network behind this router.",
        "ipv4_prefix_request": "Length of an IPv4 prefix to ask the home agent for; 0 = none.",
        "authentication": _AUTHENTICATION,
        "spi": _SPI,
        "key": _KEY,
        "ipsec": _IPSEC,
        "payload": _PAYLOAD,
        "ike": _IKE,
        "allow_unauthenticated": _UNAUTHENTICATED,
        "lifetime": "Lifetime of the binding to ask for, in seconds.",
        "udp": 'In IPv4 networks: UDP where it is needed ("auto"), or "always".',
        "udp_port": "Own UDP port for signalling and tunnelled packets.",
        "grace": _GRACE,
        "mtu": _MTU,
        "state_directory": _STATE,
        "flow": "Packets of one kind and the uplinks they take. The first that matches counts.",
        "multihoming": "Several uplinks at the same time (RFC 5648).",
        "interface": "The uplinks.",
        "metrics": "Counters for Prometheus; off by default.",
    },
    HomeAgentTable: {
        "address": "Its IPv6 address.",
        "ipv4_address": "Its IPv4 address.",
    },
    InterfaceTable: {
        "name": "Name of the interface.",
        "manage": "Solicit routers, run DHCP and set addresses here; false: use what others have set.",
        "preference": "The lower, the better.",
        "cost": 'What `use = "cheapest"` of a flow compares: the lower, the cheaper.',
        "metered": "Every octet costs money: hardly any probes while there is no traffic.",
        "fallback_only": "Registered and ready, but without traffic unless no other uplink is usable.",
        "leave_below_dbm": "Wi-Fi: with a signal below this, traffic leaves in good time; off by default.",
        "network": "What is different while the interface is in one visited network.",
    },
    NetworkTable: {
        "prefix": "The network is that of care-of addresses in this prefix.",
        "network": "Or the network is that with this name, as `dsmip attachments` shows it.",
        "preference": "As for the interface.",
        "cost": "As for the interface.",
        "metered": "As for the interface.",
        "fallback_only": "As for the interface.",
    },
    FlowTable: {
        "name": "What people call it.",
        "protocol": "tcp, udp, sctp, dccp, udplite, icmp (of both IP versions), esp, ah, gre, or a number.",
        "remote": "Correspondents, whichever side begins.",
        "local": "Addresses on this side: the home address, or hosts of the mobile network.",
        "ports": 'Port on either side, 5004, or range of ports, "5004-5010".',
        "remote_ports": "The same on the correspondent's side.",
        "local_ports": "The same on this side.",
        "dscp": 'Differentiated services code point: 0 to 63, or a name such as "ef" or "af41".',
        "interfaces": "The first usable one of these takes the packets; if none is, they go as all others.",
        "use": 'Without `interfaces`: the "best" uplink by preference, or the "cheapest" by cost.',
        "duplicate": "Over so many uplinks at once, a copy each; the other end delivers the first.",
    },
    MultihomingTable: {
        "enabled": "Use several uplinks at once; by default when there is more than one interface.",
        "simultaneous_home": "At home use the other uplinks, too, if the home agent agrees.",
        "probe_interval_ms": "Between probes of a path with traffic: a dead one is left within three.",
        "idle_probe_interval_ms": "Between probes of a path without traffic.",
        "metered_idle_probe_interval_ms": "Between probes of a metered path without traffic.",
    },
    MetricsTable: {
        "listen": _LISTEN,
        "per_mobile_node": "A handful of time series for each binding. Without it their number is fixed.",
        "allow_remote": _REMOTE,
        "hosts": _HOSTS,
    },
    WebTable: {
        "listen": _LISTEN,
        "token": "Who knows it may look; at least 16 characters. One is made and kept if there is none here.",
        "allow_remote": _REMOTE,
        "hosts": _HOSTS,
    },
}
