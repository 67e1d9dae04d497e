"""Where log lines go: one line an event, in the form that who reads them wants."""

from __future__ import annotations

import logging
import os
import sys

#: syslog(3): what journald takes a line's "<N>" for.
_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.DEBUG, 7),
)
_LOWEST = 7


class LineFormatter(logging.Formatter):
    """Whatever is in a message, it is one line; a traceback's lines are joined, too."""

    def format(self, record: logging.LogRecord) -> str:
        """The whole line."""
        return super().format(record).replace("\n", "\\n")


class JournalFormatter(LineFormatter):
    """For journald, which knows the time and takes the priority from the beginning of the line."""

    def format(self, record: logging.LogRecord) -> str:
        """The whole line."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), _LOWEST)
        return f"<{priority}>{super().format(record)}"


def set_up(verbosity: int) -> None:
    """Log to standard error: `verbosity` 0 = events, 2 = everything."""
    handler = logging.StreamHandler(sys.stderr)
    if reaches_journal(sys.stderr.fileno()):
        handler.setFormatter(JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbosity > 1 else logging.INFO, handlers=[handler])
    # pyroute2 sets the level of its own logger when it is imported, but not those below it.
    for chatty in ("pyroute2.dhcp", "pyroute2.netlink", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.DEBUG if verbosity > 1 else logging.WARNING)


def reaches_journal(descriptor: int) -> bool:
    """Whether what is written there goes to journald (systemd.exec(5), JOURNAL_STREAM), not to a pipe or file
    that it was redirected to since."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))
