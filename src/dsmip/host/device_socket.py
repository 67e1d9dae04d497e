"""Packets put on a device as they are, past routes and policies."""

from __future__ import annotations

import logging
import socket

_SO_MARK = 36
_ETH_P_IPV6 = 0x86DD

log = logging.getLogger(__name__)


class DeviceSocket:
    """Sends IPv6 packets out of `device`, marked with `mark`. The constructor raises OSError without
    CAP_NET_RAW and CAP_NET_ADMIN."""

    def __init__(self, device: str, mark: int) -> None:
        self._device = device
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_MARK, mark)
        except OSError:
            self._socket.close()
            raise

    def send(self, packet: bytes) -> None:
        """What the device does not take is dropped: it has counted it."""
        try:
            self._socket.sendto(packet, (self._device, _ETH_P_IPV6))
        except OSError as error:
            log.debug("%s does not take a packet: %s", self._device, error)

    def close(self) -> None:
        """Close it."""
        self._socket.close()
