"""Kernel settings under /proc/sys: set while the daemon runs, put back when it stops.

What was there before is kept in a file, so that a start after `kill -9` still knows it.
"""

from __future__ import annotations

import json
from pathlib import Path

_ROOT = Path("/proc/sys")


def read(name: str) -> str | None:
    """The value of a setting such as "net/ipv6/conf/all/forwarding"; None when there is no such setting."""
    try:
        return (_ROOT / name).read_text().strip()
    except OSError:
        return None


def write(name: str, value: str | int) -> bool:
    """Set a value; False when the kernel does not have it or refuses."""
    try:
        (_ROOT / name).write_text(f"{value}\n")
    except OSError:
        return False
    return True


class Settings:
    """Settings changed by the daemon, with the values they had before."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._before: dict[str, str] = {}
        if memory.exists():
            try:
                found = json.loads(memory.read_text())
            except ValueError:
                found = {}
            self._before = {str(name): str(value) for name, value in found.items()}

    def set(self, name: str, value: str | int) -> bool:
        """Set a value and remember the one it replaces (the first time only)."""
        present = read(name)
        if present is None:
            return False
        if present == str(value):
            return True
        if name not in self._before:
            self._before[name] = present
            self._memory.write_text(json.dumps(self._before))
        return write(name, value)

    def allow_any_source(self, interface: str) -> None:
        """Where the kernel drops IPv4 packets on `interface` whose source it would route elsewhere, let it
        drop only those whose source it would not route at all (rp_filter, RFC 3704 section 2.4)."""
        names = [f"net/ipv4/conf/{name}/rp_filter" for name in ("all", interface)]
        if "1" in (read(name) for name in names):
            self.set(names[1], 2)

    def restore(self, interface: str | None = None) -> None:
        """Put everything back, or what is of one interface."""
        ours = [name for name in reversed(self._before) if interface is None or f"/conf/{interface}/" in name]
        for name in ours:
            write(name, self._before.pop(name))
        if self._before:
            self._memory.write_text(json.dumps(self._before))
        else:
            self._memory.unlink(missing_ok=True)
