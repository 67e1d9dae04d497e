"""The control socket: one JSON object a line, asked and answered over a Unix socket.

A request is `{"command": NAME}`; an answer is `{"ok": true, "result": ...}` or `{"ok": false, "error": ...}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: Where every instance has a directory of its own.
RUN_ROOT = Path("/run/dsmip")
SOCKET_NAME = "control.sock"
_LONGEST_REQUEST = 4096

Handler = Callable[[], Any]


class ControlError(RuntimeError):
    """The daemon did not answer, or answered with an error."""


class ControlServer:
    """Serves the control socket of one daemon."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None

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
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self.answer(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the client went away, or sent a line longer than any request
        finally:
            writer.close()

    def answer(self, line: bytes) -> dict[str, Any]:
        """What a client gets for one line."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"ok": False, "error": "the request is not JSON"}
        command = request.get("command") if isinstance(request, dict) else None
        handler = self._handlers.get(command) if isinstance(command, str) else None
        if handler is None:
            return {"ok": False, "error": f"unknown command {command!r}; known: {', '.join(self._handlers)}"}
        return {"ok": True, "result": handler()}


def instances(root: Path = RUN_ROOT) -> list[str]:
    """Names of the instances that have a control socket."""
    return sorted(path.parent.name for path in root.glob(f"*/{SOCKET_NAME}"))


def ask(name: str, command: str, *, timeout: float = 5.0, root: Path = RUN_ROOT) -> Any:
    """Ask a running daemon and return its answer.

    Raises ControlError when there is no such daemon, it does not answer within `timeout` seconds, or refuses.
    """
    path = root / name / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        try:
            client.connect(str(path))
            client.sendall(json.dumps({"command": command}).encode() + b"\n")
            with client.makefile("rb") as answers:
                line = answers.readline()
        except FileNotFoundError as error:
            raise ControlError(f"{name} is not running ({path} does not exist)") from error
        except ConnectionRefusedError as error:
            raise ControlError(f"{name} is not running ({path} is left over)") from error
        except PermissionError as error:
            raise ControlError(f"{path}: permission denied; run this as root") from error
        except OSError as error:
            raise ControlError(f"{name} does not answer: {error}") from error
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise ControlError(f"{name} gave an answer that is not JSON") from error
    if not answer.get("ok"):
        raise ControlError(str(answer.get("error", "refused")))
    return answer["result"]
