"""What a lab leaves on disk while it stands, so that any later process can find, use and remove it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from dsmip.lab.errors import LabError
from dsmip.lab.uplinks import SINGLE, Uplink

#: One directory a lab, with its state, pids, configuration files and logs.
RUN_ROOT = Path("/run/dsmip/lab")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")
_FILE = "state.json"


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, told apart from a later one of the same id by when it began (clock ticks since boot)."""

    pid: int
    began: int

    @classmethod
    def this_process(cls) -> Owner:
        """The calling process."""
        return cls(os.getpid(), _began(os.getpid()) or 0)

    def lives(self) -> bool:
        """Whether that very process still runs."""
        return _began(self.pid) == self.began


@dataclass(frozen=True, slots=True)
class State:
    """`plugged` are the networks the mobile router's uplinks are plugged into, by interface; `owner` None =
    the lab stands until somebody takes it down; `complete` is False while it is being built."""

    name: str
    owner: Owner | None
    complete: bool = False
    uplinks: tuple[Uplink, ...] = SINGLE
    plugged: Mapping[str, str] = field(default_factory=dict)

    @property
    def leftover(self) -> bool:
        """Whether whoever built this lab ended without removing it."""
        return not self.owner.lives() if self.owner else not self.complete


def directory(name: str) -> Path:
    """The run directory of a lab. Raises LabError when the name cannot be one."""
    if not _NAME.fullmatch(name):
        raise LabError(
            f"{name!r} is no name for a lab: use up to 24 lower-case letters, digits and hyphens, "
            "and no hyphen at the start"
        )
    return RUN_ROOT / name


def load(name: str) -> State | None:
    """Read a lab's state; None when there is no such lab. A state that cannot be read counts as leftover."""
    path = directory(name)
    if not path.exists():
        return None
    try:
        return msgspec.json.decode((path / _FILE).read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError):
        return State(name, None)


def save(state: State) -> None:
    """Write the state so that a reader sees the old one or the new one, never half of it."""
    path = directory(state.name)
    path.mkdir(parents=True, exist_ok=True)
    temporary = path / f"{_FILE}.new"
    temporary.write_bytes(msgspec.json.encode(state))
    temporary.replace(path / _FILE)


def forget(name: str) -> None:
    """Remove the run directory, and the directory of all labs with the last one."""
    shutil.rmtree(directory(name), ignore_errors=True)
    for parent in (RUN_ROOT, RUN_ROOT.parent):
        try:
            parent.rmdir()
        except OSError:
            return  # another lab or a daemon lives there


def names() -> list[str]:
    """Every lab there is."""
    return sorted(path.name for path in RUN_ROOT.glob("*") if path.is_dir() and _NAME.fullmatch(path.name))


def leftovers() -> list[str]:
    """Every lab whose builder ended without removing it."""
    return [name for name in names() if (found := load(name)) is not None and found.leftover]


def _began(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command name in parentheses may hold anything; field 22 is counted from the state that follows it.
    after = stat.rpartition(")")[2].split()
    return None if after[0] in "ZX" else int(after[19])
