"""What the documents tell people to type."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

#: In a code block: a line that begins so.
_DSMIP_LINE = re.compile(r"^(?:    |)(?:sudo )?(?:\.venv/bin/)?(dsmip [a-z].*)$")
_SYSTEM_LINE = re.compile(r"^(?:    |)((?:make|apt|install|systemctl|journalctl|ping|ip|nft|sysctl) .*)$")
#: In running text: a span of code.
_SPAN = re.compile(r"`(dsmip [a-z][^`]*)`")


def mentions(text: str) -> list[str]:
    """In running text, where what is clear may be left out."""
    return [match[1].replace("\n", " ").split(" > ")[0] for match in _SPAN.finditer(text)]


def _lines(text: str, pattern: re.Pattern[str]) -> list[str]:
    found = []
    block = ""
    for line in text.splitlines():
        if line.startswith("```"):
            block = "" if block else line.removeprefix("```") or "text"
        match = pattern.match(line)
        if match and (block or line.startswith("    ")):
            found.append(match[1])
    return found


def commands(text: str) -> list[str]:
    """In blocks of code: `dsmip` with its arguments, without comments and where the output goes."""
    return [re.split(r" #| > | \| | && ", command)[0].strip() for command in _lines(text, _DSMIP_LINE)]


def typed(text: str) -> list[str]:
    """In blocks of code: everything a shell is given, whole but for comments."""
    lines = [line for pattern in (_DSMIP_LINE, _SYSTEM_LINE) for line in _lines(text, pattern)]
    return [line.split(" #")[0].strip() for line in lines]


def block(page: str, begins: str) -> str:
    """The indented block of a page that begins so."""
    lines = (ROOT / page).read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("    " + begins))
    found = []
    for line in lines[start:]:
        if line and not line.startswith("    "):
            break
        found.append(line.removeprefix("    "))
    return "\n".join(found) + "\n"
