"""What the service manager wants to hear (sd_notify protocol): readiness, reloads, and signs of life."""

from __future__ import annotations

import asyncio
import logging
import os
import socket

log = logging.getLogger(__name__)


def notify(state: str) -> None:
    """Tell the service manager, if there is one. Never waits: one that does not listen misses something."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.connect(address)
            sender.send(state.encode())
        except BlockingIOError:
            log.debug("the service manager does not listen")
        except OSError as error:
            log.warning("cannot notify the service manager: %s", error)


class Watchdog:
    """Tells the service manager twice in each of its intervals that the event loop turns."""

    def __init__(self) -> None:
        """Begins at once, if this process is watched. For the event loop's thread."""
        self._interval = watchdog_interval()
        self._timer: asyncio.TimerHandle | None = None
        if self._interval is not None:
            self._tell(self._interval / 2)

    def stop(self) -> None:
        """Tell nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self, pause: float) -> None:
        notify("WATCHDOG=1")
        self._timer = asyncio.get_running_loop().call_later(pause, self._tell, pause)


def watchdog_interval() -> float | None:
    """Seconds in which the service manager wants to hear from this process; None = it does not."""
    interval = os.environ.get("WATCHDOG_USEC", "")
    watched = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(interval) / 1e6 if watched and interval.isdecimal() and int(interval) else None
