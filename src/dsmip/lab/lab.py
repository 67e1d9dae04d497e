"""A virtual network to move about in: built, used, shown and removed as one object."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from dsmip.lab import (
    cabling,
    configs,
    daemons,
    namespaces,
    plan,
    protection,
    relay,
    requirements,
    services,
    state,
    topology,
)
from dsmip.lab.cabling import Plug
from dsmip.lab.errors import LabError
from dsmip.lab.netlink import settled
from dsmip.lab.processes import Processes
from dsmip.lab.uplinks import SINGLE, Shape, Uplink, find

#: Seconds until all cables of a new lab are known to be up, on a slow machine.
_CABLES_WITHIN = 30.0


class Lab:
    """One lab. `with Lab.up() as lab:` removes it at the end, whatever happens in between."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = state.directory(name)
        self.prefix = f"dsmip-{name}-"
        self.processes = Processes(self.directory, self.prefix, plan.NODES)

    # Life ------------------------------------------------------------------------------------------------

    @classmethod
    def up(
        cls,
        name: str = "lab",
        *,
        at: str = plan.HOME,
        uplinks: Sequence[Uplink] = SINGLE,
        delay: float = 0.0,
        keep: bool = False,
        replace: bool = False,
    ) -> Lab:
        """Build a lab, with the mobile router's first uplink plugged into the network `at` ("" = into none).

        `delay` is added each way between the core and the access networks, in seconds. With `keep` the lab
        outlives this process; without, it counts as leftover as soon as this process has ended. Leftover labs
        of any name are removed first, one of this name that is in use only with `replace`.

        Raises LabError when something is missing (before anything is changed), when a lab of this name is in
        use, or when building fails (after everything has been removed again).
        """
        lab = cls(name)
        if at:
            _access(at)
        requirements.check()
        found = state.load(name)
        if found is not None and not found.leftover and not replace:
            user = f" by process {found.owner.pid}" if found.owner else ""
            raise LabError(
                f"lab {name!r} is in use{user}: take it down first (dsmip lab down), or use another name"
            )
        for leftover in state.leftovers():
            cls(leftover).down()
        lab.down()
        state.save(state.State(name, state.Owner.this_process(), uplinks=tuple(uplinks)))
        try:
            lab._build(at, delay)
            lab._update(complete=True, **({"owner": None} if keep else {}))
        except BaseException:
            lab.down()
            raise
        return lab

    @classmethod
    def load(cls, name: str = "lab") -> Lab:
        """Find a lab that stands. Raises LabError when there is none of this name."""
        if state.load(name) is None:
            others = state.names()
            hint = f"there are: {', '.join(others)}" if others else "dsmip lab up builds one"
            raise LabError(f"there is no lab {name!r}; {hint}")
        return cls(name)

    def down(self) -> None:
        """Remove everything that belongs to this lab; it need not be complete, nor exist.

        Ctrl-C and SIGTERM wait until it is done.
        """
        with _undisturbed():
            running = self.processes.labels()
            owners = {daemons.label(node) for node in daemons.NODES}
            self.processes.stop([label for label in running if label in owners], patience=daemons.STOP_WITHIN)
            self.processes.stop([label for label in running if label not in owners])
            topology.remove(self.prefix)
            for node in daemons.NODES:
                daemons.forget(self.instance(node))
            state.forget(self.name)

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def _build(self, at: str, delay: float) -> None:
        with _undisturbed():
            topology.build(self.prefix, self.uplinks, delayed=delay > 0)
            relay.start(self.processes, self.directory, topology.relayed(self.uplinks, delay))
            if at:
                self.move(at)
            services.start(services.write(self.directory), self.processes)
            wired = at and len(self.uplinks) == 1
            cabled = [self.prefix + node for node in plan.NODES if wired or node != "mr"]
            services.wait_until(
                lambda: all(settled(namespace) for namespace in cabled),
                time.monotonic() + _CABLES_WITHIN,
                lambda: "the cables of the lab do not come up",
            )

    # Moving ----------------------------------------------------------------------------------------------

    @property
    def uplinks(self) -> tuple[Uplink, ...]:
        """The mobile router's uplinks; the first one is what is meant where none is named."""
        found = state.load(self.name)
        return found.uplinks if found else SINGLE

    @property
    def plugged(self) -> dict[str, str]:
        """The networks the uplinks are plugged into, by interface; those that are in none are left out."""
        found = state.load(self.name)
        pairs = found.plugged.items() if found else ()
        return {interface: network for interface, network in pairs if network}

    @property
    def at(self) -> str:
        """The network the first uplink is plugged into, "" = none."""
        return self.plugged.get(self.uplinks[0].interface, "")

    def move(self, network: str, uplink: str = "", *, unplugged: float = 0.0) -> Plug:
        """Plug an uplink of the mobile router into another network: see `cabling.plug`.

        Raises LabError when there is no such network or uplink.
        """
        _access(network)
        chosen = find(self.uplinks, uplink)
        connected = chosen.interface in self.plugged
        plug = cabling.plug(self.prefix, chosen, network, connected=connected, unplugged=unplugged)
        self._note(chosen, network)
        return plug

    def unplug(self, uplink: str = "") -> float:
        """Pull an uplink's cable. Returns when that was (CLOCK_MONOTONIC seconds)."""
        chosen = find(self.uplinks, uplink)
        cut = cabling.unplug(self.prefix, chosen)
        self._note(chosen, "")
        return cut

    def shape(self, uplink: str) -> Shape:
        """What an uplink's link does to packets now. Raises LabError when it is a bare cable."""
        chosen = find(self.uplinks, uplink)
        if chosen.shape is None:
            raise LabError(
                f"{chosen.interface} is a bare cable: those of dsmip lab up --multihomed can be shaped"
            )
        return relay.shapes(self.directory)[chosen.interface]

    def reshape(self, uplink: str, **changes: Any) -> float:
        """Change what an uplink's link does to packets; `changes` are attributes of `Shape`.

        Returns when it was asked for (CLOCK_MONOTONIC seconds); it is in force on return.
        """
        shape = replace(self.shape(uplink), **changes)
        asked = time.monotonic()
        relay.reshape(self.directory, uplink, shape)
        return asked

    def leave(self, uplink: str) -> float:
        """Tell the mobile router that an uplink is about to end. Returns when (CLOCK_MONOTONIC seconds)."""
        chosen = find(self.uplinks, uplink)
        asked = time.monotonic()
        daemons.ask(self.instance("mr"), "leave", interface=chosen.interface)
        return asked

    def _note(self, uplink: Uplink, network: str) -> None:
        found = state.load(self.name)
        if found is not None:
            self._update(plugged={**found.plugged, uplink.interface: network})

    # Programs --------------------------------------------------------------------------------------------

    def namespace(self, node: str) -> str:
        """The name of a node's network namespace. Raises LabError when there is no such node."""
        if node not in plan.NODES:
            raise LabError(f"there is no node {node!r}; there are: {', '.join(plan.NODES)}")
        return self.prefix + node

    def exec(self, node: str, argv: Iterable[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program in a node and wait for it; `options` are those of subprocess.run."""
        settings: dict[str, Any] = {"text": True, "check": False, **options}
        return subprocess.run(namespaces.command(self.namespace(node), argv), **settings)

    def popen(
        self, node: str, label: str, argv: Iterable[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program in a node; its output goes to LABEL.log in the run directory."""
        self.namespace(node)
        return self.processes.start(label, node, argv, environment)

    # Daemons ---------------------------------------------------------------------------------------------

    def instance(self, node: str) -> str:
        """What the daemon of a node calls itself."""
        return f"{self.name}-{node}"

    def write_configs(
        self, directory: Path | None = None, policy: str = "", protect: str = protection.NOTHING
    ) -> tuple[Path, Path]:
        """Write ha.toml and mr.toml, with new keys and the mobile router's `policy`; return their paths.
        `protect` says what is under ESP. Raises LabError when this kernel has none."""
        if protect:
            requirements.check_esp()
        names = (self.instance("ha"), self.instance("mr"))
        place = directory or self.directory
        return configs.write(place, names, self.directory / "state", self.uplinks, policy, protect=protect)

    def start_daemons(
        self, directory: Path | None = None, *, ready: daemons.Ready = daemons.answers, only: str = ""
    ) -> None:
        """Start the home agent and the mobile router (`only` one of them) with the files in `directory`,
        written now if they are not there, and wait until `ready` says of each name that it serves.

        Raises LabError with the end of the log of one that does not come up.
        """
        place = directory or self.directory
        if not (place / "ha.toml").exists():
            self.write_configs(place)
        for node in daemons.NODES:
            if only in ("", node):
                config = place / f"{node}.toml"
                daemons.start(self.processes, self.directory, node, config, self.instance(node), ready)

    def stop_daemons(self, *, only: str = "") -> None:
        """Stop the daemons with SIGTERM: the mobile router first, so that it can still say good-bye."""
        for node in reversed(daemons.NODES):
            if only in ("", node):
                daemons.stop(self.processes, node)

    def kill_daemon(self, node: str) -> None:
        """End a node's daemon with SIGKILL: it gets no chance to clean up."""
        self.processes.signal(daemons.label(node), signal.SIGKILL)
        self.processes.wait(daemons.label(node), daemons.STOP_WITHIN)

    def events_file(self, node: str) -> Path:
        """Where the daemon of a node writes its events."""
        return daemons.events_file(self.directory, node)

    # Showing ---------------------------------------------------------------------------------------------

    def show(self) -> dict[str, Any]:
        """Nodes with their addresses, networks, processes, and where the mobile router is."""
        with ThreadPoolExecutor(max_workers=4) as pool:
            interfaces = list(pool.map(self._interfaces, plan.NODES))
        return {
            "name": self.name,
            "at": self.at,
            "uplinks": self._uplinks(),
            "directory": str(self.directory),
            "nodes": [
                {"node": node, "namespace": self.prefix + node, "interfaces": found}
                for node, found in zip(plan.NODES, interfaces, strict=True)
                if node != plan.LINKS
            ],
            "networks": [
                {
                    "network": access.name,
                    "about": access.about,
                    "router": access.router,
                    "ipv6": str(access.address6.network) if access.address6 else None,
                    "ipv4": str(access.address4.network) if access.address4 else None,
                }
                for access in plan.ACCESS
            ],
            "processes": [
                {"label": label, "pid": self.processes.pid(label)} for label in self.processes.labels()
            ],
        }

    def _uplinks(self) -> list[dict[str, Any]]:
        plugged, shapes = self.plugged, relay.shapes(self.directory)
        return [
            {
                "interface": uplink.interface,
                "network": plugged.get(uplink.interface),
                "shape": asdict(shapes[uplink.interface]) if uplink.interface in shapes else None,
            }
            for uplink in self.uplinks
        ]

    def _interfaces(self, node: str) -> list[dict[str, Any]]:
        done = self.exec("core" if node == plan.LINKS else node, ["ip", "-j", "addr"], capture_output=True)
        if done.returncode != 0:
            return []
        return [
            {
                "name": link["ifname"],
                "up": "LOWER_UP" in link["flags"],
                "addresses": [f"{found['local']}/{found['prefixlen']}" for found in link["addr_info"]],
            }
            for link in json.loads(done.stdout)
            if link["ifname"] != "lo" and "UP" in link["flags"]
        ]

    def _update(self, **changes: Any) -> None:
        found = state.load(self.name)
        if found is not None:
            state.save(replace(found, **changes))


def _access(name: str) -> plan.Access:
    try:
        return plan.NETWORKS[name]
    except KeyError:
        raise LabError(f"there is no network {name!r}; there are: {', '.join(plan.NETWORKS)}") from None


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off signals that would end this process until a piece of work is whole.

    They are caught, not blocked: programs started meanwhile would inherit a block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs signal handlers in the main thread only
        return
    caught: list[int] = []
    before = {number: signal.signal(number, lambda got, _frame: caught.append(got)) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if caught:
            signal.raise_signal(caught[0])


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Make SIGTERM and SIGHUP unwind the program as Ctrl-C does, so that `with Lab.up()` cleans up.

    For programs, in their main thread.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
