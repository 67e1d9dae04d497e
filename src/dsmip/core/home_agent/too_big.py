"""Data that is too big for the path to its mobile node: tell the sender, or cut it up.

What the tunnel device takes is for all mobile nodes the same, so the kernel lets packets pass that a narrow
path does not take. The data plane hands those up. RFC 2473 section 7.1 for IPv6, section 7.2 for IPv4.
"""

from __future__ import annotations

from dsmip.core.actions import SendError, SendIPv4
from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.home_agent.tunnel_errors import to_ipv4_source, to_ipv6_source
from dsmip.wire.errors import DecodeError
from dsmip.wire.ip import IPV4_HEADER_SIZE, IPv4Header

#: Fragments begin at multiples of so many octets (RFC 791).
_UNIT = 8


def too_big(packet: bytes, mtu: int, config: HomeAgentConfig) -> list[SendError | SendIPv4]:
    """What to send because of a packet that is too big for an `mtu`: an error to its source, or the fragments
    of an IPv4 packet that permits it. Nothing for a packet that may not be answered."""
    if packet[0] >> 4 == 6:
        answer = to_ipv6_source(packet, mtu, config)
    elif config.ipv4_address is None:
        return []
    else:
        try:
            header = IPv4Header.decode(packet)
        except DecodeError:
            return []
        if not header.dont_fragment:
            return fragments(packet, header, mtu)
        answer = to_ipv4_source(packet, mtu, config.ipv4_address)
    return [] if isinstance(answer, str) else [answer]


def fragments(packet: bytes, header: IPv4Header, mtu: int) -> list[SendError | SendIPv4]:
    """The packet in pieces of at most `mtu` octets, which may be fragments already. Options are left out."""
    data = packet[header.header_length : header.header_length + header.payload_length]
    step = (mtu - IPV4_HEADER_SIZE) // _UNIT * _UNIT
    pieces: list[SendError | SendIPv4] = []
    for start in range(0, len(data), step):
        piece = data[start : start + step]
        last = start + step >= len(data)
        head = header._replace(
            payload_length=len(piece),
            more_fragments=header.more_fragments or not last,
            fragment_offset=header.fragment_offset + start,
            header_length=IPV4_HEADER_SIZE,
        )
        pieces.append(SendIPv4(head.encode() + piece))
    return pieces
