"""Fuzz targets of the daemon: configuration file, request line of the control socket, HTTP request."""

from __future__ import annotations

import json
from pathlib import Path

from dsmip.daemon.config.loading import parse
from dsmip.daemon.config.problems import ConfigError
from dsmip.daemon.control_server import ControlServer, plain
from dsmip.daemon.http import BadRequest, host_is_ours, parse_head

_PATH = Path("fuzz.toml")
_SERVER = ControlServer(Path("fuzz.sock"), {"status": plain(lambda: {"bindings": []}), "events": plain(list)})


def configuration(data: bytes) -> None:
    """A configuration file is read, or refused with all that is wrong with it."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    refusal = None
    try:
        parse(text, _PATH)
    except ConfigError as error:
        refusal = error
    assert refusal is None or (refusal.problems and str(refusal))


def control(data: bytes) -> None:
    """Whatever a client says, it gets an answer that can be sent."""
    answer = _SERVER.answer(data)
    assert answer["ok"] or answer["error"]
    json.dumps(answer)


def http(data: bytes) -> None:
    """The head of an HTTP request is read, or refused with a status."""
    try:
        method, request = parse_head(data + b"\r\n\r\n", "")
    except BadRequest:
        return
    assert method.isupper()
    assert request.path.startswith("/")
    host_is_ours(request.headers.get("host", ""), ())
