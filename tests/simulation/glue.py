"""The daemon's home agent, with the machine around it exchanged.

`HomeAgentDaemon` decides how a binding becomes paths, networks and sources, when grace ends, what is on disk
before an acknowledgement leaves and what a new process does with an old data plane. All of that runs here as
it is; only its `Runtime`, its clock and its event loop are the simulation's.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from dsmip.core.actions import Action
from dsmip.core.types import Instant, IPAddress
from dsmip.daemon.conditions import Conditions
from dsmip.daemon.rounds import Refusals
from dsmip.dataplane.api import NotInstalled, Role, Traffic

if TYPE_CHECKING:
    from tests.simulation.agent import AgentHost

#: The machine whose daemon runs now.
_current: list[AgentHost] = []


@contextmanager
def on(host: AgentHost) -> Iterator[None]:
    """Whatever the daemon does in here it does on this machine."""
    _current.append(host)
    try:
        yield
    finally:
        _current.pop()


class Loop:
    """As much of an event loop as the daemon uses."""

    def time(self) -> float:
        """CLOCK_MONOTONIC."""
        return _current[-1].now().monotonic

    def call_later(self, delay: float, call: Callable[..., None], *arguments: Any) -> None:
        """Unless the process ends before."""
        _current[-1].later(delay, call, *arguments)

    def call_soon(self, call: Callable[[], None]) -> None:
        """At the end of this turn, unless the process ends before, or has just ended."""
        if _current[-1].up:
            _current[-1].soon.append(call)


class Asyncio:
    """Stands in for the module."""

    loop = Loop()

    @classmethod
    def get_running_loop(cls) -> Loop:
        """The one loop."""
        return cls.loop


class Announcer:
    """Neighbours learn nothing here: the home link asks the machine."""

    interface = "home"

    def announce(self, address: IPAddress, source: IPv6Address | None, *, router: bool) -> None:
        """Not needed."""


class Dad:
    """Duplicate address detection: the machine knows the result."""

    def __init__(self, host: AgentHost) -> None:
        self._host = host

    def start(
        self, home_address: IPv6Address, addresses: tuple[IPv6Address, ...], finished: Callable[[bool], None]
    ) -> None:
        """Tell `finished` whether there is a duplicate."""
        self._host.start_dad(home_address, finished)


def drive(steps: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never has to wait here."""
    try:
        steps.send(None)
    except StopIteration:
        return
    raise RuntimeError("it waits for something")


class Runtime:
    """What a daemon finds around itself."""

    def __init__(
        self,
        name: str,
        role: Role,
        carry_out: Callable[[Action], None],
        *,
        prepare: Callable[[list[Action]], list[Action]],
        **_: Any,
    ) -> None:
        host = _current[-1]
        self.name = name
        self.carry_out = carry_out
        self.prepare = prepare
        self.dataplane = host.dataplane
        self.sockets = host
        self.routing = host
        self.events = host
        self.conditions = Conditions(host.event)
        self.refusals: Refusals | None = None
        self.turn = host.turn
        self.retired = Traffic()
        #: No IPsec here.
        self.payload = None

    def changes(self) -> AbstractContextManager[None]:
        """Each change is made at once here, and refused where there is no room."""
        return self._changes() if self.dataplane.room is not None else nullcontext()

    @contextmanager
    def _changes(self) -> Iterator[None]:
        assert self.refusals is not None
        try:
            with self.dataplane.together():
                yield
        except NotInstalled as error:
            self.refusals.note(error)

    def is_protected(self, action: Action) -> bool:
        """No IPsec here."""
        return False


def _instant() -> Instant:
    return _current[-1].now()


def _link_local_address(interface: str) -> IPv6Address | None:
    return None


@contextmanager
def substituted() -> Iterator[None]:
    """The daemon's module with these in place."""
    with (
        patch.multiple(
            "dsmip.daemon.home_agent.daemon",
            Runtime=Runtime,
            instant=_instant,
            link_local_address=_link_local_address,
        ),
        patch("dsmip.daemon.home_agent.forwarding.asyncio", Asyncio),
        patch("dsmip.daemon.persistence.asyncio", Asyncio),
        patch("dsmip.daemon.full_maps.asyncio", Asyncio),
        patch("dsmip.daemon.resumption.asyncio", Asyncio),
    ):
        yield
