"""The layout of the maps, mirroring maps.h: values of core.types to octets and back.

Addresses and ports are in network byte order, everything else in that of the host. IPv4 addresses stand in
the first 4 of 16 octets.
"""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from dsmip.core.types import IPAddress, IPNetwork, Path, TunnelFormat
from dsmip.dataplane.api import Role, Traffic

LAYOUT = 8
LOCAL_CAPACITY = 256
UPCALL_MARK = 0x44534D50
COPY_MARK = 0x44534D43
SEEN_MARK = 0x44534D53
WINDOW = 512
LENGTHS = {6: 130, 4: 34}
RULE_PORTS, RULE_SPI, RULE_SOURCE, RULE_DESTINATION, RULE_NEVER = 1, 2, 4, 8, 16
PATH_RAW = 1

U32 = struct.Struct("=I")
NETWORK6 = struct.Struct("=16sII")
NETWORK4 = struct.Struct("=4sI")
PATH_KEY = struct.Struct("=IHH")
PATH = struct.Struct("=QQQ16s16s16sI2s2sHBBHH")
CHOICE = struct.Struct("=Q8HII")
RULE = struct.Struct("=2Q2Q2Q2QIIIIHHHH8HBBBBBBH")
RULES = struct.Struct("=II")
PROTECTED = struct.Struct("=II4I")
SOURCE_KEY = struct.Struct("=I2sH16s")
SOURCE = struct.Struct("=QH6x")
TRAFFIC = struct.Struct("=QQQQ")
LOCAL = struct.Struct("=II16s")
SETTINGS = struct.Struct("=IIII2sHIII")
BUCKET = struct.Struct("=QQ")

#: Slugs of the drop counters, in the order of enum dsmip_drop.
drop_reasons = (
    "no-binding",
    "no-path",
    "expired",
    "inner-address",
    "outer-source",
    "malformed",
    "ecn",
    "upcall-rate",
    "miss-rate",
    "failed",
    "duplicates",
    "too-big",
    "not-protected",
)
#: Values of enum dsmip_role and enum dsmip_format.
roles = {Role.HOME_AGENT: 0, Role.MOBILE_NODE: 1}
formats = {
    TunnelFormat.IPV6: 0,
    TunnelFormat.IPV4: 1,
    TunnelFormat.UDP4: 2,
    TunnelFormat.UDP6: 3,
    TunnelFormat.LINK: 4,
}

NO_TRAFFIC = TRAFFIC.pack(0, 0, 0, 0)

_ROLES = {number: role for role, number in roles.items()}


#: Address families by the octets of an address.
_FAMILIES = {4: int(socket.AF_INET), 16: int(socket.AF_INET6)}


def _family(address: IPAddress | None) -> int:
    if address is None:
        return 0
    return socket.AF_INET6 if address.version == 6 else socket.AF_INET


def _octets(address: IPAddress | None) -> bytes:
    return b"" if address is None else address.packed  # struct fills up with zeros


def _address(family: int, octets: bytes) -> IPAddress:
    return IPv6Address(octets) if family == socket.AF_INET6 else IPv4Address(octets[:4])


def _nanoseconds(deadline: float | None) -> int:
    """CLOCK_MONOTONIC seconds to nanoseconds; 0 stands for never."""
    return 0 if deadline is None else max(1, int(deadline * 1e9))


def encode_index(index: int) -> bytes:
    """Key of the traffic map, value of the network maps, key of every array."""
    return U32.pack(index)


def decode_index(data: bytes) -> int:
    """Inverse of `encode_index`."""
    return int(U32.unpack(data)[0])


def encode_network(network: IPNetwork) -> bytes:
    """Key of networks6 (24 octets) or networks4 (8 octets)."""
    if network.version == 6:
        return NETWORK6.pack(network.network_address.packed, network.prefixlen, 0)
    return NETWORK4.pack(network.network_address.packed, network.prefixlen)


def version_and_length(key: bytes) -> tuple[int, int]:
    """IP version and prefix length in a key of networks6 or networks4."""
    if len(key) == NETWORK6.size:
        return 6, int(NETWORK6.unpack(key)[1])
    return 4, int(NETWORK4.unpack(key)[1])


def encode_path_key(index: int, bid: int) -> bytes:
    """Key of a path and of its counters."""
    return PATH_KEY.pack(index, bid, 0)


def decode_path_key(data: bytes) -> tuple[int, int]:
    """The binding's index, and the BID."""
    index, bid, _ = PATH_KEY.unpack(data)
    return int(index), int(bid)


def encode_path(path: Path, *, raw: bool) -> bytes:
    """`raw`: the path's interface has no Ethernet header. Nothing has been heard of it."""
    return PATH.pack(
        _nanoseconds(path.expires),
        0,
        0,
        _octets(path.local),
        _octets(path.remote),
        _octets(path.next_hop),
        path.interface,
        path.local_port.to_bytes(2, "big"),
        path.remote_port.to_bytes(2, "big"),
        _family(path.next_hop),
        formats[path.format],
        PATH_RAW if raw else 0,
        path.mtu,
        0,
    )


_EXPIRES = slice(0, 8)
_LIVENESS = slice(8, 24)
_WAY = slice(24, PATH.size - 4)
_MTU = slice(PATH.size - 4, PATH.size)


def with_liveness_of(path: bytes, previous: bytes) -> bytes:
    """The path, with what was heard of it before, if it is the same way as the previous one."""
    if path[_WAY] != previous[_WAY]:
        return path
    mtu = path[_MTU] if any(path[_MTU]) else previous[_MTU]
    return path[_EXPIRES] + previous[_LIVENESS] + path[_WAY] + mtu


def decode_mtu(path: bytes) -> int:
    """Of inner packets, in octets; 0 = not known."""
    return int(PATH.unpack(path)[-2])


def decode_liveness(path: bytes) -> tuple[float | None, float | None]:
    """When a probe was heard last, and from when on the path is silent. CLOCK_MONOTONIC seconds, or never."""
    _, heard, silent, *_ = PATH.unpack(path)
    return heard / 1e9 if heard else None, silent / 1e9 if silent else None


def encode_local_bid(bid: int) -> bytes:
    """Value of the set of own outer addresses."""
    return bid.to_bytes(2, sys.byteorder)


def encode_source_key(index: int, address: IPAddress, port: int) -> bytes:
    """`port` 0 = protocols 41 and 4."""
    octets = address.packed
    return SOURCE_KEY.pack(index, port.to_bytes(2, "big"), _FAMILIES[len(octets)], octets)


def source_index(key: bytes) -> int:
    """The binding's index in a key of the sources."""
    return int(SOURCE_KEY.unpack(key)[0])


def encode_source(until: float | None, bid: int) -> bytes:
    """`until` in CLOCK_MONOTONIC seconds, None = no end."""
    return SOURCE.pack(_nanoseconds(until), bid)


def decode_traffic(data: bytes) -> Traffic:
    """Counters of a path."""
    return Traffic(*TRAFFIC.unpack(data))


def encode_traffic(traffic: Traffic) -> bytes:
    """Inverse of `decode_traffic`."""
    return TRAFFIC.pack(
        traffic.sent_packets, traffic.sent_bytes, traffic.received_packets, traffic.received_bytes
    )


_INDEX_BITS = 32
_MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


def encode_protected(index: int, network: IPNetwork) -> bytes:
    """Key of the correspondents that a binding talks to under ESP."""
    octets, length = network.network_address.packed, network.prefixlen
    if network.version == 4:
        octets, length = _MAPPED + octets, 96 + length
    return U32.pack(_INDEX_BITS + length) + U32.pack(index) + octets


def protected_index(key: bytes) -> int:
    """The binding's index in such a key."""
    return int(PROTECTED.unpack(key)[1])


def protected_short(key: bytes) -> bytes:
    """Such a key without the index: an octet for the prefix length, and the address."""
    return bytes((int(U32.unpack_from(key)[0]) - _INDEX_BITS,)) + key[2 * U32.size :]


def protected_whole(index: int, short: bytes) -> bytes:
    """Inverse of `protected_short`."""
    return U32.pack(_INDEX_BITS + short[0]) + U32.pack(index) + short[1:]


def encode_spi(spi: int) -> bytes:
    """Key of the SPIs of payload."""
    return spi.to_bytes(4, "big")


def encode_local(address: IPAddress, interface: int) -> bytes:
    """Key of the set of own outer addresses."""
    return LOCAL.pack(_family(address), interface, address.packed)


def decode_local(data: bytes) -> tuple[IPAddress, int]:
    """Inverse of `encode_local`."""
    family, interface, address = LOCAL.unpack(data)
    return _address(family, address), interface


def decode_counter(data: bytes) -> int:
    """Sum over all CPUs of one entry of a per-CPU array of u64."""
    return sum(struct.unpack(f"={len(data) // 8}Q", data))


@dataclass(frozen=True, slots=True)
class Settings:
    """The one entry of the settings map. Rates are packets a second on each CPU; `generation` counts the
    changes of networks, round and round."""

    role: Role
    device: int
    home_link: int
    udp_port: int
    signalling_rate: int
    miss_rate: int
    protection: bool = False
    generation: int = 0

    def encode(self) -> bytes:
        """struct dsmip_settings."""
        return SETTINGS.pack(
            LAYOUT,
            roles[self.role],
            self.device,
            self.home_link,
            self.udp_port.to_bytes(2, "big"),
            self.protection,
            self.generation,
            self.signalling_rate,
            self.miss_rate,
        )

    @classmethod
    def decode(cls, data: bytes) -> Settings | None:
        """None if that is not of this layout."""
        if len(data) != SETTINGS.size:
            return None
        layout, role, device, home_link, port, protected, generation, signalling, misses = SETTINGS.unpack(
            data
        )
        if layout != LAYOUT or role not in _ROLES:
            return None
        own_port = int.from_bytes(port, "big")
        return cls(_ROLES[role], device, home_link, own_port, signalling, misses, bool(protected), generation)
