"""Bindings that the kernel has no room for, or whose payload it does not protect: data plane and policies are
again what they were, the engine undoes the rest.

By the end of a turn data plane, engine and store agree again, and the mobile node is told status 130: see
`dsmip.core.home_agent.undoing`, also for what a crash in between does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from ipaddress import IPv6Address

from dsmip.core.actions import Action, InstallBinding, RemoveBinding
from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.home_agent.events import OF_CHANGES
from dsmip.core.types import Binding, Instant
from dsmip.daemon.config.schema import MobileNodeTable
from dsmip.daemon.full_maps import FullMaps, Refusal
from dsmip.daemon.home_agent.forwarding import Forwarding
from dsmip.daemon.home_agent.payload import HomeAgentPayload
from dsmip.daemon.rounds import Round
from dsmip.daemon.runtime import Runtime
from dsmip.dataplane.api import DataPlaneError, NotInstalled
from dsmip.host.routing import HostError


class RefusedBindings:
    """Implements `rounds.Refusals`. `node_of` knows mobile nodes by configured home address."""

    def __init__(
        self,
        runtime: Runtime,
        engine: HomeAgent,
        forwarding: Forwarding,
        payload: HomeAgentPayload,
        node_of: Callable[[IPv6Address], MobileNodeTable | None],
        now: Callable[[], Instant],
    ) -> None:
        self._runtime = runtime
        self._engine = engine
        self._forwarding = forwarding
        self._payload = payload
        self._node_of = node_of
        self._now = now
        self._full = FullMaps(runtime.events, runtime.conditions)
        #: Why bindings were refused in this round, by index.
        self._noted: dict[int, Refusal] = {}
        #: Bindings of an earlier process that were put in beside the actions of this round.
        self._resumed: list[Action] = []
        #: What the data plane was given back in this turn, by index.
        self._kept: dict[int, Binding | None] = {}
        self._undoing = False

    def __bool__(self) -> bool:
        """Whether the engine has something to undo."""
        return bool(self._kept)

    def note(self, error: NotInstalled) -> None:
        """See `rounds.Refusals`."""
        self._noted.update(error.refusals)

    def note_one(self, index: int, error: Refusal) -> None:
        """A change that was to be made at once has not been."""
        self._noted.setdefault(index, error)

    def resumed(self, action: InstallBinding) -> None:
        """This binding of an earlier process is put in, too."""
        self._resumed.append(action)

    def settle(self, done: Round) -> None:
        """See `rounds.Refusals`."""
        if self._noted or self._kept or self._full:
            self._settle(done)
        self._resumed.clear()

    def begin_undoing(self) -> bool:
        """See `rounds.Refusals`."""
        self._undoing = bool(self._kept)
        return self._undoing

    def end_undoing(self) -> None:
        """See `rounds.Refusals`."""
        self._undoing = False
        self._kept.clear()
        self._forwarding.instead.clear()

    # Details -----------------------------------------------------------------------------------------------

    def _settle(self, done: Round) -> None:
        refused, self._noted = self._noted, {}
        if self._undoing:
            # The former bindings need no new entry. Whatever is refused here, there is no way further back.
            self._tell(refused.values())
            return
        tried, kept = self._history([*self._resumed, *done.changes])
        for index in kept:
            self._kept.pop(index, None)
        self._full.settled([index for index in kept if index not in refused])
        self._tell(error for index, error in refused.items() if index not in tried)
        held_back: list[Action] = []
        undone: list[Binding] = []
        with self._runtime.changes():
            for index, error in refused.items():
                if bindings := tried.get(index):
                    acknowledgements = self._take_back(bindings, kept[index], error)
                    held_back += acknowledgements
                    undone += bindings[-1:] if acknowledgements else []
        # Neither is the way back refused: see above.
        self._tell(self._noted.values())
        self._noted.clear()
        _leave_out(done, held_back, {self._engine.configured_address(one.home_address) for one in undone})

    def _history(
        self, changes: Iterable[Action]
    ) -> tuple[dict[int, list[Binding]], dict[int, Binding | None]]:
        """By index, which bindings one after the other the data plane was to have, and what it had before."""
        tried: dict[int, list[Binding]] = {}
        kept: dict[int, Binding | None] = {}
        for action in changes:
            if isinstance(action, InstallBinding):
                index = action.binding.index
                kept.setdefault(index, self._kept.get(index, action.previous))
                tried.setdefault(index, []).append(action.binding)
            elif isinstance(action, RemoveBinding):
                kept[action.binding.index] = None
                tried.pop(action.binding.index, None)
        return tried, kept

    def _take_back(self, tried: list[Binding], kept: Binding | None, error: Refusal) -> Collection[Action]:
        """Undo these bindings of one mobile node; the acknowledgements that must not leave."""
        latest = tried[-1]
        held_back = self._engine.not_installed(tried, kept, self._now())
        try:
            if kept is not None and not held_back:
                # Nobody asked for it: it has become less by itself, and needs no room.
                self._tell([error])
                self._forwarding.install(InstallBinding(latest, None, 0.0))
                return ()
            self._full.refused(latest.index, error)
            self._kept[latest.index] = kept
            node = self._node_of(self._engine.configured_address(latest.home_address))
            self._forwarding.put_back(tried, kept, node)
            self._payload.put_back(latest.index, kept)
        except (DataPlaneError, HostError) as another:
            self._tell([another])
        return held_back

    def _tell(self, errors: Iterable[Refusal]) -> None:
        for error in errors:
            self._runtime.events.event("host-error", {"error": str(error)})


def _leave_out(done: Round, held_back: list[Action], undone: Collection[IPv6Address]) -> None:
    """Send and tell nothing of what has been undone."""
    if held_back:
        left_out = set(map(id, held_back))
        done.messages = [message for message in done.messages if id(message) not in left_out]
    done.events = [
        event
        for event in done.events
        if event.kind not in OF_CHANGES or event.fields.get("home_address") not in undone
    ]
