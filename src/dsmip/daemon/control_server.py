"""The daemon's end of the control socket: see `control` for what goes over it.

A handler may be a coroutine: it may take its time, and others are answered meanwhile.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from dsmip.daemon.control import line_of
from dsmip.daemon.feed import Subscription, TooManyReaders

_LONGEST_REQUEST = 4096
#: Octets on their way to a client that does not read.
_UNREAD = 1 << 16

Arguments = Mapping[str, Any]
#: Answers a question; raises Refusal when the arguments do not make sense.
Handler = Callable[[Arguments], Any]
#: Opens a stream of JSON objects; raises Refusal or TooManyReaders.
Stream = Callable[[Arguments], Subscription[Mapping[str, Any]]]


class Refusal(ValueError):
    """A request that is not met, its arguments make no sense for one: the message goes to the client."""


def whole_number(arguments: Arguments, name: str, default: int) -> int:
    """An argument that is a number of 0 or more. Raises Refusal."""
    value = arguments.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Refusal(f"{name} must be a number of 0 or more")
    return value


def text(arguments: Arguments, name: str) -> str:
    """An argument that is a text, "" when it is not there. Raises Refusal."""
    value = arguments.get(name, "")
    if not isinstance(value, str):
        raise Refusal(f"{name} must be a text")
    return value


def plain(question: Callable[[], Any]) -> Handler:
    """The handler of a question without arguments."""
    return lambda _arguments: question()


class ControlServer:
    """Serves the control socket of one daemon."""

    def __init__(
        self, path: Path, handlers: Mapping[str, Handler], streams: Mapping[str, Stream] | None = None
    ) -> None:
        self._path = path
        self._handlers = handlers
        self._streams = streams or {}
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen; only root may connect."""
        self._path.unlink(missing_ok=True)
        previous = os.umask(0o077)
        try:
            self._server = await asyncio.start_unix_server(
                self._serve, path=str(self._path), limit=_LONGEST_REQUEST
            )
        finally:
            os.umask(previous)

    async def stop(self) -> None:
        """Stop listening, hang up on who still follows, and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._clients):
            writer.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=_UNREAD)
        self._clients.add(writer)
        try:
            while line := await reader.readline():
                subscription = self._opened(line)
                if isinstance(subscription, Subscription):
                    with closing(subscription):
                        await _send_stream(subscription, reader, writer)
                    break
                writer.write(line_of(await _finished(subscription or self.answer(line))))
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the client went away, or sent a line longer than any request
        finally:
            self._clients.discard(writer)
            writer.close()

    def answer(self, line: bytes) -> dict[str, Any]:
        """What a client gets for one line."""
        request = _request(line)
        if request is None:
            return _refused("the request is not JSON")
        command = request.get("command")
        handler = self._handlers.get(command) if isinstance(command, str) else None
        if handler is None:
            return _refused(f"unknown command {command!r}; known: {', '.join(self._handlers)}")
        try:
            return {"ok": True, "result": handler(request)}
        except Refusal as error:
            return _refused(str(error))

    def _opened(self, line: bytes) -> Subscription[Mapping[str, Any]] | dict[str, Any] | None:
        """The stream that a request opens, a refusal to open it, or None if it asks for no stream."""
        request = _request(line)
        if not request or request.get("follow") is not True:
            return None
        command = request.get("command")
        stream = self._streams.get(command) if isinstance(command, str) else None
        if stream is None:
            return _refused(f"nothing to follow in {command!r}; known: {', '.join(self._streams) or 'none'}")
        try:
            return stream(request)
        except (Refusal, TooManyReaders) as error:
            return _refused(str(error))


async def _finished(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, when its handler has come to an end."""
    result = answer.get("result")
    if not inspect.isawaitable(result):
        return answer
    try:
        return {"ok": True, "result": await result}
    except Refusal as error:
        return _refused(str(error))


async def _send_stream(
    subscription: Subscription[Mapping[str, Any]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Send until the client hangs up."""
    gone = asyncio.ensure_future(_hung_up(reader))
    try:
        writer.write(line_of({"ok": True, "result": None}))
        await writer.drain()
        while not gone.done():
            news = asyncio.ensure_future(subscription.take())
            await asyncio.wait((news, gone), return_when=asyncio.FIRST_COMPLETED)
            if not news.done():
                news.cancel()
                break
            skipped, items = news.result()
            if skipped:
                writer.write(line_of({"event": "skipped", "count": skipped}))
            for item in items:
                writer.write(line_of(item))
                # Waits while the client does not read, and only this task does.
                await writer.drain()
    finally:
        gone.cancel()


async def _hung_up(reader: asyncio.StreamReader) -> None:
    """Wait until the client is gone; what it says meanwhile is not kept."""
    while await reader.read(_LONGEST_REQUEST):
        pass


def _request(line: bytes) -> dict[str, Any] | None:
    """The request in a line, {} for JSON that is no object, None for what is no JSON."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) else {}


def _refused(reason: str) -> dict[str, Any]:
    return {"ok": False, "error": reason}
