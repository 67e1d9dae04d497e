"""The narrow door to packet forwarding: what the daemon may ask of a data plane.

`dsmip.dataplane.bpf` implements it with the eBPF program, `dsmip.dataplane.fake` in memory for tests.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from dsmip.core.types import FlowRule, IPAddress, IPNetwork, Path

#: Care-of addresses (BIDs) in the preference of one binding and in one flow rule.
MAX_BIDS = 8
#: Flow rules of one binding.
MAX_FLOWS = 64
#: Care-of addresses over which a packet goes at most when a flow rule names several.
MAX_COPIES = 3


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

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.sent_packets + other.sent_packets,
            self.sent_bytes + other.sent_bytes,
            self.received_packets + other.received_packets,
            self.received_bytes + other.received_bytes,
        )


@dataclass(frozen=True, slots=True)
class PathState:
    """What is known of one path: its traffic, and when the last probe came over it.

    `heard` is CLOCK_MONOTONIC seconds, None = never since the path was set. `silent`: the time for which that
    probe vouched has passed, and nothing is sent there while another path will do. A path that was never
    probed is not silent.
    """

    traffic: Traffic = Traffic()
    heard: float | None = None
    silent: bool = False
    mtu: int = 0


class DataPlaneError(RuntimeError):
    """The kernel refused something: the message names the feature and the mend."""


class NoRoom(DataPlaneError):
    """The kernel had no room for a new entry: the map has as many as it was made for, `full`, or there is no
    memory. `table` is the map's name."""

    def __init__(self, table: str, entries: int, *, full: bool) -> None:
        self.table = table
        self.full = full
        super().__init__(
            f"map {table} is full with {entries} entries: raise max_bindings in the configuration"
            if full
            else f"no memory for another entry of map {table}, which has room for {entries}: the machine,"
            " or the control group of the service, needs more"
        )


class NotInstalled(DataPlaneError):
    """Of the changes made together the kernel refused some: `refusals` has the reasons, by the index of the
    binding concerned. All other bindings have theirs."""

    def __init__(self, refusals: Mapping[int, DataPlaneError]) -> None:
        self.refusals = refusals
        super().__init__(str(next(iter(refusals.values()))))


def checked_bids(bids: Sequence[int]) -> tuple[int, ...]:
    """Each once, and without 0, which as a plain binding needs no choice. ValueError for more than MAX_BIDS,
    or beyond 16 bits."""
    distinct = tuple(dict.fromkeys(bid for bid in bids if bid))
    if len(distinct) > MAX_BIDS:
        raise ValueError(f"{len(distinct)} BIDs, at most {MAX_BIDS} are possible")
    if wrong := [bid for bid in distinct if not 0 < bid <= 0xFFFF]:
        raise ValueError(f"not a BID: {wrong[0]}")
    return distinct


def checked_rules(rules: Sequence[FlowRule]) -> tuple[FlowRule, ...]:
    """With checked BIDs. ValueError for more than MAX_FLOWS, or wrong BIDs."""
    if len(rules) > MAX_FLOWS:
        raise ValueError(f"{len(rules)} flow rules, at most {MAX_FLOWS} are possible")
    return tuple(FlowRule(rule.selector, checked_bids(rule.bids)) for rule in rules)


class DataPlane(Protocol):
    """Forwarding state, addressed by binding index (any u32). All calls are idempotent.

    A binding has paths, each with a BID (RFC 5648). BID 0 is the plain binding of RFC 6275: while such a path
    exists all packets take it, whatever preference and flow rules say. Otherwise a packet takes the path that
    the first matching flow rule names, and if none matches, the first of the preference. A path is usable
    when it exists, has not expired and is not silent (see PathState); a rule without usable path does not
    count, and when no path of the preference is usable, the first one that is merely silent is taken. A rule
    that names several paths sends copies over silent ones, too, as long as one is usable.

    Every call raises DataPlaneError when the kernel refuses it, ValueError for more BIDs or rules than the
    limits above allow.
    """

    def together(self) -> AbstractContextManager[None]:
        """Changes of paths, networks and sources that are made within take effect at its end, in a few system
        calls: first all that is new, then what has gone. Not to be nested.

        Raises NotInstalled when the kernel refuses some, after those of all other bindings have been made. Of
        the bindings concerned some entries are new and others are not, but none is missing yet that there
        was: what has gone goes at the end of the next time. Whoever says there what these bindings had
        before, or removes them, leaves nothing behind and interrupts nothing.
        """

    def set_path(self, index: int, path: Path, bid: int = 0, *, moved: bool = False) -> None:
        """Send packets of this binding over `path` from the next packet on. Setting it once more keeps what
        is known of it (`PathState.heard`) unless more than `expires` and `mtu` is different. An `mtu` of 0 is
        replaced by what the mobile node's probes say, and keeps that.

        `moved`: it leads elsewhere than the one before, of which there is nothing to look up then.
        """

    def remove_path(self, index: int, bid: int = 0) -> None:
        """Send no more packets over this path. With none left, packets are dropped and counted."""

    def set_preference(self, index: int, bids: Sequence[int]) -> None:
        """Replace the order, best first, in which paths are tried for packets that no flow rule matches. BIDs
        without a path are passed over; paths that are not named are used by flow rules only."""

    def set_flows(self, index: int, rules: Sequence[FlowRule]) -> None:
        """Replace the flow rules, in the order in which they are tried, in one step.

        Ports match TCP, UDP, UDP-Lite, SCTP and DCCP, the SPI matches ESP and AH; behind IPv6 extension
        headers, what counts as next header is the first that is none. Fragments follow the first one
        of their packet (RFC 6089 section 5.3.6), or if that was not seen before, have neither ports nor SPI.
        """

    def set_duplication(self, index: int, enabled: bool) -> None:
        """Both ends agreed on sequence numbers: packets that a flow rule sends over several paths carry one,
        in UDP, and the second copy of a received one is dropped. Otherwise copies are just copies."""

    def paths(self, index: int) -> Mapping[int, PathState]:
        """The state of every path, by BID."""

    def set_networks(self, index: int, networks: Iterable[IPNetwork]) -> None:
        """Replace the set of inner address ranges that belong to this binding."""

    def allow_source(
        self, index: int, address: IPAddress, port: int, until: float | None, bid: int = 0
    ) -> None:
        """Accept tunnelled packets of this binding from this outer source.

        `port` 0 = protocols 41 and 4; otherwise UDP from that port. `until` is CLOCK_MONOTONIC seconds,
        None = no end. `bid` is the path whose counters and probes they are; a mobile node, whose paths all
        come from the same home agent, gives it to `add_local` instead.
        """

    def deny_source(self, index: int, address: IPAddress, port: int) -> None:
        """Accept no more tunnelled packets of this binding from this outer source."""

    def retain_sources(self, index: int, sources: Iterable[tuple[IPAddress, int]]) -> None:
        """Accept no more tunnelled packets of this binding from other outer sources than these, which are
        addresses and ports as for `allow_source`: what an earlier process allowed may be outdated."""

    def set_protection(
        self, index: int, correspondents: Iterable[IPNetwork], spis: Iterable[int] = ()
    ) -> None:
        """Packets between this binding and these correspondents have to be under ESP: in tunnels nothing else
        passes, but for echoes, prefix discovery and key exchange between home address and home agent.
        Replaces what was said before; without correspondents there is no protection. It stays when the
        binding is removed.

        `spis` are those of ESP with payload that comes in: other ESP in UDP is signalling, and goes to the
        daemon.
        """

    def protected(self) -> frozenset[int]:
        """Indexes with protection, those of an adopted data plane included."""

    def remove_binding(self, index: int) -> None:
        """Forget everything about this binding but its protection."""

    def add_local(self, address: IPAddress, bid: int = 0, interface: int = 0) -> None:
        """Treat tunnelled and signalling packets to this outer destination as ours.

        On a mobile node, `bid` is the path that belongs to it on `interface` (an ifindex): another one may
        have the same address. 0 = whichever the packets come in on.
        """

    def remove_local(self, address: IPAddress, interface: int = 0) -> None:
        """Leave packets to this outer destination to the kernel."""

    def attach(self, interface: str) -> None:
        """Take tunnelled packets and signalling from this interface's ingress."""

    def detach(self, interface: str) -> None:
        """Leave this interface alone."""

    def set_home_link(self, ifindex: int) -> None:
        """Packets for the home prefix without a binding go out of this link; 0 = there is none."""

    def traffic(self, index: int) -> Traffic:
        """Counters of one binding, all paths together, former ones included (zeros when unknown)."""

    def drops(self) -> Mapping[str, int]:
        """Packets dropped or refused so far, by reason slug."""
