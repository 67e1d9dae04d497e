"""Problems of a configuration file: collected, located, reported all at once."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the file: `key` is the path of the key ("mobile_node[2].key"), "" = the file."""

    key: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        return f"{place}{self.key} {self.message}".strip()


class ConfigError(ValueError):
    """A configuration file that cannot be used, with every reason."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        self.path = path
        self.problems = sorted(problems, key=lambda problem: (problem.line or 0, problem.key))
        super().__init__("\n".join(f"{path}: {problem}" for problem in self.problems))


class Problems:
    """Collects problems and finds the line of each key."""

    def __init__(self, locate: Callable[[], dict[str, int]]) -> None:
        """`locate` gives the lines of all keys, once the first problem is there."""
        self.found: list[Problem] = []
        self._locate = functools.cache(locate)

    def add(self, key: str, message: str) -> None:
        """Record a problem of the key with this path."""
        self.found.append(Problem(key, self._line(key), message))

    def _line(self, key: str) -> int | None:
        """The line of the key, or of the nearest table around it."""
        lines = self._locate()
        while key:
            if key in lines:
                return lines[key]
            shorter = re.sub(r"(\[\d+\]|\.?[^.\[\]]+)$", "", key)
            if shorter == key:
                return None
            key = shorter
        return None


_TABLE = re.compile(r"^\s*\[\s*([A-Za-z0-9_.\"-]+)\s*\]")
_ARRAY_OF_TABLES = re.compile(r"^\s*\[\[\s*([A-Za-z0-9_.\"-]+)\s*\]\]")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\"-]+)\s*=")


def locate(text: str) -> dict[str, int]:
    """Line numbers of key paths in a TOML text.

    tomllib keeps no positions; one key a line, as people write it, is all that is understood here.
    """
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    prefix = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _ARRAY_OF_TABLES.match(line):
            name = match[1].strip('"')
            index = counts.get(name, 0)
            counts[name] = index + 1
            lines[f"{name}[{index}]"] = number
            lines.setdefault(name, number)
            prefix = f"{name}[{index}]."
        elif match := _TABLE.match(line):
            name = match[1].strip('"')
            lines[name] = number
            prefix = f"{name}."
        elif match := _KEY.match(line):
            key = match[1].strip('"')
            lines.setdefault(prefix + key, number)
    return lines
