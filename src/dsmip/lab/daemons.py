"""The real program in the lab: a home agent and a mobile router as `dsmip run` processes."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsmip.lab.errors import LabError
from dsmip.lab.processes import Processes

#: Where a running instance keeps its control socket and where its BPF objects are pinned.
RUN_ROOT = Path("/run/dsmip")
PIN_ROOT = RUN_ROOT / "bpf"
EVENTS_VARIABLE = "DSMIP_EVENTS"
NODES = ("ha", "mr")
#: Seconds a daemon gets to come up, and to take out of the kernel what it put in.
START_WITHIN = 90.0
STOP_WITHIN = 30.0

#: The answer of one that runs on a slow machine.
_ANSWER_WITHIN = 10.0

Ready = Callable[[str], bool]


def answers(name: str) -> bool:
    """Whether the instance of this name answers on its control socket."""
    try:
        ask(name, "status")
    except LabError:
        return False
    return True


def ask(name: str, command: str, **arguments: str) -> Any:
    """Ask an instance over its control socket. Raises LabError when it does not answer, or refuses."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_ANSWER_WITHIN)
            client.connect(str(RUN_ROOT / name / "control.sock"))
            client.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            with client.makefile("rb") as lines:
                answer = json.loads(lines.readline())
    except (OSError, ValueError) as error:
        raise LabError(f"{name} does not answer: {error}") from error
    if not answer.get("ok"):
        raise LabError(f"{name} refuses: {answer.get('error')}")
    return answer["result"]


def label(node: str) -> str:
    """Under which label the node's daemon runs in the lab."""
    return f"dsmip-{node}"


def events_file(directory: Path, node: str) -> Path:
    """Where the node's daemon writes one JSON object per event."""
    return directory / f"events-{node}.jsonl"


def start(processes: Processes, directory: Path, node: str, config: Path, name: str, ready: Ready) -> None:
    """Start one node's daemon. Raises LabError with the end of its log when it does not come up."""
    if processes.pid(label(node)) is not None:
        raise LabError(f"the daemon of {node} runs already")
    argv = [sys.executable, "-m", "dsmip", "run", str(config)]
    child = processes.start(
        label(node), node, argv, {EVENTS_VARIABLE: str(events_file(directory, node)), "PYTHONUNBUFFERED": "1"}
    )
    deadline = time.monotonic() + START_WITHIN
    while not ready(name):
        if child.poll() is not None or time.monotonic() > deadline:
            what = "ended" if child.poll() is not None else f"does not answer within {START_WITHIN:.0f} s"
            raise LabError(
                f"the daemon of {node} {what}; the end of its log:\n{_tail(processes.log(label(node)))}"
            )
        time.sleep(0.02)


def stop(processes: Processes, node: str) -> None:
    """Stop one node's daemon in good order."""
    processes.stop([label(node)], patience=STOP_WITHIN)


def forget(name: str) -> None:
    """Remove what a killed daemon of the lab could not: its pinned objects and its run directory.

    Its devices, routes and addresses went with the namespace.
    """
    for directory in (PIN_ROOT / name, RUN_ROOT / name):
        shutil.rmtree(directory, ignore_errors=True)


def _tail(path: Path, lines: int = 15) -> str:
    text = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(text[-lines:])
