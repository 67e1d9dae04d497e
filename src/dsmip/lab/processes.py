"""The processes of a lab: started in its namespaces, recorded by pid, ended by pid.

A process writes its own pid into `LABEL.pid` before it becomes the program asked for, so there is no moment
in which it runs unrecorded. A recorded pid is only ever signalled while that process is in a namespace of
this lab: a pid that the kernel gave to a stranger meanwhile is left alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dsmip.lab import namespaces
from dsmip.lab.errors import LabError

_RECORD_AND_BECOME = 'echo $$ >"$0" && exec "$@"'
#: Seconds a process gets between SIGTERM and SIGKILL.
PATIENCE = 3.0
_POLL = 0.005


class Processes:
    """The processes of one lab. `directory` is its run directory, `prefix` what its namespaces start with."""

    def __init__(self, directory: Path, prefix: str, nodes: Sequence[str]) -> None:
        self._directory = directory
        self._prefix = prefix
        self._nodes = nodes
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, label: str, node: str, argv: Iterable[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program in a node; what it says goes to `LABEL.log` in the run directory."""
        self._pid_file(label).unlink(missing_ok=True)
        wrapped = ["sh", "-c", _RECORD_AND_BECOME, str(self._pid_file(label)), *argv]
        with self.log(label).open("ab") as output:
            child = subprocess.Popen(
                namespaces.command(self._prefix + node, wrapped),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C is for the lab's owner, who then ends this in good order
            )
        self._children[label] = child
        return child

    def log(self, label: str) -> Path:
        """Where the program started under this label writes."""
        return self._directory / f"{label}.log"

    def labels(self) -> list[str]:
        """Every process recorded, running or not."""
        return sorted(path.stem for path in self._directory.glob("*.pid"))

    def pid(self, label: str) -> int | None:
        """The process id, None when it does not run (any more)."""
        child = self._children.get(label)
        if child is not None and child.poll() is not None:
            return None
        try:
            pid = int(self._pid_file(label).read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None
        return pid if any(namespaces.holds(self._prefix + node, pid) for node in self._nodes) else None

    def signal(self, label: str, number: signal.Signals) -> bool:
        """Send a signal; False when the process does not run."""
        pid = self.pid(label)
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def wait(self, label: str, timeout: float) -> bool:
        """Wait until a process has ended; False when it still runs after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self._starting(label) or self.pid(label) is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True

    def stop(self, labels: Iterable[str], patience: float = PATIENCE) -> None:
        """End processes: SIGTERM to all, SIGKILL to what is left after `patience` seconds.

        Raises LabError when one does not even end then.
        """
        labels = list(labels)
        for label in labels:
            self._wait_recorded(label)
            self.signal(label, signal.SIGTERM)
        deadline = time.monotonic() + patience
        left = [label for label in labels if not self.wait(label, max(0.0, deadline - time.monotonic()))]
        for label in left:
            self.signal(label, signal.SIGKILL)
        stuck = [label for label in left if not self.wait(label, PATIENCE)]
        if stuck:
            raise LabError(f"these processes do not end: {', '.join(stuck)}")
        for label in labels:
            self._pid_file(label).unlink(missing_ok=True)
            self._children.pop(label, None)

    def _pid_file(self, label: str) -> Path:
        return self._directory / f"{label}.pid"

    def _starting(self, label: str) -> bool:
        """Whether a child of ours has not come as far as writing its pid."""
        child = self._children.get(label)
        if child is None or child.poll() is not None:
            return False
        path = self._pid_file(label)
        return not path.exists() or not path.read_text(encoding="ascii").strip()

    def _wait_recorded(self, label: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while self._starting(label) and time.monotonic() < deadline:
            time.sleep(_POLL)
