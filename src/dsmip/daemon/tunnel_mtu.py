"""The MTU of a mobile node's tunnel device: that of its narrowest path, so that the kernel tells senders."""

from __future__ import annotations

from collections.abc import Callable

from dsmip.daemon.conditions import Conditions

#: No IPv6 link has less (RFC 8200 section 5).
MINIMUM_MTU = 1280


class TunnelMtu:
    """Keeps the device at what all paths take; `most` is the configured limit. Sizes in octets."""

    def __init__(self, set_mtu: Callable[[int], None], conditions: Conditions, most: int) -> None:
        self._set_mtu = set_mtu
        self._conditions = conditions
        self._most = self._current = most
        self._paths: dict[int, int] = {}

    def installed(self, bid: int, mtu: int) -> None:
        """There is a path with this MTU, 0 = not known. Raises HostError."""
        self._paths[bid] = mtu or self._most
        self._adapt()

    def removed(self, bid: int) -> None:
        """There is no such path any more. Raises HostError."""
        self._paths.pop(bid, None)
        self._adapt()

    def _adapt(self) -> None:
        narrowest = min(self._paths.values(), default=self._most)
        mtu = max(min(narrowest, self._most), MINIMUM_MTU)
        if mtu != self._current:
            self._current = mtu
            self._set_mtu(mtu)
        if narrowest >= MINIMUM_MTU:
            self._conditions.end("path_mtu")
            return
        self._conditions.stand(
            "path_mtu",
            f"the path to the home agent takes packets of {narrowest} octets, less than the {MINIMUM_MTU} of "
            "IPv6: new TCP connections adapt, other IPv6 packets between these sizes are lost; use an uplink "
            "with a larger MTU",
        )
