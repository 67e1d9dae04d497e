"""Bindings of an earlier process, put into the data plane while the home agent already serves.

An adopted data plane goes on with what it has, which is right for nearly every binding; only a crash between
store and kernel leaves a difference. After a reboot it has none of them. Going through a hundred thousand
takes seconds either way, in which mobile nodes want answers: it is done in slices, in the pauses between
packets. A binding that changes meanwhile gets its turn first, so that the change starts from what is known,
and so does one that a packet has come for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from ipaddress import IPv6Address

from dsmip.core.actions import InstallBinding
from dsmip.core.types import Binding

#: Bindings gone through at a time: some milliseconds.
SLICE = 32


class Resumption:
    """`install` puts one of the `bindings` into the data plane; it must not raise.

    `together` surrounds several of these changes: see `DataPlane.together`.
    """

    def __init__(
        self,
        install: Callable[[InstallBinding], None],
        bindings: Mapping[IPv6Address, Binding],
        together: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._install = install
        self._bindings = bindings
        self._together = together
        # Home addresses as numbers, because there are many, and in what order they have their turns.
        self._waiting: set[int] = set()
        self._turns: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put_off(self, home_addresses: Iterable[int]) -> None:
        """Install the bindings of these home addresses later, in the running event loop."""
        if not self._turns:
            asyncio.get_running_loop().call_soon(self._go_on)
        for number in home_addresses:
            self._waiting.add(number)
            self._turns.append(number)

    def settle(self, binding: Binding) -> None:
        """Install this binding now, if it is still to be: it is about to change, or needed."""
        number = int(binding.home_address)
        if number in self._waiting:
            self._waiting.remove(number)
            self._install(InstallBinding(binding, None, 0.0, restored=True))

    def _go_on(self) -> None:
        with self._together():
            for _ in range(min(SLICE, len(self._turns))):
                number = self._turns.popleft()
                binding = self._bindings.get(IPv6Address(number)) if number in self._waiting else None
                if binding is not None:
                    self.settle(binding)
                self._waiting.discard(number)
        if self._turns:
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            # One that is emptied keeps its room.
            self._waiting = set()
