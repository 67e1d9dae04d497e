"""What a frame on the mobile router's uplink is, told from its octets alone.

This reads only what a measurement needs, and by itself: it is the witness for what the daemons claim, so it
shares no decoder with them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

from dsmip.lab import plan, protection, streams

#: Encapsulations by the names used here, and what they are called in reports for each family (RFC 5555 4.1).
NATIVE, IN_IPV6, IN_IPV4, IN_UDP4, IN_UDP6 = "native", "ipv6", "ipv4", "udp4", "udp6"
TUNNELS: dict[str, dict[str, str]] = {
    NATIVE: {"v6": "home", "v4": "home"},
    IN_IPV6: {"v6": "IPv6-in-IPv6", "v4": "IPv4-in-IPv6"},
    IN_IPV4: {"v6": "IPv6-in-IPv4", "v4": "IPv4-in-IPv4"},
    IN_UDP4: {"v6": "UDP", "v4": "UDP"},
    IN_UDP6: {"v6": "UDP over IPv6", "v4": "UDP over IPv6"},
}

# Kinds of control messages, as they are written down.
ROUTER_ADVERTISEMENT = "router-advertisement"
NEIGHBOUR_ADVERTISEMENT = "neighbour-advertisement"
DHCP_ACK = "dhcp-ack"
ARP_REPLY = "arp-reply"
BINDING_UPDATE = "binding-update"
BINDING_ACKNOWLEDGEMENT = "binding-acknowledgement"
PREFIX_DISCOVERY = "prefix-discovery"
IKE = "ike"
#: Of a message that is encrypted.
UNKNOWN_SEQUENCE = -2

_DSMIP_PORT = 4191  # RFC 5555 section 9
_DHCP_CLIENT_PORT = 68
_PREFIX_DISCOVERY_TYPES = {146, 147}  # RFC 6275 sections 6.7 and 6.8
_IKE_PORTS = {500, 4500}  # RFC 7296 section 2, RFC 3948
#: Our own: the header in front of a packet of which copies go over several paths.
_DUPLICATION, _DUPLICATION_OCTETS = 0x01, 8

_ETHERTYPE_IPV4, _ETHERTYPE_ARP, _ETHERTYPE_IPV6 = 0x0800, 0x0806, 0x86DD
_IPV4, _TCP, _UDP, _IPV6, _ROUTING, _ESP, _ICMPV6, _DESTINATION, _MOBILITY = 4, 6, 17, 41, 43, 50, 58, 60, 135
_HOST6, _HOST4 = plan.HOST.packed, plan.HOST_IPV4.packed


class DataClass(NamedTuple):
    """Packets of the host behind the mobile router that look alike from outside.

    `up` = sent by the mobile router. `local` is the mobile router's outer address, "" without a tunnel.
    `port` is the correspondent's (0 = not TCP or UDP). `interface` is where they were seen. Under ESP, `spi`
    is set and only packets of the streams are known, by their length.
    """

    up: bool
    family: str
    format: str
    local: str
    port: int = 0
    interface: str = ""
    spi: int = 0


@dataclass(frozen=True, slots=True)
class Control:
    """A message that matters to a handover; `fields` as they are written down."""

    kind: str
    fields: dict[str, str | int | bool | list[str]]


class _Outer(NamedTuple):
    format: str
    local: str
    remote: str


_BARE = _Outer(NATIVE, "", "")


def observe(frame: bytes, up: bool) -> DataClass | Control | None:
    """Name an Ethernet frame (its first 400 octets do); None = of no interest, or not understood."""
    try:
        ethertype = int.from_bytes(frame[12:14], "big")
        if ethertype == _ETHERTYPE_IPV6:
            return _ipv6(frame, 14, up, _BARE)
        if ethertype == _ETHERTYPE_IPV4:
            return _ipv4(frame, 14, up, _BARE)
        if ethertype == _ETHERTYPE_ARP and not up:
            return _arp(frame)
    except (IndexError, struct.error, AddressValueError):
        pass  # cut short: not a packet of ours
    return None


def _ipv6(frame: bytes, at: int, up: bool, outer: _Outer) -> DataClass | Control | None:
    source, destination = frame[at + 8 : at + 24], frame[at + 24 : at + 40]
    if (source if up else destination) == _HOST6:
        return DataClass(up, "v6", outer.format, outer.local, _port(frame, frame[at + 6], at + 40, up))
    header, body = frame[at + 6], at + 40
    if outer is _BARE and header in (_IPV6, _IPV4, _UDP):
        inside = _outer(IN_IPV6, up, str(IPv6Address(source)), str(IPv6Address(destination)))
        if header == _UDP:
            return _udp(frame, body, up, inside._replace(format=IN_UDP6))
        return (_ipv6 if header == _IPV6 else _ipv4)(frame, body, up, inside)
    while header in (_DESTINATION, _ROUTING):
        header, body = frame[body], body + 8 * (frame[body + 1] + 1)
    if header == _MOBILITY:
        carrier = outer
        if outer is _BARE:
            carrier = _outer(IN_IPV6, up, str(IPv6Address(source)), str(IPv6Address(destination)))
        return _mobility(frame, body, up, carrier)
    if header == _ESP:
        carrier = outer
        if outer is _BARE:
            carrier = _outer(IN_IPV6, up, str(IPv6Address(source)), str(IPv6Address(destination)))
        length = int.from_bytes(frame[at + 4 : at + 6], "big") - (body - at - 40)
        return _esp(frame, body, up, carrier, length)
    if header == _ICMPV6 and frame[body] in _PREFIX_DISCOVERY_TYPES:
        return Control(PREFIX_DISCOVERY, {"up": up})
    if header == _ICMPV6 and outer is _BARE and not up:
        return _icmpv6(frame, body, str(IPv6Address(source)))
    return None


def _ipv4(frame: bytes, at: int, up: bool, outer: _Outer) -> DataClass | Control | None:
    source, destination = frame[at + 12 : at + 16], frame[at + 16 : at + 20]
    header, body = frame[at + 9], at + 4 * (frame[at] & 15)
    if (source if up else destination) == _HOST4:
        return DataClass(up, "v4", outer.format, outer.local, _port(frame, header, body, up))
    if outer is not _BARE:
        return None
    inside = _outer(IN_IPV4, up, str(IPv4Address(source)), str(IPv4Address(destination)))
    if header == _IPV6:
        return _ipv6(frame, body, up, inside)
    if header == _IPV4:
        return _ipv4(frame, body, up, inside)
    if header == _UDP:
        return _udp(frame, body, up, inside._replace(format=IN_UDP4))
    return None


def _port(frame: bytes, header: int, at: int, up: bool) -> int:
    if header not in (_UDP, _TCP):
        return 0
    source, destination = struct.unpack_from("!HH", frame, at)
    return int(destination if up else source)


def _outer(form: str, up: bool, source: str, destination: str) -> _Outer:
    return _Outer(form, source, destination) if up else _Outer(form, destination, source)


def _udp(frame: bytes, at: int, up: bool, outer: _Outer) -> DataClass | Control | None:
    source, destination = struct.unpack_from("!HH", frame, at)
    inner = at + 8
    if _DSMIP_PORT in (source, destination):
        if frame[inner] == _DUPLICATION:
            inner += _DUPLICATION_OCTETS
        version = frame[inner] >> 4  # RFC 5555 section 4.1: what follows UDP begins with its IP version
        if version == 6:
            return _ipv6(frame, inner, up, outer)
        return _ipv4(frame, inner, up, outer) if version == 4 else None
    if _IKE_PORTS & {source, destination}:
        return Control(IKE, {"up": up})
    if destination == _DHCP_CLIENT_PORT and not up:
        return _dhcp(frame, inner)
    return None


def _esp(frame: bytes, at: int, up: bool, carrier: _Outer, length: int) -> DataClass | Control | None:
    """What is inside can only be guessed: signalling by the security association, streams by their length.

    Of signalling, everything that is not an update is taken for an acknowledgement that accepts.
    """
    spi = int.from_bytes(frame[at : at + 4], "big")
    if spi in protection.SIGNALLING_SPIS:
        kind = BINDING_UPDATE if up else BINDING_ACKNOWLEDGEMENT
        where: dict[str, str | int | bool | list[str]] = {"care_of": carrier.local, "format": carrier.format}
        return Control(kind, {**where, "sequence": UNKNOWN_SEQUENCE, "status": 0, "spi": spi})
    family = protection.FAMILIES.get(length)
    if family is None:
        return None
    return DataClass(up, family, carrier.format, carrier.local, streams.PORT, spi=spi)


def _mobility(frame: bytes, at: int, up: bool, carrier: _Outer) -> Control | None:
    kind = frame[at + 2]
    where: dict[str, str | int | bool | list[str]] = {"care_of": carrier.local, "format": carrier.format}
    if kind == 5 and up:  # RFC 6275 section 6.1.7
        sequence, flags, lifetime = struct.unpack_from("!HHH", frame, at + 6)
        return Control(
            BINDING_UPDATE, {**where, "sequence": sequence, "flags": flags, "lifetime": 4 * lifetime}
        )
    if kind == 6 and not up:  # RFC 6275 section 6.1.8
        status, _, sequence, lifetime = struct.unpack_from("!BBHH", frame, at + 6)
        return Control(
            BINDING_ACKNOWLEDGEMENT,
            {**where, "sequence": sequence, "status": status, "lifetime": 4 * lifetime},
        )
    return None


def _icmpv6(frame: bytes, at: int, source: str) -> Control | None:
    kind = frame[at]
    if kind == 134:  # RFC 4861 section 4.2
        return Control(ROUTER_ADVERTISEMENT, {"source": source, "prefixes": _prefixes(frame, at + 16)})
    if kind == 136:  # RFC 4861 section 4.4
        target = str(IPv6Address(frame[at + 8 : at + 24]))
        return Control(
            NEIGHBOUR_ADVERTISEMENT,
            {
                "source": source,
                "target": target,
                "router": bool(frame[at + 4] & 0x80),
                "solicited": bool(frame[at + 4] & 0x40),
            },
        )
    return None


def _prefixes(frame: bytes, at: int) -> list[str]:
    found = []
    while at + 8 <= len(frame) and frame[at + 1]:
        if frame[at] == 3 and at + 32 <= len(frame):
            found.append(f"{IPv6Address(frame[at + 16 : at + 32])}/{frame[at + 2]}")
        at += 8 * frame[at + 1]
    return found


def _dhcp(frame: bytes, at: int) -> Control | None:
    option = at + 240  # RFC 2131 section 2: the options follow the fixed fields and the magic cookie
    while option + 2 < len(frame) and frame[option] != 255:
        if frame[option] == 0:
            option += 1
            continue
        if frame[option] == 53:  # DHCP message type; 5 = DHCPACK
            if frame[option + 2] != 5:
                return None
            return Control(DHCP_ACK, {"address": str(IPv4Address(frame[at + 16 : at + 20]))})
        option += 2 + frame[option + 1]
    return None


def _arp(frame: bytes) -> Control | None:
    if struct.unpack_from("!H", frame, 20)[0] != 2:
        return None
    return Control(ARP_REPLY, {"sender": str(IPv4Address(frame[28:32]))})
