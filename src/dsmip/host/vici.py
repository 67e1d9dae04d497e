"""Talking to strongSwan's IKE daemon (charon) through its vici socket.

The octets are those of the `vici` package; the package's own session blocks, and waits for ever once half an
answer is there, so here each command has a time by which it is answered, or the connection is given up.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, TypeAlias

from vici.exception import DeserializationException
from vici.protocol import Message, Packet, Transport

#: What commands are made of.
Request: TypeAlias = Mapping[str, "str | bytes | Sequence[str] | Sequence[bytes] | Request"]
#: What answers are made of.
Answer: TypeAlias = dict[str, "str | list[str] | Answer"]

#: Seconds for charon to take a connection, and to answer what needs no other machine.
TIMEOUT: Final = 5.0
_LENGTH = struct.Struct("!I")
_RUNNING: Final = "is charon running, with the vici plugin?"
_GROUP: Final = "let it be opened by this daemon's group, with charon-systemd.group in strongswan.conf"


class ViciError(Exception):
    """The message is for people."""


class Unreachable(ViciError):
    """Nobody there, or nobody who answers."""


class Refused(ViciError):
    """charon does not do it; `log` is what it said on the way."""

    def __init__(self, message: str, log: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.log = tuple(log)


class Vici:
    """One connection; one command at a time."""

    def __init__(
        self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float
    ) -> None:
        self._path = path
        self._reader = reader
        self._writer = writer
        self._timeout = timeout

    @classmethod
    async def connect(cls, path: Path, timeout: float = TIMEOUT) -> Vici:
        """Raises Unreachable."""
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_unix_connection(str(path))
        except (OSError, TimeoutError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "no answer"
            mend = _GROUP if isinstance(error, PermissionError) else _RUNNING
            raise Unreachable(f"strongSwan cannot be reached at {path} ({reason}): {mend}") from error
        return cls(path, reader, writer, timeout)

    async def __aenter__(self) -> Vici:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.transport.abort()

    async def request(self, command: str, message: Request | None = None) -> Answer:
        """One command and its answer. Raises Unreachable or Refused."""
        _, answer = await self._command(command, None, message, self._timeout)
        return answer

    async def stream(
        self, command: str, event: str, message: Request | None = None, timeout: float | None = None
    ) -> list[Answer]:
        """A command that answers with events. `timeout` in seconds. Raises Unreachable or Refused."""
        events, _ = await self._command(command, event, message, timeout or self._timeout)
        return events

    async def listen(self, *events: str) -> AsyncIterator[None]:
        """Yields whenever one of these events happens; nothing else can be asked over this connection.

        Raises Unreachable or Refused.
        """
        try:
            async with asyncio.timeout(self._timeout):
                for event in events:
                    await self._register(event)
            while True:
                await self._receive()
                yield
        except TimeoutError as error:
            raise Unreachable(f"strongSwan at {self._path} has not answered") from error
        except (OSError, EOFError) as error:
            raise Unreachable(f"strongSwan at {self._path} has closed the connection") from error

    async def _command(
        self, command: str, event: str | None, message: Request | None, timeout: float
    ) -> tuple[list[Answer], Answer]:
        try:
            async with asyncio.timeout(timeout):
                if event is not None:
                    await self._register(event)
                await self._send(Packet.request(command, None if message is None else _encode(message)))
                events, answer = await self._answer()
        except TimeoutError as error:
            raise Unreachable(f"strongSwan at {self._path} has not answered within {timeout:g} s") from error
        except (OSError, EOFError) as error:
            raise Unreachable(f"strongSwan at {self._path} has closed the connection") from error
        if answer.get("success", "yes") != "yes":
            said = [str(one["msg"]) for one in events if "msg" in one]
            raise Refused(f"strongSwan: {answer.get('errmsg') or f'{command} has failed'}", said)
        return events, answer

    async def _register(self, event: str) -> None:
        await self._send(Packet.register_event(event))
        while (kind := (await self._receive())[0]) == Packet.EVENT:
            pass
        if kind != Packet.EVENT_CONFIRM:
            raise Refused(f"strongSwan at {self._path} knows no event {event}")

    async def _answer(self) -> tuple[list[Answer], Answer]:
        events: list[Answer] = []
        while True:
            kind, content = await self._receive()
            if kind == Packet.EVENT:
                events.append(content)
            elif kind == Packet.CMD_RESPONSE:
                return events, content
            else:
                raise Refused(f"strongSwan at {self._path} does not know the command")

    async def _send(self, packet: bytes) -> None:
        self._writer.write(_LENGTH.pack(len(packet)) + packet)
        await self._writer.drain()

    async def _receive(self) -> tuple[int, Answer]:
        (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
        if not 0 < length <= Transport.MAX_SEGMENT:
            raise Unreachable(f"what listens at {self._path} is not strongSwan")
        octets = await self._reader.readexactly(length)
        try:
            packet = Packet.parse(octets)
            return packet.response_type, _plain(Message.deserialize(packet.payload))
        except (struct.error, ValueError, DeserializationException) as error:
            raise Unreachable(f"what listens at {self._path} is not strongSwan") from error


def _encode(message: Request) -> bytes:
    octets: bytes = Message.serialize(message)
    return octets


def _plain(section: Mapping[str, object]) -> Answer:
    """The same with text instead of octets."""
    return {name: _plain_value(value) for name, value in section.items()}


def _plain_value(value: object) -> str | list[str] | Answer:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list):
        return [item.decode(errors="replace") for item in value]
    assert isinstance(value, dict)
    return _plain(value)
