"""Single rtnetlink requests, answered before the call returns.

The kernel carries a request out while it is being sent, so its answer is there at once: about 30 microseconds
for a route. That is too short to be worth a turn of the event loop, and the order of changes is plain to see.
Events and dumps, which take long or come at any time, are read with pyroute2 (`dsmip.host.links`).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

from dsmip.core.types import IPAddress, IPNetwork

NETLINK_ROUTE, NETLINK_XFRM = 0, 6

RTM_SETLINK = 19
RTM_NEWADDR, RTM_DELADDR = 20, 21
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH = 28, 29
RTM_NEWRULE, RTM_DELRULE = 32, 33

NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
NLM_F_DUMP = 0x300

#: Fixed parts of requests: struct ifaddrmsg, rtmsg (fib_rule_hdr is laid out alike) and ndmsg.
IFADDRMSG = struct.Struct("=BBBBI")
RTMSG = struct.Struct("=BBBBBBBBI")
NDMSG = struct.Struct("=BxxxiHBB")
_NDA_DST, _NDA_LLADDR, _NUD_STALE = 1, 2, 0x04
U32 = struct.Struct("=I")

#: Of routes (rtnetlink(7)).
MAIN_TABLE = 254
SCOPE_UNIVERSE, SCOPE_LINK = 0, 253
RTN_UNICAST, RTN_LOCAL = 1, 2
RTNH_F_ONLINK = 4

_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 6, 7, 15
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x100, 0x200
_SOL_NETLINK = 270
_NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 10, 11
_NLMSGERR_ATTR_MSG = 1
_HEADER = struct.Struct("=IHHII")
_ERROR = struct.Struct("=i")
_ATTRIBUTE = struct.Struct("=HH")

#: The kernel answers in microseconds; so long without an answer, s, means something is broken.
TIMEOUT = 2.0


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to 4 octets."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(octets: bytes) -> dict[int, bytes]:
    """The attributes in a message, by kind."""
    found, at = {}, 0
    while at + _ATTRIBUTE.size <= len(octets):
        length, kind = _ATTRIBUTE.unpack_from(octets, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind] = octets[at + _ATTRIBUTE.size : at + length]
        at += length + (-length % 4)
    return found


def family(value: IPAddress | IPNetwork) -> int:
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if value.version == 6 else socket.AF_INET


def address_body(interface: int, address: IPAddress, prefix_length: int) -> bytes:
    """The start of a request about an interface's address, of global scope."""
    head = IFADDRMSG.pack(family(address), prefix_length, 0, SCOPE_UNIVERSE, interface)
    return head + attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)


def neighbor_body(interface: int, address: IPAddress, link_layer: bytes) -> bytes:
    """A request about a neighbour cache entry in the state of one heard from the neighbour itself."""
    head = NDMSG.pack(family(address), interface, _NUD_STALE, 0, 0)
    return head + attribute(_NDA_DST, address.packed) + attribute(_NDA_LLADDR, link_layer)


def route_body(
    network: IPNetwork,
    interface: int,
    metric: int,
    *,
    table: int = MAIN_TABLE,
    gateway: IPAddress | None = None,
    source: IPAddress | None = None,
    protocol: int = 0,
    scope: int = SCOPE_UNIVERSE,
    kind: int = RTN_UNICAST,
    flags: int = 0,
) -> bytes:
    """A request about a route. To remove one, protocol and kind may be 0: any."""
    head = RTMSG.pack(family(network), network.prefixlen, 0, 0, 0, protocol, scope, kind, flags)
    body = head + attribute(_RTA_TABLE, U32.pack(table)) + attribute(_RTA_OIF, U32.pack(interface))
    body += attribute(_RTA_PRIORITY, U32.pack(metric))
    if network.prefixlen:
        body += attribute(_RTA_DST, network.network_address.packed)
    if gateway is not None:
        body += attribute(_RTA_GATEWAY, gateway.packed)
    if source is not None:
        body += attribute(_RTA_PREFSRC, source.packed)
    return body


def destination_body(destination: IPAddress) -> bytes:
    """A question which route a packet to this address takes."""
    bits = destination.max_prefixlen
    head = RTMSG.pack(family(destination), bits, 0, 0, 0, 0, SCOPE_UNIVERSE, 0, 0)
    return head + attribute(_RTA_DST, destination.packed)


class RequestSocket:
    """A netlink socket for requests. The constructor raises OSError when the kernel lacks the protocol."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.settimeout(TIMEOUT)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._sequence = 0

    def close(self) -> None:
        """Close it; further calls do nothing."""
        self._socket.close()

    @property
    def port(self) -> int:
        """The number under which the kernel notes this socket as the author of changes."""
        return int(self._socket.getsockname()[0])

    def request(self, kind: int, flags: int, body: bytes) -> None:
        """Have one change made. Raises OSError with the kernel's error number and explanation."""
        for _ in self._exchange(kind, flags | NLM_F_ACK, body):
            pass

    def ask(self, kind: int, body: bytes, *, everything: bool = False) -> list[bytes]:
        """What the kernel says, without the headers; `everything` asks for all there is of a kind.

        Raises OSError with the kernel's error number and explanation.
        """
        return list(self._exchange(kind, NLM_F_DUMP if everything else NLM_F_ACK, body))

    def _exchange(self, kind: int, flags: int, body: bytes) -> Iterator[bytes]:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags | NLM_F_REQUEST, self._sequence, 0)
        self._socket.sendto(header + body, (0, 0))
        while True:
            answers, at = self._socket.recv(65536), 0
            while at < len(answers):
                length, answer_kind, answer_flags, sequence, _ = _HEADER.unpack_from(answers, at)
                answer = answers[at : at + length]
                at += length + (-length % 4)
                if sequence != self._sequence:
                    continue
                if answer_kind not in (_NLMSG_ERROR, _NLMSG_DONE):
                    yield answer[_HEADER.size :]
                    continue
                (code,) = _ERROR.unpack_from(answer, _HEADER.size)
                if code:
                    raise OSError(-code, _explanation(answer, answer_flags) or os.strerror(-code))
                return


def _explanation(answer: bytes, flags: int) -> str:
    """The kernel's own words, when it has any (extended acknowledgement)."""
    if not flags & _NLM_F_ACK_TLVS or not flags & _NLM_F_CAPPED:
        return ""
    words = attributes(answer[_HEADER.size + _ERROR.size + _HEADER.size :]).get(_NLMSGERR_ATTR_MSG, b"")
    return words.rstrip(b"\0").decode(errors="replace")
