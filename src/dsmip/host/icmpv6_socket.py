"""ICMPv6 messages that concern the mobility protocol and that the kernel does nothing more with."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from ipaddress import IPv6Address

from dsmip.host.icmpv6_filter import open_icmpv6

_LARGEST = 65535
_BATCH = 64
_IN6_PKTINFO_ADDRESS = 16

#: Called with the message, its source and its destination.
OnMessage = Callable[[bytes, IPv6Address, IPv6Address], None]


class Icmpv6Socket:
    """Receives the ICMPv6 messages of some types sent to any address of this node, behind the kernel's check
    of their checksums. Opening it needs CAP_NET_RAW (OSError)."""

    def __init__(self, types: Collection[int], received: OnMessage) -> None:
        self._received = received
        self._socket = open_icmpv6(types)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)

    def fileno(self) -> int:
        """The descriptor to watch for reading."""
        return self._socket.fileno()

    def drain(self) -> None:
        """Hand waiting messages on, so many at a time that everybody else gets a turn under load."""
        for _ in range(_BATCH):
            try:
                data, control, _, address = self._socket.recvmsg(_LARGEST, socket.CMSG_SPACE(20))
            except BlockingIOError:
                return
            for level, kind, value in control:
                if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                    source = IPv6Address(address[0].split("%")[0])
                    self._received(data, source, IPv6Address(value[:_IN6_PKTINFO_ADDRESS]))

    def close(self) -> None:
        """Stop receiving."""
        self._socket.close()
