"""What every role needs around its engine: a run directory, the tunnel device, the data plane, a timer.

The runtime feeds upcalls and time into the engine and has the role carry out what comes back.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from pathlib import Path
from typing import IO, Protocol

from dsmip.core.actions import Action, SendDatagram, SendPacket
from dsmip.core.types import Instant
from dsmip.daemon.admission import Admission, Classify
from dsmip.daemon.capture import Tap
from dsmip.daemon.conditions import Conditions
from dsmip.daemon.control import RUN_ROOT, SOCKET_NAME
from dsmip.daemon.control_server import ControlServer, Handler, Stream, whole_number
from dsmip.daemon.descriptors import DescriptorWatch
from dsmip.daemon.events import EventLog
from dsmip.daemon.garbage import Collection
from dsmip.daemon.payload import PayloadProtection
from dsmip.daemon.protection import SignallingProtection
from dsmip.daemon.rounds import Refusals, rounds
from dsmip.daemon.service import Watchdog, notify
from dsmip.dataplane import features
from dsmip.dataplane.api import DataPlaneError, NotInstalled, Role, Traffic
from dsmip.dataplane.bpf import BpfDataPlane
from dsmip.dataplane.tun import TunDevice
from dsmip.host import xfrm
from dsmip.host.routing import HostError, Routing
from dsmip.host.sockets import SignallingSockets
from dsmip.host.sysctl import Settings

#: The tunnel device: one per node, whatever the number of bindings.
DEVICE = "dsmip0"
BPF_ROOT = RUN_ROOT / "bpf"
#: Upcalls looked at per wake-up, so that timers and the control socket get their turn under load. As long as
#: no more wait, all of them get theirs at once, and there is no need to know whose they are.
_UPCALLS_PER_WAKE = 256
#: Upcalls the kernel keeps while we do something else: what a fleet sends that leaves a tunnel at once.
_UPCALL_QUEUE = 8192
#: Upcalls read per wake-up when there are more: those that wait get into an order.
_READ_PER_WAKE = 2048

log = logging.getLogger(__name__)


class StartError(RuntimeError):
    """The daemon cannot start; nothing was changed. The message says what is missing and the mend."""


class Engine(Protocol):
    """What the runtime needs of a protocol engine."""

    def receive(self, data: bytes, now: Instant, *, protected: bool = False) -> None: ...
    def tick(self, now: Instant) -> None: ...
    def timeout(self) -> float | None: ...
    def actions(self) -> list[Action]: ...


def instant() -> Instant:
    """Now."""
    return Instant(time.monotonic(), time.time())


class Runtime:
    """One node: opens and closes everything around an engine, and turns its crank."""

    def __init__(
        self,
        name: str,
        role: Role,
        carry_out: Callable[[Action], None],
        *,
        classify: Classify,
        prepare: Callable[[list[Action]], list[Action]] = list,
        together: bool = False,
        mtu: int,
        state_directory: Path,
        udp_port: int,
        capacity: int = 131072,
    ) -> None:
        """`classify` tells whose an upcall seems to be, when there are too many. `prepare` sees all actions
        of a turn before the first is carried out, and may hold some back. `together`: messages leave at the
        end of a turn, when all of its changes are in the data plane, which takes them at once."""
        self.name = name
        self.events = EventLog()
        self.conditions = Conditions(self.events.event)
        self._descriptors = DescriptorWatch(self.conditions)
        self.tap = Tap()
        self.sockets = SignallingSockets()
        self.routing = Routing()
        self.run_directory = RUN_ROOT / name
        self.state_directory = state_directory
        self.started = time.time()
        #: Whether the next process is to find forwarding in place, whatever was said at the start.
        self.hands_over = False
        #: Traffic of bindings that are no more.
        self.retired = Traffic()
        self._role = role
        self._carry_out = carry_out
        self._prepare = prepare
        self._together = together
        self._waiting = Admission(classify)
        self._again: asyncio.Handle | None = None
        self._mtu = mtu
        self._udp_port = udp_port
        self._capacity = capacity
        self._engine: Engine | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._lock: IO[str] | None = None
        self._control: ControlServer | None = None
        self._stop: asyncio.Event = asyncio.Event()
        self._protection: SignallingProtection | None = None
        #: Set by `protect_payload`.
        self.payload: PayloadProtection | None = None
        #: Asked about each upcall before the engine is: True = it is dealt with.
        self.takers: list[Callable[[bytes], bool]] = []
        #: Deals with what the kernel refuses of changes made together, None = it is told.
        self.refusals: Refusals | None = None

    # Start and stop ----------------------------------------------------------------------------------------

    async def open(self, interfaces: list[str]) -> None:
        """Check what the kernel offers, then bring up device and data plane.

        Raises StartError before anything is changed.
        """
        problems = [f"{problem.name}: {problem.mend}" for problem in features.probe()]
        missing = [
            interface for interface in interfaces if not Path(f"/proc/sys/net/ipv4/conf/{interface}").exists()
        ]
        problems += [
            f"interface {interface}: does not exist; 'ip link' lists those that do" for interface in missing
        ]
        if problems:
            raise StartError("\n".join(problems))
        try:
            self.run_directory.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self.state_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            mend = "run as root, or let the service manager give it to this user"
            raise StartError(f"{error.filename}: {error.strerror}: {mend}") from error
        self.settings = Settings(self.run_directory / "sysctl.json")
        self.device = TunDevice.open(DEVICE)
        self.device_index = socket.if_nametoindex(DEVICE)
        self.settings.set(f"net/ipv4/conf/{DEVICE}/rp_filter", 0)
        self.settings.set(f"net/ipv4/conf/{DEVICE}/send_redirects", 0)
        self.settings.set(f"net/ipv6/conf/{DEVICE}/accept_ra", 0)
        self.routing.set_link(self.device_index, mtu=self._mtu, queue=_UPCALL_QUEUE)
        self.dataplane = BpfDataPlane.open(
            self._role,
            self.device_index,
            BPF_ROOT / self.name,
            udp_port=self._udp_port,
            capacity=self._capacity,
        )
        for table, count in self.dataplane.foreign.items():
            self.events.event("foreign-entries-removed", {"map": table, "count": count})

    async def serve(self, engine: Engine, handlers: dict[str, Handler]) -> None:
        """Run the engine until `stop` is called or SIGTERM or SIGINT arrives, or SIGUSR1, which leaves
        forwarding in place for the next process.

        `handlers` answer on the control socket, besides those that every role has.
        """
        loop = asyncio.get_running_loop()
        self._engine = engine
        self._descriptors.start(loop)
        loop.add_reader(self.device.fileno(), self._upcall)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGUSR1, self._hand_over)
        answers: dict[str, Handler] = {"events": lambda _arguments: self.events.recent, **handlers}
        streams: dict[str, Stream] = {
            "events": lambda arguments: self.events.follow(whole_number(arguments, "past", 0)),
            "capture": lambda _arguments: self.tap.follow(),
        }
        self._control = ControlServer(self.run_directory / SOCKET_NAME, answers, streams)
        await self._control.start()
        self.turn()
        collection = Collection()
        notify("READY=1")
        watchdog = Watchdog()
        await self._stop.wait()
        watchdog.stop()
        collection.stop()
        self._descriptors.stop()
        notify("STOPPING=1")
        loop.remove_reader(self.device.fileno())
        if self._again is not None:
            self._again.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def protect(self, send: Callable[[SendPacket | SendDatagram], None]) -> SignallingProtection:
        """What puts signalling under IPsec; `send` sends what is. Made when it is first asked for.

        Raises StartError when this kernel has no IPsec.
        """
        if self._protection is None:
            try:
                self._protection = SignallingProtection(self.device.write, self._decrypted, send)
            except (HostError, OSError) as error:
                raise StartError(str(error)) from error
            for one in self._protection.sockets:
                asyncio.get_running_loop().add_reader(one.fileno(), self._protection.decrypted, one)
            self.takers.append(self._protection.takes)
        return self._protection

    def protect_payload(self) -> PayloadProtection:
        """What puts payload under IPsec. Made when it is first asked for.

        Raises HostError when this kernel has no IPsec.
        """
        if self.payload is None:
            self.payload = PayloadProtection(xfrm.Xfrm(), self.dataplane)
        return self.payload

    def is_protected(self, action: SendPacket | SendDatagram) -> bool:
        """Whether this leaves by way of IPsec: then it has left."""
        return self._protection is not None and self._protection.protects(action)

    def is_peer(self, local: IPv6Address, remote: IPv6Address) -> bool:
        """Whether signalling between these two is under IPsec."""
        return self._protection is not None and self._protection.is_peer(local, remote)

    def refused(self) -> dict[str, dict[str, int]]:
        """What was refused or dropped so far, by where and why."""
        counted = {
            "signalling_refused": dict(self.events.drops),
            "dataplane_dropped": dict(self.dataplane.drops()),
        }
        if self._protection is not None or self.payload is not None:
            counted["ipsec_dropped"] = xfrm.dropped()
        return counted

    def _decrypted(self, packet: bytes) -> None:
        if self._engine is not None:
            self._engine.receive(packet, instant(), protected=True)
            self.turn()

    def stop(self) -> None:
        """End `serve`."""
        self._stop.set()

    def _hand_over(self) -> None:
        self.hands_over = True
        self._stop.set()

    async def close(self, *, keep_forwarding: bool) -> None:
        """Take out what was put in, or leave forwarding as it is."""
        if self._control is not None:
            await self._control.stop()
        if self._protection is not None:
            for one in self._protection.sockets:
                asyncio.get_running_loop().remove_reader(one.fileno())
            self._protection.close(keep=keep_forwarding)
        if self.payload is not None:
            self.payload.close(keep=keep_forwarding)
        self.sockets.close()
        if keep_forwarding:
            self.dataplane.close(keep=True)
            self.device.close()
        else:
            await self.routing.flush(self.device_index)
            self.dataplane.close(keep=False)
            self.device.destroy()
            self.settings.restore()
        self.routing.close()
        self.events.close()
        if self._lock is not None:
            self._lock.close()

    def _take_lock(self) -> None:
        self._lock = open(self.run_directory / "lock", "w")  # noqa: SIM115 - held until close
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            self._lock = None
            raise StartError(
                f"{self.name} is running already; stop it, or give this one another name"
            ) from None
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    # The crank ---------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Carry out what the engine wants and arm its timer."""
        engine = self._engine
        if engine is None:
            return
        self.carry_out_last()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = engine.timeout()
        if due is not None:
            # asyncio's clock is CLOCK_MONOTONIC, the clock of the engines.
            self._timer = asyncio.get_running_loop().call_at(due, self._tick)

    def carry_out_last(self) -> None:
        """Carry out what the engine wants, and wake it no more by this."""
        if self._engine is None:
            return
        self._carry_out_all(self._prepare(self._engine.actions()))
        if self.refusals is not None and self.refusals.begin_undoing():
            self._carry_out_all(self._prepare(self._engine.actions()))
            self.refusals.end_undoing()

    def _carry_out_all(self, actions: list[Action]) -> None:
        if not self._together:
            self._carry_out_each(actions)
            return
        for each in rounds(actions):
            with self.changes():
                self._carry_out_each(each.changes)
            if self.refusals is not None:
                self.refusals.settle(each)
            self._carry_out_each(each.messages)
            self._carry_out_each(each.events)

    @contextmanager
    def changes(self) -> Iterator[None]:
        """Changes of the data plane that are made together (`DataPlane.together`); what the kernel refuses is
        noted, or told."""
        try:
            with self.dataplane.together():
                yield
        except NotInstalled as error:
            if self.refusals is not None:
                self.refusals.note(error)
            else:
                self.events.event("host-error", {"error": str(error)})

    def _carry_out_each(self, actions: Iterable[Action]) -> None:
        """A change the kernel refuses is told, and the next action gets its turn all the same."""
        captured = self.tap.followed
        for action in actions:
            if captured:
                self.tap.outgoing(action)
            try:
                self._carry_out(action)
            except (HostError, DataPlaneError) as error:
                self.events.event("host-error", {"error": str(error)})

    def _upcall(self) -> None:
        engine = self._engine
        if engine is None:
            return
        packets = [] if self._waiting else self._read(_UPCALLS_PER_WAKE)
        if self._waiting or len(packets) == _UPCALLS_PER_WAKE:
            packets = self._most_urgent(packets)
        now, captured = instant(), self.tap.followed
        for packet in packets:
            if captured:
                self.tap.incoming(packet)
            if not self.takers or not any(takes(packet) for takes in self.takers):
                engine.receive(packet, now)
        self.turn()

    def _read(self, most: int) -> list[bytes]:
        packets: list[bytes] = []
        while len(packets) < most and (packet := self.device.read()) is not None:
            packets.append(packet)
        return packets

    def _most_urgent(self, packets: list[bytes]) -> list[bytes]:
        """Of these and of all that wait, those whose turn it is; the rest get theirs soon."""
        waiting = self._waiting
        more = self._read(_READ_PER_WAKE)
        if not more and not waiting:
            return packets
        for packet in (*packets, *more):
            waiting.put(packet)
        if waiting.dropped:
            self.events.drop("overload", "more signalling than there is time for", count=waiting.dropped)
            waiting.dropped = 0
        taken = (waiting.take() for _ in range(_UPCALLS_PER_WAKE))
        packets = [packet for packet in taken if packet is not None]
        if waiting and self._again is None:
            self._again = asyncio.get_running_loop().call_soon(self._go_on)
        return packets

    def _go_on(self) -> None:
        self._again = None
        self._upcall()

    def _tick(self) -> None:
        self._timer = None
        if self._engine is not None:
            self._engine.tick(instant())
            self.turn()
