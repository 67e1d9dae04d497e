"""A home agent's machine: the daemon's own code, a disk, a data plane that outlives it, and accidents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from typing import Any

from dsmip.core.actions import Action, ForgetBinding, SendDatagram, SendPacket, StoreBinding, StoreReplay
from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.types import IPAddress, UdpEndpoint
from dsmip.daemon.conditions import Conditions
from dsmip.daemon.home_agent.daemon import HomeAgentDaemon
from dsmip.daemon.persistence import Persistence
from dsmip.daemon.rounds import Refusals, rounds
from dsmip.dataplane.api import Role
from dsmip.wire.packet import UdpOuter, encapsulate_udp
from tests.simulation import glue
from tests.simulation.clock import Machine, World
from tests.simulation.data_plane import ModelDataPlane, Source
from tests.simulation.disk import Disk
from tests.simulation.frames import Frame, Inner, Violation, read_probe_number
from tests.simulation.internet import Internet
from tests.simulation.ledger import Ledger
from tests.simulation.node import NodeHost
from tests.simulation.oracle import Oracle
from tests.simulation.plan import HOME_LINK, AgentPlan
from tests.simulation.restarts import check_restart
from tests.simulation.undone import judge_undoing

#: Seconds that duplicate address detection takes: one probe (RFC 4862 section 5.4).
DAD_TIME = 1.0

_HOME_LINK_INDEX = 7

#: Packets kept while the process does not get to run: the tunnel device's queue.
_QUEUE = 500

_CHANGES = (StoreBinding, StoreReplay, ForgetBinding)


class AgentHost(Machine):
    """One home agent. It is `up` while its process runs; the data plane goes on without."""

    engine: HomeAgent

    def __init__(self, world: World, internet: Internet, plan: AgentPlan, ledger: Ledger) -> None:
        super().__init__(world, uptime=1000.0 * (plan.number + 1), skew=plan.skew)
        self.number = plan.number
        self.name = plan.file.name
        self.file = plan.file
        self.up = False
        self.oracle = Oracle(plan, ledger)
        self.at_home: dict[IPAddress, NodeHost] = {}
        self.proxied: dict[IPAddress, None] = {}
        self.neighbors: dict[IPAddress, bytes] = {}
        self.highest_skew = plan.skew
        self.delivered = 0
        self.crashes = 0
        #: Actions of the next turn that changes something after which the process ends; None = it lives.
        self.crash_in: int | None = None
        self.busy_until = 0.0
        self.duplicates: set[IPv6Address] = set()
        self._plan = plan
        self._internet = internet
        self._process = 0
        self._queue: list[Frame] = []
        #: What the daemon puts off to the end of a turn.
        self.soon: list[Callable[[], None]] = []
        self._outer: set[Source] = set()
        self._trusted = True
        self._new_disk()
        for address in (self.file.address, self.file.ipv4_address):
            assert address is not None
            internet.agents[address] = self
        self.start()

    # The process -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A new process: it reads the disk and adopts the data plane, as `HomeAgentDaemon.run` does."""
        if self.up:
            return
        self.up = True
        self._process += 1
        self.dataplane.set_home_link(_HOME_LINK_INDEX if self.file.home_link else 0)
        with glue.on(self):
            self._daemon = daemon = HomeAgentDaemon(self.file)
            daemon._persistence = Persistence(
                self.disk,
                self,  # type: ignore[arg-type]
                Conditions(self.event),
                daemon._engine.stored,
            )
            daemon._announcer = glue.Announcer()  # type: ignore[assignment]
            daemon._dad = glue.Dad(self)  # type: ignore[assignment]
            daemon._forwarding.home_link = _HOME_LINK_INDEX if self.file.home_link else 0
            self._runtime: glue.Runtime = daemon._runtime  # type: ignore[assignment]
            self.engine = daemon._engine
            bindings, replays = self.disk.load()
            trusted, self._trusted = self._trusted, True
            check_restart(self.oracle, self, bindings, replays, trusted=trusted)
            resumed = daemon._read(self.disk)
            daemon._reconcile()
            if self.file.home_link:
                glue.drive(daemon._withdraw_stale())
            daemon._resumption.put_off(resumed)
        self.turn()
        if self.up:
            self.oracle.check_all(self)

    def crash(self) -> None:
        """kill -9: the data plane stays as it is, grace timers and queues are gone."""
        if not self.up:
            return
        self.up = False
        self.crashes += 1
        self._process += 1
        self.crash_in = None
        self._queue.clear()
        self.soon.clear()
        self._outer.clear()
        self._trusted = self._trusted and not self.disk.dirty
        self.disk.crash()
        self.disarm()

    def power_off(self) -> None:
        """The machine goes down: the data plane is lost, too, and the monotonic clock begins anew."""
        self.crash()
        self.dataplane = ModelDataPlane(Role.HOME_AGENT)
        self.proxied.clear()
        self.neighbors.clear()
        self.oracle.permitted = {home: {} for home in self.oracle.permitted}
        self.booted = self.world.time

    def lose_disk(self) -> None:
        """Another machine in its place, with nothing but the configuration."""
        self.power_off()
        self._new_disk()
        # Without what it believed, its clock is all there is: the new machine's is right, or at least later.
        self.skew = self.highest_skew
        self.oracle.erased()
        self._trusted = True

    def set_clock(self, seconds: float) -> None:
        """Somebody moves the time of day. Not back as long as nothing was believed: nothing tells the time to
        a home agent that has lost all it knew."""
        if seconds < 0 and not (self.up and self.oracle.believes):
            return
        self.skew += seconds
        self.highest_skew = max(self.highest_skew, self.skew)

    def later(self, delay: float, call: Callable[..., None], *arguments: Any) -> None:
        """The daemon's `call_later`."""
        self.world.after(delay, self._later, self._process, call, arguments)

    def _later(self, process: int, call: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if self.up and process == self._process:
            with glue.on(self):
                call(*arguments)

    def timer(self) -> None:
        """The engine's timer."""
        if self.up:
            self.engine.tick(self.now())
            self.turn()

    def turn(self) -> None:
        """Carry out what the engine wants, up to where the process ends."""
        actions = self.engine.actions()
        changes = any(isinstance(action, _CHANGES) for action in actions)
        if changes and self.crash_in == 0:
            self.crash()
            return
        concerned = self.oracle.judge(self, actions, self._outer)
        with glue.on(self):
            rest = self._runtime.prepare(actions)
            self._trusted = not self.disk.dirty
            if self.dataplane.room is None:
                self._carry_out_all(rest, changes)
            else:
                concerned += self._carry_out_rounds(rest, changes)
            while self.up and self.soon:
                self.soon.pop(0)()
        if not self.up:
            return
        self._outer.clear()
        self.arm(self.engine.timeout())
        for home_address in concerned:
            self.oracle.check(self, home_address)

    def _carry_out_all(self, actions: Iterable[Action], changes: bool) -> None:
        """One by one, up to where the process ends."""
        for action in actions:
            if changes and self.up and self.crash_in is not None:
                self.crash_in -= 1
                if self.crash_in <= 0:
                    self.crash()
            if not self.up:
                return
            self._carry_out(action, changes)

    def _carry_out_rounds(self, actions: list[Action], changes: bool) -> list[IPv6Address]:
        """As the daemon's runtime does, where changes may be refused. Home addresses of what was undone."""
        refusals, concerned = self._runtime.refusals, []
        assert refusals is not None
        self._carry_out_round_by_round(refusals, actions, changes)
        if self.up and refusals.begin_undoing():
            undoing = self.engine.actions()
            concerned = judge_undoing(self.oracle, self, undoing)
            rest = self._runtime.prepare(undoing)
            self._trusted = not self.disk.dirty
            self._carry_out_round_by_round(refusals, rest, True)
            refusals.end_undoing()
        return concerned

    def _carry_out_round_by_round(self, refusals: Refusals, actions: list[Action], changes: bool) -> None:
        for each in rounds(actions):
            with self._runtime.changes():
                self._carry_out_all(each.changes, changes)
            if not self.up:
                return
            refusals.settle(each)
            self._carry_out_all((*each.messages, *each.events), changes)

    def _carry_out(self, action: Action, changes: bool) -> None:
        if changes and isinstance(action, SendPacket | SendDatagram) and self.disk.dirty:
            raise Violation(f"{self.name} answers before the answer is on disk")
        self._runtime.carry_out(action)

    def _new_disk(self) -> None:
        self.disk = Disk(sqlite=self._plan.sqlite)
        self.dataplane = ModelDataPlane(Role.HOME_AGENT)

    # Packets -----------------------------------------------------------------------------------------------

    def receive(self, frame: Frame) -> None:
        """A frame to one of our addresses."""
        if isinstance(frame.payload, Inner):
            self._tunnelled(frame, frame.payload)
        elif self.up:
            if self.world.time < self.busy_until and len(self._queue) < _QUEUE:
                self._queue.append(frame)
            else:
                self._signalling(frame)
                self.turn()

    def receive_at_home(self, packet: bytes) -> None:
        """Octets from the home link."""
        if self.up:
            self.engine.receive(packet, self.now())
            self.turn()

    def stall(self, seconds: float) -> None:
        """The process does not get to run; then it takes all that has come in one turn."""
        self.busy_until = self.world.time + seconds
        self.world.after(seconds, self._resume)

    def _resume(self) -> None:
        queue, self._queue = self._queue, []
        if self.up and queue:
            for frame in queue:
                self._signalling(frame)
            self.turn()

    def _signalling(self, frame: Frame) -> None:
        assert isinstance(frame.payload, bytes)
        data = frame.payload
        if frame.source_port:
            outer = UdpOuter(frame.source, frame.source_port, frame.destination, frame.destination_port)  # type: ignore[arg-type]
            self._outer.add((frame.source, frame.source_port))
            data = encapsulate_udp(data, outer)
        self.engine.receive(data, self.now())

    def _tunnelled(self, frame: Frame, inner: Inner) -> None:
        now = self.now().monotonic
        opened = self.dataplane.decapsulate(frame, now)
        if opened is None:
            return
        owner = self.oracle.owner_of(self.dataplane.binding_of(inner.source), inner.source)
        source = frame.source, frame.source_port
        if self.up and (owner is None or not self.oracle.may_come_from(owner, source, self.world.time)):
            raise Violation(f"{self.name} accepts {inner} from {source}, the mobile node is not there")
        if inner.what in ("probe", "format"):
            self._reflect(frame, inner)
        elif inner.destination == self.file.address:
            if inner.what == "echo":
                self.forward(Inner(self.file.address, inner.source, "echo-reply", inner.number))
        else:
            self.delivered += 1

    def _reflect(self, frame: Frame, inner: Inner) -> None:
        """The program sends a probe of a path back where it came from."""
        index = self.dataplane.binding_of(inner.source)
        if index is None:
            return
        bid = self.dataplane.bid_of(index, (frame.source, frame.source_port))
        if inner.what == "probe":
            self.dataplane.heard(index, bid, read_probe_number(inner.number)[2], self.now().monotonic)
        answer = Inner(self.file.address, inner.source, f"{inner.what}-reply", inner.number)
        self._internet.from_agent(
            Frame(frame.destination, frame.source, answer, frame.destination_port, frame.source_port)
        )

    def forward(self, inner: Inner) -> None:
        """A packet for a mobile node came to the home agent: into the tunnel, or onto the home link."""
        for outgoing, _ in self.dataplane.encapsulate(inner, self.now().monotonic):
            if isinstance(outgoing, Frame):
                self._internet.from_agent(outgoing)
            else:
                node = self.neighbour(inner)
                if node is not None:
                    node.receive_at_home(inner)

    def neighbour(self, inner: Inner) -> NodeHost | None:
        """Who on the home link gets this packet."""
        node = self.at_home.get(inner.destination)
        if node is not None:
            return node
        ways = self.dataplane.encapsulate(inner, self.now().monotonic)
        home = next((path for outgoing, path in ways if outgoing == inner and path is not None), None)
        return self.at_home.get(home.remote) if home is not None else None

    # What the daemon finds: sockets, routing, events, duplicate address detection ---------------------------

    def send_ipv6(self, packet: bytes, interface: str = "") -> bool:
        """The raw socket."""
        destination = IPv6Address(packet[24:40])
        if interface == HOME_LINK:
            node = self.at_home.get(destination)
            # Found by neighbour discovery, or known from a Binding Update (RFC 5648 section 6.3).
            if node is not None and (node.on_link or destination in self.neighbors):
                self._internet.direct(node.signalled_at_home, packet, node.fate)
        else:
            self._internet.from_agent(Frame(self.file.address, destination, packet))
        return True

    def send_datagram(
        self, payload: bytes, local: UdpEndpoint, remote: UdpEndpoint, interface: str = ""
    ) -> bool:
        """The UDP socket."""
        self._internet.from_agent(Frame(local.address, remote.address, payload, local.port, remote.port))
        return True

    def send_ipv4(self, packet: bytes, interface: str = "") -> bool:
        """Data of correspondents that did not fit, who are not simulated."""
        return True

    def send_as_data(self, packet: bytes) -> bool:
        """Errors to correspondents."""
        return True

    def add_proxy(self, interface: int, address: IPAddress, *, router: bool) -> None:
        """Answer for this address on the home link."""
        self.proxied[address] = None

    def remove_proxy(self, interface: int, address: IPAddress) -> None:
        """Do not any more."""
        self.proxied.pop(address, None)

    def set_neighbor(self, interface: int, address: IPAddress, link_layer: bytes) -> None:
        """Keep a neighbour's link-layer address."""
        self.neighbors[address] = link_layer

    async def proxies(self, interface: int) -> list[IPAddress]:
        """What the kernel answers for, whoever told it to."""
        return list(self.proxied)

    def event(self, kind: str, fields: object) -> None:
        """The log."""

    def drop(self, reason: str, detail: str, node: str = "") -> None:
        """The log."""

    def start_dad(self, home_address: IPv6Address, finished: Callable[[bool], None]) -> None:
        """Probe the home link."""
        self.later(DAD_TIME, self._probed, home_address, finished)

    def _probed(self, home_address: IPv6Address, finished: Callable[[bool], None]) -> None:
        duplicate = home_address in self.duplicates
        self.duplicates.discard(home_address)
        finished(duplicate)
        self.oracle.probed(home_address)
