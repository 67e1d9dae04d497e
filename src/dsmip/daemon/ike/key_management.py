"""Keys for signalling, negotiated by strongSwan's charon (RFC 4877), which is told what to do and watched.

charon and this daemon may each be restarted while the other runs: every few seconds what should be loaded is
compared with what is. A mobile node negotiates when it has something to send; a home agent waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

from dsmip.daemon.conditions import Conditions
from dsmip.daemon.ike.connection import PAYLOAD, SIGNALLING, Connection, Negotiated
from dsmip.daemon.ike.leftovers import Kernel, Leftovers
from dsmip.daemon.ike.words import cipher_of, failure, trouble
from dsmip.host.vici import Answer, Refused, Unreachable, Vici, ViciError

#: Seconds between looks at charon, besides those when it tells of something.
POLL: Final = 5.0
_EVENTS: Final = ("ike-updown", "child-updown", "child-rekey")
#: Seconds an exchange may take before it is begun anew.
PATIENCE: Final = 8.0
#: Seconds between attempts: doubled with each, up to the second.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
_SPI: Final = re.compile("[0-9a-fA-F]{1,8}")


class KeyManagement:
    """Keeps charon at `path` in step with what is wanted. Nothing here waits for charon but its own task.

    `changed` is called with a home address whose state is another one than before.
    """

    def __init__(
        self,
        path: Path,
        prefix: str,
        event: Callable[[str, dict[str, str]], None],
        conditions: Conditions,
        changed: Callable[[IPv6Address, Negotiated], None],
        kernel: Kernel,
        *,
        poll: float = POLL,
        patience: float = PATIENCE,
    ) -> None:
        """`prefix` begins the names of all connections of this daemon, and of nobody else's."""
        self._path = path
        self._prefix = prefix
        self._event = event
        self._conditions = conditions
        self._changed = changed
        self._poll = poll
        self._patience = patience
        self._wanted: dict[str, Connection] = {}
        self._told: dict[str, Connection] = {}
        self._leftovers = Leftovers(kernel)
        #: Whether the charon there is another one than before, as far as we know.
        self._another = True
        self._states: dict[IPv6Address, Negotiated] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        #: Mobile node: what has something to send, and what is to be negotiated anew.
        self._asked: set[str] = set()
        self._renew: set[str] = set()
        self._pause = FIRST_PAUSE
        self._next = 0.0
        #: IKE SAs begun so far.
        self.initiated = 0
        self.reachable = False

    def start(self) -> None:
        """Begin, on the running event loop."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run()), loop.create_task(self._listen())]

    async def stop(self, *, keep: bool = False) -> None:
        """End; `keep`: connections and their SAs stay."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not keep and self._told:
            with contextlib.suppress(ViciError):
                async with await Vici.connect(self._path) as vici:
                    for name in list(self._told):
                        await self._unload(vici, name)

    def set(self, connections: Iterable[Connection]) -> None:
        """What is wanted from now on."""
        self._wanted = {connection.name: connection for connection in connections}
        for home_address in self._states.keys() - {one.home_address for one in self._wanted.values()}:
            del self._states[home_address]
        self._wake.set()

    def state(self, home_address: IPv6Address) -> Negotiated:
        """Of the connection with this home address."""
        return self._states.get(home_address, Negotiated())

    def ask(self, home_address: IPv6Address) -> None:
        """There is something to send, and no SA to send it with."""
        for connection in self._wanted.values():
            if connection.home_address == home_address and connection.name not in self._asked:
                self._asked.add(connection.name)
                self._wake.set()

    def renew(self, home_address: IPv6Address) -> None:
        """The other end seems to have lost its SA."""
        for connection in self._wanted.values():
            if connection.home_address == home_address:
                self._renew.add(connection.name)
                self._wake.set()

    def network_changed(self) -> None:
        """Another attempt may succeed where the last has failed."""
        self._pause, self._next = FIRST_PAUSE, 0.0
        self._wake.set()

    # Tasks -------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Look again when something happens there."""
        while True:
            with contextlib.suppress(ViciError):
                async with await Vici.connect(self._path) as vici:
                    async for _ in vici.listen(*_EVENTS):
                        self._wake.set()
            await asyncio.sleep(min(self._poll, 1.0))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            begun = loop.time()
            try:
                await self._reconcile()
                self.reachable = True
                self._conditions.end("ike")
            except ViciError as error:
                self.reachable = not isinstance(error, Unreachable)
                self._conditions.stand("ike", str(error))
                if not self.reachable:
                    self._told.clear()
                    self._another = True
            # Many mobile nodes may come at once: half of the time is enough.
            await asyncio.sleep(min(loop.time() - begun, 1.0))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll if self.reachable else min(self._poll, 1.0)):
                    await self._wake.wait()

    async def _reconcile(self) -> None:
        async with await Vici.connect(self._path) as vici:
            await self._load(vici)
            await self._look(vici)
            for connection in list(self._wanted.values()):
                if connection.initiates and self._is_due(connection):
                    await self._negotiate(vici, connection)

    async def _load(self, vici: Vici) -> None:
        """Make charon know what it should, and no more."""
        answer = await vici.request("get-conns")
        names = answer.get("conns")
        loaded = (
            {name for name in names if name.startswith(self._prefix)} if isinstance(names, list) else set()
        )
        if self._told.keys() & self._wanted.keys() - loaded:
            self._another = True
        for name in (loaded | self._told.keys()) - self._wanted.keys():
            await self._unload(vici, name)
        for name, connection in list(self._wanted.items()):
            if name not in loaded or self._told.get(name) != connection:
                await self._tell(vici, connection, anew=name in self._told and name in loaded)

    async def _tell(self, vici: Vici, connection: Connection, *, anew: bool) -> None:
        if anew:
            # With other keys: what was negotiated with the former ones ends.
            await self._unload(vici, connection.name)
        try:
            for command, message in connection.commands():
                await vici.request(command, message)
        except Refused as error:
            self._set(connection, replace(Negotiated(), problem=trouble(str(error))))
            return
        self._told[connection.name] = connection

    async def _unload(self, vici: Vici, name: str) -> None:
        self._told.pop(name, None)
        self._asked.discard(name)
        for command, message in (("unload-conn", {"name": name}), ("unload-shared", {"id": name})):
            with contextlib.suppress(Refused):
                await vici.request(command, message)
        await self._terminate(vici, name)

    async def _terminate(self, vici: Vici, name: str) -> None:
        """At once: the other end is told once, and not waited for."""
        with contextlib.suppress(Refused):
            message = {"ike": name, "force": "yes", "timeout": "-1"}
            await vici.stream("terminate", "control-log", message)

    async def _look(self, vici: Vici) -> None:
        """See what has been negotiated."""
        mine = {"ike": next(iter(self._wanted))} if len(self._wanted) == 1 else None
        if self._another:
            self._leftovers.search(self._wanted.values())
            self._another = False
        found: dict[str, Negotiated] = {}
        known: dict[str, frozenset[int]] = {}
        for event in await vici.stream("list-sas", "list-sa", mine):
            for name, sa in event.items():
                if name in self._wanted and isinstance(sa, dict):
                    found[name] = _better(found.get(name), _negotiated(sa))
                    known[name] = known.get(name, frozenset()) | _spis(_children(sa), "spi-in", "spi-out")
        for name, connection in self._wanted.items():
            before = self.state(connection.home_address)
            state = found.get(name, Negotiated())
            if state.missing(connection) and before.problem:
                state = replace(state, problem=before.problem)
            self._leftovers.settle(connection, state, known.get(name, frozenset()))
            self._set(connection, state)

    def _set(self, connection: Connection, state: Negotiated) -> None:
        home_address = connection.home_address
        before = self.state(home_address)
        if state.established and before.established:
            # Seconds are rounded anew each time.
            state = replace(state, since=before.since)
        if state == before:
            return
        self._states[home_address] = state
        if state.established != before.established or state.problem != before.problem:
            self._tell_of(connection, state, before)
        self._changed(home_address, state)

    def _tell_of(self, connection: Connection, state: Negotiated, before: Negotiated) -> None:
        # A mobile node tells of itself.
        fields = {} if connection.initiates else {"home_address": str(connection.home_address)}
        if state.problem:
            self._event("keys-refused", {**fields, "reason": state.problem})
        elif state.established and not before.established:
            self._event("keys-negotiated", {**fields, "cipher": state.cipher})
        elif before.established and not state.established:
            self._event("keys-gone", fields)
        if before.established and not state.established and connection.initiates:
            self._asked.add(connection.name)

    # The mobile node's part --------------------------------------------------------------------------------

    def _is_due(self, connection: Connection) -> bool:
        if connection.name not in self._told:
            return False
        if connection.name in self._renew:
            return True
        missing = self.state(connection.home_address).missing(connection)
        return bool(missing) and connection.name in self._asked and time.monotonic() >= self._next

    async def _negotiate(self, vici: Vici, connection: Connection) -> None:
        """One attempt at what is missing."""
        anew = connection.name in self._renew
        self._renew.discard(connection.name)
        if anew and self.state(connection.home_address).established:
            # What is to be sent meanwhile waits, and shows where to negotiate.
            self._set(connection, Negotiated())
        if not self.state(connection.home_address).established:
            # What is left of the last attempt goes first: its retransmissions get slower and slower.
            await self._terminate(vici, connection.name)
            self.initiated += 1
        while child := self.state(connection.home_address).missing(connection):
            try:
                await self._initiate(vici, connection.name, child)
            except Refused as error:
                state = self.state(connection.home_address)
                self._set(connection, replace(state, problem=failure(error.log)))
                self._next = time.monotonic() + self._pause
                asyncio.get_running_loop().call_later(self._pause, self._wake.set)
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
                return
            await self._look(vici)
            if self.state(connection.home_address).missing(connection) == child:
                # It is gone again already: another look will tell.
                return
        self._pause, self._next = FIRST_PAUSE, 0.0

    async def _initiate(self, vici: Vici, name: str, child: str) -> None:
        message = {
            "ike": name,
            "child": child,
            "timeout": str(int(self._patience * 1000)),
            "init-limits": "no",
        }
        await vici.stream("initiate", "control-log", message, timeout=self._patience + 2)


def _negotiated(sa: Answer) -> Negotiated:
    """What list-sas says of one IKE SA."""
    signalling, payload = _usable(sa, SIGNALLING), _usable(sa, PAYLOAD)
    if sa.get("state") not in ("ESTABLISHED", "REKEYING") or not signalling:
        return Negotiated()
    age = str(sa.get("established", "0"))
    return Negotiated(
        True,
        time.time() - (int(age) if age.isdigit() else 0),
        cipher_of(signalling[-1]),
        spis=_spis(signalling),
        payload_cipher=cipher_of(payload[-1]) if payload else "",
        payload_spis=_spis(payload),
    )


def _usable(sa: Answer, name: str) -> list[Answer]:
    return [
        child
        for child in _children(sa)
        if child.get("name") == name and child.get("state") in ("INSTALLED", "REKEYING", "REKEYED")
    ]


def _children(sa: Answer) -> list[Answer]:
    children = sa.get("child-sas")
    found = children.values() if isinstance(children, dict) else ()
    return [child for child in found if isinstance(child, dict)]


def _spis(children: list[Answer], *ways: str) -> frozenset[int]:
    told = (str(child.get(way, "")) for child in children for way in ways or ("spi-in",))
    return frozenset(int(spi, 16) for spi in told if _SPI.fullmatch(spi))


def _better(one: Negotiated | None, other: Negotiated) -> Negotiated:
    """Of two IKE SAs of one connection: while one replaces the other both are good."""
    if one is None or not one.established:
        return other
    if not other.established:
        return one
    newest = max(one, other, key=lambda state: state.since)
    return replace(
        newest,
        spis=one.spis | other.spis,
        payload_cipher=newest.payload_cipher or one.payload_cipher or other.payload_cipher,
        payload_spis=one.payload_spis | other.payload_spis,
    )
