"""Handovers beside a userspace WireGuard, which a fleet might use instead: the same lab, the same moves.

A WireGuard sends to where its peer's last packet came from. So after a move the way in is open as soon as
anything has gone out: at once, if the vehicle sends itself. If it only receives, that is a keepalive, ten
seconds after the last one as long as packets come (the Keepalive-Timeout of the protocol), or when
`PersistentKeepalive` has passed, for which its manual recommends 25 seconds; or a new handshake. It is set up
as `wg-quick` does, with that, and gets its new address and route by hand: what DHCP takes is not in its time,
nor in ours.

The kernel's own WireGuard drops a source address that the machine has no longer before it sends. Debian's
wireguard-go (0.0.20220316) waits for the kernel to refuse it with EINVAL, while kernels of today say
ENETUNREACH, and so sends nothing until a handshake is due, at the latest when it has missed its peer's
answers for 15 seconds. That is measured a few times; in the main comparison it is told its peer's endpoint
once more in each move, before the new address is there, which has it forget the old one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from dsmip.bench import wireguard
from dsmip.bench.figures import Collect, Figure, Say, Spread
from dsmip.lab import measure as measures
from dsmip.lab import namespaces, plan, sniffer, streams
from dsmip.lab.errors import LabError
from dsmip.lab.lab import Lab
from dsmip.lab.streams import DOWN, FAMILIES, Flow

#: From one to the other and back: a public IPv4 address and one behind a NAT.
_WAY = ("cafe4", "nat4")
BOTH_WAYS = streams.PLAIN
FROM_OUTSIDE = replace(streams.PLAIN, directions=(DOWN,))
#: Seconds of traffic before a move.
_STAY = 1.0
#: Seconds of WireGuard: an end that only receives is silent for so long, and one that does nothing.
KEEPALIVE = 10.0
PERSISTENT_KEEPALIVE = 25
#: Seconds until a move counts as failed.
_PATIENCE = 2 * PERSISTENT_KEEPALIVE
_POLL = 0.01
#: What `wg-quick` takes as number of its table and as mark.
_MARK = wireguard.PORT
_ENDPOINT = f"{plan.HOME_AGENT_IPV4}:{wireguard.PORT}"
#: What is compared, and with what.
EACH_WAY, OUTSIDE, ALONE = "packets each way", "packets from outside only", "packets each way, untouched"
_HELPED = "wireguard-go that forgets its old address at once, as the kernel's WireGuard does"
_AGAINST = {EACH_WAY: _HELPED, OUTSIDE: _HELPED, ALONE: "wireguard-go as Debian has it"}


class Tunnel(Protocol):
    """What carries the packets of a lab's mobile router."""

    def begin(self, directory: Path) -> None:
        """Packets are about to be sent; what is found is kept in this directory."""

    def move(self, network: str) -> float:
        """Go there. Returns a moment before the first packet can pass (CLOCK_MONOTONIC seconds)."""

    def addressed(self, directory: Path, until: Sequence[float]) -> list[float]:
        """When the new address was there after each move; `until` has the ends of the stays there."""


class Ours:
    """The daemons of the lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._plugged: list[float] = []

    def begin(self, directory: Path) -> None:
        self._plugged.clear()
        sniffer.start(self._lab.processes, directory)

    def move(self, network: str) -> float:
        self._plugged.append(self._lab.move(network).plugged)
        return self._plugged[-1]

    def addressed(self, directory: Path, until: Sequence[float]) -> list[float]:
        self._lab.processes.stop([sniffer.LABEL])
        wire = sniffer.load(directory)
        found = []
        for plugged, end in zip(self._plugged, until, strict=True):
            registration = measures.registration(wire, plugged, end)
            if registration is None:
                raise LabError("a handover has no accepted Binding Update")
            usable = measures.usable(wire, registration.care_of, plugged, registration.update)
            # Without a message that says so, the address was there no later than the update left.
            found.append(registration.update if usable is None else usable)
        return found


class Theirs:
    """A WireGuard between mobile router and home agent; addresses by hand."""

    def __init__(self, lab: Lab, interface: str, peer: str) -> None:
        """`peer` is the public key of the home agent's end."""
        self._lab = lab
        self._interface = interface
        self._peer = peer
        self._added: list[float] = []
        #: Whether it forgets its old address at once.
        self.helped = True

    def begin(self, directory: Path) -> None:
        self._added.clear()

    def move(self, network: str) -> float:
        namespace = self._lab.namespace("mr")
        # Started beforehand: what it takes to start a program is no part of a handover.
        with subprocess.Popen(["ip", "-n", namespace, "-batch", "-"], stdin=subprocess.PIPE) as ip:
            assert ip.stdin is not None
            self._lab.move(network)
            # Not before: a router would send on what still arrives there, by way of the tunnel.
            namespaces.batch([f"addr flush dev {plan.UPLINK}"], namespace)
            if self.helped:
                settings = f"peer {self._peer} endpoint {_ENDPOINT}"
                wireguard.configure(namespace, self._interface, settings)
            lines = "".join(f"{line}\n" for line in addressing(network)).encode("ascii")
            added = time.monotonic()
            ip.stdin.write(lines)
            ip.stdin.close()
        if ip.returncode:
            raise LabError(f"no address on {network}")
        self._added.append(added)
        return added

    def addressed(self, directory: Path, until: Sequence[float]) -> list[float]:
        return self._added


def addressing(network: str) -> list[str]:
    """`ip` commands for an address in an IPv4 network and the way out of it."""
    router = plan.NETWORKS[network].address4
    assert router is not None
    return [
        f"addr add {router.network[7]}/{router.network.prefixlen} dev {plan.UPLINK}",
        f"route add default via {router.ip}",
    ]


@contextmanager
def _wireguard(lab: Lab) -> Iterator[Theirs]:
    """Set up as `wg-quick` does it with AllowedIPs = 0.0.0.0/0, ::/0 in the vehicle; the other end knows no
    endpoint but waits for one."""
    mr, ha = lab.namespace("mr"), lab.namespace("ha")
    names = {mr: f"wgm{os.getpid()}", ha: f"wgh{os.getpid()}"}
    networks = (plan.MOBILE_PREFIX, plan.IPV4_MOBILE_PREFIX)
    with wireguard.interfaces(names):
        (mr_private, mr_public), (ha_private, ha_public) = wireguard.keys(), wireguard.keys()
        wireguard.configure(
            *(ha, names[ha]),
            f"listen-port {wireguard.PORT} peer {mr_public} allowed-ips {','.join(map(str, networks))}",
            ha_private,
        )
        wireguard.configure(
            *(mr, names[mr]),
            f"fwmark {_MARK} peer {ha_public} allowed-ips 0.0.0.0/0,::/0 "
            f"endpoint {_ENDPOINT} persistent-keepalive {PERSISTENT_KEEPALIVE}",
            mr_private,
        )
        namespaces.batch(
            [f"link set {names[ha]} up", *(f"route add {network} dev {names[ha]}" for network in networks)],
            ha,
        )
        namespaces.batch([*addressing(lab.at), f"link set {names[mr]} up"], mr)
        for family in ("-4", "-6"):
            lines = (
                f"route add default dev {names[mr]} table {_MARK}\n"
                f"rule add not fwmark {_MARK} table {_MARK}\n"
                "rule add table main suppress_prefixlength 0\n"
            )
            namespaces.feed(["ip", "-n", mr, family, "-batch", "-"], lines)
        yield Theirs(lab, names[mr], ha_public)


def measure(collect: Collect, say: Say, *, each_way: int, outside: int, alone: int) -> None:
    """So many handovers of both with packets each way, with packets from the outside only, and of a
    wireguard-go left alone. Raises LabError when a lab cannot be built, or nothing passes."""
    if absent := wireguard.missing():
        raise LabError(f"not installed: {absent} (apt-get install wireguard-go wireguard-tools)")
    rounds = ((EACH_WAY, BOTH_WAYS, [_STAY] * each_way), (OUTSIDE, FROM_OUTSIDE, phases(outside)))
    name = f"roaming{os.getpid()}"
    with Lab.up(name, at=_WAY[1]) as lab:
        lab.start_daemons()
        ours = Ours(lab)
        # What is learnt on a first visit is not what is compared.
        _handovers(lab, ours, BOTH_WAYS, [2 * _STAY] * 2 * len(_WAY), lambda _: None)
        found = {
            what: _handovers(lab, ours, flow, stays, _telling(say, what)) for what, flow, stays in rounds
        }
    found[ALONE] = found[EACH_WAY]
    with Lab.up(name, at=_WAY[1]) as lab, _wireguard(lab) as theirs:
        untouched = [(ALONE, BOTH_WAYS, [_STAY] * alone)] if alone else []
        for what, flow, stays in (*rounds, *untouched):
            theirs.helped = what != ALONE
            others = _handovers(lab, theirs, flow, stays, _telling(say, f"WireGuard, {what}"))
            collect(beside(what, found[what], others))


def _telling(say: Say, what: str) -> Say:
    return lambda text: say(f"{what}: {text}")


def phases(count: int) -> list[float]:
    """Stays that end at evenly spread moments between two signs of life of a WireGuard that only receives:
    one is what ended the outage before."""
    return [KEEPALIVE * (number + 0.5) / count for number in range(count)]


def beside(what: str, ours: Sequence[float], theirs: Sequence[float]) -> Figure:
    """The figure of one kind of traffic, from the milliseconds each handover took."""
    found, other = Spread.of(ours), Spread.of(theirs)
    return Figure(
        f"handover/address there to first packets through, {what}, beside wireguard-go",
        found,
        "ms",
        _AGAINST[what],
        other,
        Spread.of([found.median / other.median]),
        detail={
            "handovers": len(ours),
            "wireguard-go": f"{other.minimum:.1f} to {other.maximum:,.1f} ms in {other.count}",
        },
    )


def _handovers(lab: Lab, tunnel: Tunnel, flow: Flow, stays: Sequence[float], say: Say) -> list[float]:
    """One after the other, each after so many seconds of traffic: milliseconds from the new address to the
    arrival of the first packets of every stream."""
    directory = lab.directory / "roaming"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    tunnel.begin(directory)
    streams.start(lab.processes, directory, [flow])
    ends = []
    try:
        _await(directory, flow, 0.0)
        for number, stay in enumerate(stays, 1):
            say(f"handover {number} of {len(stays)}")
            time.sleep(stay)
            moved = tunnel.move(_WAY[_WAY.index(lab.at) - 1])
            _await(directory, flow, moved)
            ends.append(time.monotonic())
    finally:
        lab.processes.stop(streams.LABELS)
    found = streams.load(directory, flow)
    names = [flow.stream(direction, family) for direction in flow.directions for family in FAMILIES]
    return [
        1000 * max(next(at for at in measures.arrivals(found[name]) if at >= since) - since for name in names)
        for since in tunnel.addressed(directory, ends)
    ]


def _await(directory: Path, flow: Flow, since: float) -> None:
    """Until a packet of every stream has arrived after `since`."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        silent = [
            flow.stream(direction, family)
            for direction in flow.directions
            for family in FAMILIES
            if streams.arrived(directory, direction, family, flow)[1] <= since
        ]
        if not silent:
            return
        if time.monotonic() > deadline:
            raise LabError(f"nothing arrives on {', '.join(silent)} for {_PATIENCE} s after a move")
        time.sleep(_POLL)
