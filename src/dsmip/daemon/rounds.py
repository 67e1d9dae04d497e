"""The actions of a turn in the order in which they are carried out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from dsmip.core.actions import (
    Action,
    Event,
    ForwardPacket,
    RemoveBinding,
    SendDatagram,
    SendError,
    SendPacket,
)
from dsmip.dataplane.api import NotInstalled

_MESSAGES = (SendPacket, SendDatagram, ForwardPacket, SendError)


@dataclass(slots=True)
class Round:
    """Changes, which are made together, then the messages that presuppose them, then what is told of it."""

    changes: list[Action] = field(default_factory=list)
    messages: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def rounds(actions: list[Action]) -> Iterator[Round]:
    """What is said before a binding ends may go to where it leads, so it does not wait for that."""
    this = Round()
    for action in actions:
        if isinstance(action, _MESSAGES):
            this.messages.append(action)
        elif isinstance(action, Event):
            this.events.append(action)
        elif this.messages and isinstance(action, RemoveBinding):
            yield this
            this = Round([action])
        else:
            this.changes.append(action)
    yield this


class Refusals(Protocol):
    """Deals with changes that the kernel refuses. What has to be undone are further actions of the engine."""

    def note(self, error: NotInstalled) -> None:
        """Some of the changes that were to be made together have not been."""

    def settle(self, done: Round) -> None:
        """The changes of this round have been made, but for what was noted: takes out of it what is not to be
        sent and told now."""

    def begin_undoing(self) -> bool:
        """All rounds of a turn are over. Whether the engine has more to do: to undo what was refused."""

    def end_undoing(self) -> None:
        """That has been done, too."""
