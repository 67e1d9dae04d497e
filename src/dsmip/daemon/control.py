"""Asking a running daemon over its control socket: one JSON object a line.

A request is `{"command": NAME, ...}`, its other members are arguments; an answer is
`{"ok": true, "result": ...}` or `{"ok": false, "error": ...}`. With `"follow": true` the result of a command
that has a stream is null, and one JSON object a line comes after it until the client goes away. A client that
reads too slowly is told by `{"event": "skipped", "count": N}` how many it has missed.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Where every instance has a directory of its own.
RUN_ROOT = Path("/run/dsmip")
SOCKET_NAME = "control.sock"


class ControlError(RuntimeError):
    """The daemon did not answer, or answered with an error."""


class NotRunningError(ControlError):
    """There is no such daemon."""


class RefusedError(ControlError):
    """The daemon answered with an error."""


def instances(root: Path = RUN_ROOT) -> list[str]:
    """Names of the instances that have a control socket."""
    return sorted(path.parent.name for path in root.glob(f"*/{SOCKET_NAME}"))


def ask(name: str, command: str, *, timeout: float = 5.0, root: Path = RUN_ROOT, **arguments: Any) -> Any:
    """Ask a running daemon and return its answer.

    Raises NotRunningError when there is no such daemon, RefusedError when it refuses, another ControlError
    when it does not answer within `timeout` seconds.
    """
    with _connection(name, root, timeout) as client:
        client.sendall(line_of({"command": command, **arguments}))
        with client.makefile("rb") as answers:
            return _result(name, answers.readline())


def follow(name: str, command: str, *, root: Path = RUN_ROOT, **arguments: Any) -> Iterator[dict[str, Any]]:
    """The stream of a running daemon, from this very moment until it ends or the caller stops.

    Raises ControlError when there is no such daemon, or it refuses.
    """
    records = _records(name, command, root, arguments)
    next(records)
    return records


def _records(name: str, command: str, root: Path, arguments: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """First an empty one, when the stream is open."""
    with _connection(name, root, 5.0) as client:
        client.sendall(line_of({"command": command, "follow": True, **arguments}))
        with client.makefile("rb") as lines:
            _result(name, lines.readline())
            client.settimeout(None)
            yield {}
            for line in lines:
                yield json.loads(line)


@contextmanager
def _connection(name: str, root: Path, timeout: float) -> Iterator[socket.socket]:
    path = root / name / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        try:
            client.connect(str(path))
            yield client
        except FileNotFoundError as error:
            raise NotRunningError(f"{name} is not running ({path} does not exist)") from error
        except ConnectionRefusedError as error:
            raise NotRunningError(f"{name} is not running ({path} is left over)") from error
        except PermissionError as error:
            raise ControlError(f"{path}: permission denied; run this as root") from error
        except OSError as error:
            raise ControlError(f"{name} does not answer: {error}") from error


def _result(name: str, line: bytes) -> Any:
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise ControlError(f"{name} gave an answer that is not JSON") from error
    if not answer.get("ok"):
        raise RefusedError(str(answer.get("error", "refused")))
    return answer["result"]


def line_of(message: Mapping[str, Any]) -> bytes:
    """A message as it goes over the socket, either way."""
    return json.dumps(message).encode() + b"\n"
