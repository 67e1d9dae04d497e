"""The real home agent program with a whole fleet configured, and the fleet's end of the cable."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dsmip.bench import fleet, frames, network
from dsmip.bench.network import Network
from dsmip.core.types import DSMIP_PORT, IPAddress
from dsmip.daemon import provisioned
from dsmip.daemon.config.keys import Key
from dsmip.daemon.control import ControlError, ask
from dsmip.daemon.provisioned import ProvisionedNode
from dsmip.lab import daemons, namespaces
from dsmip.lab.errors import LabError
from dsmip.wire.constants import NextHeader

#: Seconds a daemon with a large fleet gets to come up.
START_WITHIN = 300.0
STOP_WITHIN = 60.0
_POLL = 0.02
#: Seconds without any processor time after which a daemon is at rest.
_REST = 0.5
_ETHERTYPE_IPV6 = b"\x86\xdd"
_PORT = DSMIP_PORT.to_bytes(2, "big")
_ETHERNET = 14
#: Where the inner IPv6 header starts in IPv4 and UDP.
_IN_UDP = 20 + 8
#: Where the home address stands in an IPv6 packet with a home address option (after the padding that puts the
#: option on its alignment), or with a type 2 routing header: the same place.
_HOME_ADDRESS = 40 + 8
_ETH_P_ALL = 3
_SO_RCVBUFFORCE = 33
_BUFFER = 16 << 20

_HEAD = """role = "home-agent"
name = "{name}"
address = "{address}"
ipv4_address = "{ipv4_address}"
home_prefixes = ["{home}"]
ipv4_home_prefixes = ["{ipv4_home}"]
mobile_prefixes = ["{mobile}"]
uplinks = ["{uplink}"]
max_bindings = {capacity}
timestamp_tolerance = 86400.0
state_directory = "{state}"
"""


def configuration(name: str, state: Path, capacity: int, settings: str = "") -> str:
    """The home agent's file; `settings` are further lines. The fleet is not in it but provisioned."""
    return (
        _HEAD.format(
            name=name,
            address=fleet.HOME_AGENT,
            ipv4_address=fleet.HOME_AGENT_IPV4,
            home=fleet.HOME_PREFIX,
            ipv4_home=fleet.IPV4_HOME_PREFIX,
            mobile=fleet.MOBILE_PREFIX,
            uplink=network.UPLINK,
            capacity=capacity,
            state=state,
        )
        + settings
    )


def provision(state: Path, vehicles: Sequence[fleet.Vehicle]) -> None:
    """Write the file that `dsmip provision` would have written for this fleet."""
    state.mkdir(mode=0o700, exist_ok=True)
    nodes = tuple(
        ProvisionedNode(
            name=vehicle.identifier,
            role="mobile-router",
            home_address=vehicle.home_address,
            ipv4_home_address=vehicle.ipv4_home_address,
            mobile_network_prefixes=(vehicle.prefix,),
            uplinks=("wan0",),
            key=Key(vehicle.key),
            created=0.0,
            key_created=0.0,
        )
        for vehicle in vehicles
    )
    provisioned.write(state / provisioned.FILE_NAME, nodes)


class HomeAgentProcess:
    """`dsmip run` in the home agent's namespace of a measuring network. Use as a context manager."""

    def __init__(
        self,
        net: Network,
        directory: Path,
        vehicles: Sequence[fleet.Vehicle],
        *,
        capacity: int = 0,
        settings: str = "",
    ) -> None:
        self._net = net
        self._directory = directory
        self.name = f"bench{os.getpid()}"
        self._config = directory / "ha.toml"
        state = directory / "state"
        self._config.write_text(
            configuration(self.name, state, capacity or max(len(vehicles), 1), settings), encoding="ascii"
        )
        if vehicles:
            provision(state, vehicles)
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> HomeAgentProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self.end(signal.SIGTERM)
        daemons.forget(self.name)

    def start(self) -> None:
        """Start the program; it is not waited for."""
        argv = [sys.executable, "-m", "dsmip", "run", str(self._config)]
        with (self._directory / "ha.log").open("ab") as log:
            self._child = subprocess.Popen(
                namespaces.command(self._net.namespace("ha"), argv), stdout=log, stderr=subprocess.STDOUT
            )

    def await_answer(self) -> None:
        """Until it answers on its control socket. Raises LabError when it does not come up."""
        deadline = time.monotonic() + START_WITHIN
        while not daemons.answers(self.name):
            if time.monotonic() > deadline or self.child.poll() is not None:
                log = (self._directory / "ha.log").read_text(encoding="utf-8", errors="replace")
                raise LabError("the home agent does not come up:\n" + "\n".join(log.splitlines()[-10:]))
            time.sleep(_POLL)

    @property
    def child(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._child is not None, "not started"
        return self._child

    def end(self, number: signal.Signals) -> None:
        """End it with this signal, and wait."""
        self.child.send_signal(number)
        try:
            self.child.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self._child = None

    def bindings(self) -> int:
        """How many bindings it says it has; 0 while it does not answer."""
        try:
            return int(ask(self.name, "status", timeout=STOP_WITHIN)["bindings"])
        except ControlError:
            return 0

    def memory(self) -> int:
        """Octets of RAM the process occupies that are not shared with others."""
        lines = Path(f"/proc/{self.child.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_"))

    def await_rest(self) -> None:
        """Until it has had nothing to do for a while: after a restart it goes through its bindings in the
        pauses. Raises LabError when it never has."""
        deadline = time.monotonic() + START_WITHIN
        before = -1.0
        while (used := self.cpu()) > before:
            if time.monotonic() > deadline:
                raise LabError("the home agent does not come to rest")
            before = used
            time.sleep(_REST)

    def cpu(self) -> float:
        """Seconds of processor time it has used."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class FleetEnd:
    """Sends Binding Updates over the home agent's uplink cable and counts the acknowledgements."""

    def __init__(self, net: Network) -> None:
        self._namespace = net.namespace("net")
        gateways: list[IPAddress] = [fleet.HOME_AGENT - 1, fleet.HOME_AGENT_IPV4 - 1]
        net.sink("ha", network.UPLINK, gateways)
        self._tap = namespaces.open_socket(self._namespace, socket.AF_PACKET, socket.SOCK_RAW)
        self._tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._tap.bind(("h0", _ETH_P_ALL))
        self._tap.setblocking(False)
        self._to, self._from = network.mac("ha", network.UPLINK), network.mac("net", "h0")

    def close(self) -> None:
        """Let go of the sockets."""
        self._tap.close()

    def exchange(
        self, packets: Sequence[bytes], window: int, patience: float
    ) -> tuple[list[float], float, int]:
        """Send all packets with at most `window` unanswered at a time.

        Returns when each acknowledgement came, when the first update left (both in CLOCK_MONOTONIC seconds),
        and how many updates were left without an answer for `patience` seconds.
        """
        sender = frames.Sender(
            self._namespace, "h0", [frames.frame(self._to, self._from, packet) for packet in packets]
        )
        arrivals: list[float] = []
        sent = 0
        self._discard()
        began = last = time.monotonic()
        try:
            while len(arrivals) < len(packets):
                allowed = min(window - (sent - len(arrivals)), len(packets) - sent)
                if allowed > 0:
                    sent += sender.send(allowed)
                got = sum(1 for _ in self._answers())
                now = time.monotonic()
                if got:
                    arrivals += [now] * got
                    last = now
                elif now - last > patience:
                    break
        finally:
            sender.close()
        return arrivals, began, len(packets) - len(arrivals)

    def paced(self, packets: Sequence[bytes], rate: float, patience: float) -> list[float]:
        """Send the updates, each of another vehicle, at so many a second, whatever is answered.

        Returns the seconds from each update to its acknowledgement, of those that come within `patience` of
        the last one. Where this end is late itself, that counts against the home agent.
        """
        sender = frames.Sender(
            self._namespace, "h0", [frames.frame(self._to, self._from, packet) for packet in packets]
        )
        waits: list[float] = []
        left: dict[bytes, float] = {}
        homes = [_sender_of(packet) for packet in packets]
        self._discard()
        sent = 0
        began = last = time.monotonic()
        try:
            while len(waits) < len(packets) and time.monotonic() - last < patience:
                due = min(len(packets), int((time.monotonic() - began) * rate))
                if due > sent:
                    last = time.monotonic()
                    left.update(dict.fromkeys(homes[sent:due], last))
                    sent += sender.send(due - sent)
                for octets in self._answers():
                    moment = left.pop(_recipient_of(octets), None)
                    if moment is not None:
                        last = time.monotonic()
                        waits.append(last - moment)
        finally:
            sender.close()
        return waits

    def storm(self, packets: Sequence[bytes], again: float, most: float) -> tuple[float, int]:
        """Send the updates, each of another vehicle, all at once, and `again` seconds later once more.

        Returns the seconds until the last one was, and how many packets that took. Raises LabError when it
        takes more than `most` seconds.
        """
        left = {_sender_of(packet): packet for packet in packets}
        self._discard()
        sent = 0
        began = time.monotonic()
        while left:
            octets = [frames.frame(self._to, self._from, packet) for packet in left.values()]
            sender = frames.Sender(self._namespace, "h0", octets)
            unsent, due = len(octets), time.monotonic() + again
            try:
                while left and time.monotonic() < due:
                    if unsent:
                        unsent -= sender.send(unsent)
                    for answer in self._answers():
                        left.pop(_recipient_of(answer), None)
            finally:
                sender.close()
            sent += len(octets) - unsent
            if time.monotonic() - began > most:
                raise LabError(f"{len(left)} of {len(packets)} updates are not answered in {most:g} s")
        return time.monotonic() - began, sent

    def watch(self, packets: Sequence[bytes]) -> Watch:
        """Send these updates one by one, and look at what comes of it and of data meanwhile."""
        self._discard()
        sender = frames.Sender(
            self._namespace, "h0", [frames.frame(self._to, self._from, packet) for packet in packets]
        )
        return Watch(sender, self._tap)

    def _answers(self) -> Iterator[bytes]:
        """Acknowledgements that wait."""
        return (octets for octets in _arrived(self._tap) if _is_acknowledgement(octets))

    def _discard(self) -> None:
        for _ in self._answers():
            pass


class Watch:
    """Counts acknowledgements, and data packets in IPv6 tunnels, as they come out of the home agent."""

    def __init__(self, sender: frames.Sender, tap: socket.socket) -> None:
        self._sender = sender
        self._tap = tap
        self.acknowledged = 0
        self.tunnelled = 0

    def send_update(self) -> None:
        """Send the next update."""
        self._sender.send(1)

    def drain(self) -> None:
        """Count what has come since the last time."""
        for octets in _arrived(self._tap):
            if _is_acknowledgement(octets):
                self.acknowledged += 1
            elif octets[12:14] == _ETHERTYPE_IPV6 and octets[20] == NextHeader.IPV6:
                self.tunnelled += 1

    def close(self) -> None:
        """Send no more."""
        self._sender.close()


def _arrived(tap: socket.socket) -> Iterator[bytes]:
    """Frames that wait, without those sent from here; the beginning of each."""
    while True:
        try:
            octets, address = tap.recvfrom(256)
        except BlockingIOError:
            return
        if address[2] != socket.PACKET_OUTGOING:
            yield octets


def _sender_of(packet: bytes) -> bytes:
    """The home address an update of the fleet is from: in UDP the inner source, otherwise in the option."""
    if packet[0] >> 4 == 4:
        return packet[_IN_UDP + 8 : _IN_UDP + 24]
    return packet[_HOME_ADDRESS : _HOME_ADDRESS + 16]


def _recipient_of(octets: bytes) -> bytes:
    """The home address an acknowledgement is for: in UDP the inner destination, otherwise in the type 2
    routing header."""
    packet = octets[_ETHERNET:]
    if packet[0] >> 4 == 4:
        return packet[_IN_UDP + 24 : _IN_UDP + 40]
    return packet[_HOME_ADDRESS : _HOME_ADDRESS + 16]


def _is_acknowledgement(octets: bytes) -> bool:
    """A frame with a type 2 routing header, or in UDP from the home agent's port: nothing else here has."""
    if octets[12:14] == _ETHERTYPE_IPV6:
        return octets[20] == NextHeader.ROUTING
    return octets[23] == NextHeader.UDP and octets[34:36] == _PORT


@contextmanager
def fleet_end(net: Network) -> Iterator[FleetEnd]:
    """A fleet's end of the cable that is closed afterwards."""
    end = FleetEnd(net)
    try:
        yield end
    finally:
        end.close()
