"""A vici server by hand: the octets of vici as its README says, and as much of charon as the tests need."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

COMMAND, RESPONSE, UNKNOWN, REGISTER, UNREGISTER, CONFIRM, EVENT_UNKNOWN, EVENT = range(8)
SECTION_START, SECTION_END, KEY_VALUE, LIST_START, LIST_ITEM, LIST_END = range(1, 7)

Tree = dict[str, Any]


def encode(tree: Tree) -> bytes:
    """A message."""
    octets = b""
    for name, value in tree.items():
        named = bytes([len(name)]) + name.encode()
        if isinstance(value, dict):
            octets += bytes([SECTION_START]) + named + encode(value) + bytes([SECTION_END])
        elif isinstance(value, list):
            items = b"".join(bytes([LIST_ITEM]) + _blob(item) for item in value)
            octets += bytes([LIST_START]) + named + items + bytes([LIST_END])
        else:
            octets += bytes([KEY_VALUE]) + named + _blob(value)
    return octets


def _blob(text: str) -> bytes:
    return struct.pack("!H", len(text.encode())) + text.encode()


def decode(octets: bytes) -> Tree:
    """A message read."""
    at = 0

    def take(count: int) -> bytes:
        nonlocal at
        at += count
        return octets[at - count : at]

    def name() -> str:
        return take(take(1)[0]).decode()

    def blob() -> str:
        (length,) = struct.unpack("!H", take(2))
        return take(length).decode()

    stack: list[Tree] = [{}]
    while at < len(octets):
        kind = take(1)[0]
        if kind == SECTION_START:
            section: Tree = {}
            stack[-1][name()] = section
            stack.append(section)
        elif kind == SECTION_END:
            stack.pop()
        elif kind == KEY_VALUE:
            key = name()
            stack[-1][key] = blob()
        else:
            assert kind == LIST_START
            items = stack[-1].setdefault(name(), [])
            while take(1)[0] == LIST_ITEM:
                items.append(blob())
    return stack[0]


class FakeCharon:
    """Listens at `path`. `answers` maps a command to a function of its message that gives the answer, or
    several dictionaries: events first, the answer last. What was asked stands in `asked`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[tuple[str, Tree]] = []
        self.answers: dict[str, Callable[[Tree], Tree | list[Tree]]] = {}
        self.loaded: dict[str, Tree] = {}
        self.sas: dict[str, Tree] = {}
        #: What `initiate` makes of a connection's name: an SA, or the reasons why there is none.
        self.initiates: Callable[[str], Tree | list[str]] = lambda _name: established("2001:db8::1")
        #: Called with the raw connection instead of all this.
        self.instead: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._listeners: dict[asyncio.StreamWriter, set[str]] = {}

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        """As if it had died: what it knew is forgotten, connections end."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self.path.unlink(missing_ok=True)
        self.loaded.clear()
        self.sas.clear()

    def commands(self, *, without: tuple[str, ...] = ("get-conns", "list-sas")) -> list[str]:
        """Names of what was asked."""
        return [name for name, _ in self.asked if name not in without]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self.instead is not None:
                await self.instead(reader, writer)
            else:
                await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            self._listeners.pop(writer, None)
            writer.close()

    def listeners(self, event: str) -> list[asyncio.StreamWriter]:
        """Who wants to know of this."""
        return [writer for writer, names in self._listeners.items() if event in names]

    def happens(self, event: str) -> None:
        """Tell those who listen."""
        for writer in self.listeners(event):
            send(writer, bytes([EVENT, len(event)]) + event.encode())

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        event = ""
        while True:
            (length,) = struct.unpack("!I", await reader.readexactly(4))
            packet = await reader.readexactly(length)
            end = 2 + packet[1]
            kind, name = packet[0], packet[2:end].decode()
            if kind == REGISTER:
                event = name
                self._listeners.setdefault(writer, set()).add(name)
                send(writer, bytes([CONFIRM]))
                continue
            assert kind == COMMAND
            message = decode(packet[end:])
            self.asked.append((name, message))
            handler = self.answers.get(name) or getattr(self, "_" + name.replace("-", "_"), None)
            if handler is None:
                send(writer, bytes([UNKNOWN]))
                continue
            answer = handler(message)
            *events, last = answer if isinstance(answer, list) else [answer]
            for one in events:
                send(writer, bytes([EVENT, len(event)]) + event.encode() + encode(one))
            send(writer, bytes([RESPONSE]) + encode(last))
            await writer.drain()

    # Commands ----------------------------------------------------------------------------------------------

    def _get_conns(self, _message: Tree) -> Tree:
        return {"conns": list(self.loaded)}

    def _load_conn(self, message: Tree) -> Tree:
        self.loaded.update(message)
        return {"success": "yes"}

    def _load_shared(self, _message: Tree) -> Tree:
        return {"success": "yes"}

    def _load_key(self, _message: Tree) -> Tree:
        return {"success": "yes", "id": "0102"}

    def _unload_shared(self, _message: Tree) -> Tree:
        return {"success": "yes"}

    def _unload_conn(self, message: Tree) -> Tree:
        known = self.loaded.pop(message["name"], None)
        return {"success": "yes"} if known else {"success": "no", "errmsg": "not found"}

    def _list_sas(self, _message: Tree) -> list[Tree]:
        return [*({name: sa} for name, sa in self.sas.items()), {}]

    def _initiate(self, message: Tree) -> list[Tree]:
        name = message["ike"]
        outcome = self.initiates(name)
        if isinstance(outcome, dict):
            if message["child"] == "payload":
                child = {**outcome["child-sas"]["signalling-1"], "name": "payload", "spi-in": "c0000002"}
                self.sas[name]["child-sas"]["payload-2"] = child
            else:
                self.sas[name] = outcome
            return [{"group": "IKE", "msg": "established"}, {"success": "yes"}]
        log = [{"group": "IKE", "msg": text} for text in outcome]
        return [*log, {"success": "no", "errmsg": "establishing CHILD_SA 'signalling' failed"}]

    def _terminate(self, message: Tree) -> list[Tree]:
        gone = self.sas.pop(message["ike"], None)
        return [{"success": "yes" if gone else "no", "errmsg": "no matching SAs to terminate found"}]


def send(writer: asyncio.StreamWriter, packet: bytes) -> None:
    writer.write(struct.pack("!I", len(packet)) + packet)


def established(remote: str, *, state: str = "ESTABLISHED", spi: str = "c0000001") -> Tree:
    """What list-sas says of an IKE SA with a child."""
    child = {
        "name": "signalling",
        "state": "INSTALLED",
        "encr-alg": "AES_GCM_16",
        "encr-keysize": "256",
        "spi-in": spi,
        "spi-out": spi,
    }
    sa: Tree = {"version": "2", "state": state, "remote-host": remote, "established": "3"}
    return {**sa, "child-sas": {"signalling-1": child} if state == "ESTABLISHED" else {}}
