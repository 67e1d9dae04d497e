"""Bindings of an earlier process, compared with an adopted data plane while the home agent already serves.

The data plane goes on with what it has, which is right for nearly every binding; only a crash between store
and kernel leaves a difference. Going through a hundred thousand of them takes seconds, in which mobile nodes
want answers: it is done in slices, in the pauses between packets. A binding that changes meanwhile gets its
turn first, so that the change starts from what is known.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from ipaddress import IPv6Address

from dsmip.core.actions import InstallBinding

#: Bindings gone through at a time: some milliseconds.
SLICE = 32


class Resumption:
    """`install` puts a binding into the data plane; it must not raise. `together` surrounds several of these
    changes: see `DataPlane.together`."""

    def __init__(
        self,
        install: Callable[[InstallBinding], None],
        together: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._install = install
        self._together = together
        self._waiting: dict[IPv6Address, InstallBinding] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put_off(self, action: InstallBinding) -> None:
        """Install this later, in the running event loop."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._go_on)
        self._waiting[action.binding.home_address] = action

    def settle(self, home_address: IPv6Address) -> None:
        """Install the binding of this mobile node now, if it is still to be."""
        action = self._waiting.pop(home_address, None)
        if action is not None:
            self._install(action)

    def _go_on(self) -> None:
        with self._together():
            for home_address in list(itertools.islice(self._waiting, SLICE)):
                self.settle(home_address)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._go_on)
