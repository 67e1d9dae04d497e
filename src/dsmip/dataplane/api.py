"""The narrow door to packet forwarding: what the daemon may ask of a data plane.

`dsmip.dataplane.bpf` implements it with the eBPF program, `dsmip.dataplane.fake` in memory for tests.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from dsmip.core.types import IPAddress, IPNetwork, Path


class Role(enum.Enum):
    """Which inner address names the binding: the home agent looks at the mobile node's side of a packet when
    it comes out of a tunnel as source, when it goes in as destination; a mobile node the other way round."""

    HOME_AGENT = "home-agent"
    MOBILE_NODE = "mobile-node"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Inner packets and bytes of one binding: `sent` into the tunnel, `received` out of it."""

    sent_packets: int = 0
    sent_bytes: int = 0
    received_packets: int = 0
    received_bytes: int = 0


class DataPlaneError(RuntimeError):
    """The kernel refused something: the message names the feature and the mend."""


class DataPlane(Protocol):
    """Forwarding state, addressed by binding index (any u32). All calls are idempotent.

    Every call raises DataPlaneError when the kernel refuses it.
    """

    def set_path(self, index: int, path: Path) -> None:
        """Send packets of this binding over `path` from the next packet on."""

    def remove_path(self, index: int) -> None:
        """Drop (and count) packets of this binding until a path is set."""

    def set_networks(self, index: int, networks: Iterable[IPNetwork]) -> None:
        """Replace the set of inner address ranges that belong to this binding."""

    def allow_source(self, index: int, address: IPAddress, port: int, until: float | None) -> None:
        """Accept tunnelled packets of this binding from this outer source.

        `port` 0 = protocols 41 and 4; otherwise UDP from that port. `until` is CLOCK_MONOTONIC seconds,
        None = no end.
        """

    def deny_source(self, index: int, address: IPAddress, port: int) -> None:
        """Accept no more tunnelled packets of this binding from this outer source."""

    def retain_sources(self, index: int, sources: Iterable[tuple[IPAddress, int]]) -> None:
        """Accept no more tunnelled packets of this binding from other outer sources than these, which are
        addresses and ports as for `allow_source`: what an earlier process allowed may be outdated."""

    def remove_binding(self, index: int) -> None:
        """Forget path, networks, sources and counters of this binding."""

    def add_local(self, address: IPAddress) -> None:
        """Treat tunnelled and signalling packets to this outer destination as ours."""

    def remove_local(self, address: IPAddress) -> None:
        """Leave packets to this outer destination to the kernel."""

    def attach(self, interface: str) -> None:
        """Take tunnelled packets and signalling from this interface's ingress."""

    def detach(self, interface: str) -> None:
        """Leave this interface alone."""

    def set_home_link(self, ifindex: int) -> None:
        """Packets for the home prefix without a binding go out of this link; 0 = there is none."""

    def traffic(self, index: int) -> Traffic:
        """Counters of one binding (zeros when unknown)."""

    def drops(self) -> Mapping[str, int]:
        """Packets dropped or refused so far, by reason slug."""
