"""ICMP errors that routers send about packets of ours which the kernel did not make."""

from __future__ import annotations

import socket
from collections.abc import Callable

_SOL_RAW, _ICMP_FILTER = 255, 1
_DESTINATION_UNREACHABLE = 3
_LARGEST = 65535
_BATCH = 64


class Icmpv4Socket:
    """Receives Destination Unreachable, without its IPv4 header. Opening it needs CAP_NET_RAW (OSError)."""

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
        others = ~(1 << _DESTINATION_UNREACHABLE) & 0xFFFF_FFFF
        self._socket.setsockopt(_SOL_RAW, _ICMP_FILTER, others.to_bytes(4, "little"))

    def fileno(self) -> int:
        """The descriptor to watch for reading."""
        return self._socket.fileno()

    def drain(self) -> None:
        """Hand waiting messages on, so many at a time that everybody else gets a turn under load."""
        for _ in range(_BATCH):
            try:
                packet = self._socket.recv(_LARGEST)
            except BlockingIOError:
                return
            if packet:
                self._received(packet[(packet[0] & 0x0F) * 4 :])

    def close(self) -> None:
        """Stop receiving."""
        self._socket.close()
