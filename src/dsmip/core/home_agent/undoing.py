"""Accepted Binding Updates whose bindings the data plane has no room for: undone, and refused after all.

An update is accepted, stored, installed and acknowledged, in this order, many at a time. That the kernel has
no room for an entry, or refuses a policy of IPsec, shows when they are installed; the acknowledgement has not
left by then, and never does. The mobile node has what it had before, in store and data plane too, and is told
status 130, as it is when a home agent refuses an update for any other reason (RFC 6275 section 10.3.1).

A crash in between is safe. Until the refusal is stored, the store has a binding that its mobile node asked
for and that was never acknowledged, as after any crash between store and acknowledgement: the mobile node
repeats its update and finds that binding, or a refusal. The next process puts into the data plane what is in
the store; if there is still no room, that binding ends (`undo` with nothing kept). Once the refusal is
stored, store and data plane have the same. Replay state only ever goes forward: what was undone cannot be
played again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dsmip.core.actions import Action, Event
from dsmip.core.home_agent.bindings import Bindings
from dsmip.core.home_agent.nodes import ServedNode, ServedNodes
from dsmip.core.registration import Request, read_request
from dsmip.core.types import Binding, Instant
from dsmip.wire.constants import BAStatus
from dsmip.wire.messages import BindingUpdate, decode_message
from dsmip.wire.packet import decode_packet

#: What an accepted update left: the binding, the packet it came in, its acknowledgement. The packet is there
#: anyway; what it was taken apart into is not kept for something that hardly ever happens.
Accepted = tuple[Binding, bytes, Action]


class Undoing:
    """Knows the updates accepted in the turn whose actions are being carried out.

    `refuse` answers an update with a status of 128 or more.
    """

    def __init__(
        self,
        nodes: ServedNodes,
        bindings: Bindings,
        refuse: Callable[[Request, ServedNode, BAStatus, Instant], None],
        emit: Callable[[Action], None],
    ) -> None:
        #: The packet that is being dealt with.
        self.packet = b""
        #: Since the actions were handed over the last time.
        self.accepted: list[Accepted] = []
        self._in_doubt: list[Accepted] = []
        self._nodes = nodes
        self._bindings = bindings
        self._refuse = refuse
        self._emit = emit

    def hand_over(self) -> None:
        """The actions are about to be carried out."""
        self._in_doubt, self.accepted = self.accepted, []

    def undo(self, tried: Sequence[Binding], kept: Binding | None, now: Instant) -> list[Action]:
        """Of one mobile node the data plane has `kept` instead of these, each of which replaced another.

        Returns the acknowledgements that must not leave. If the last one has been replaced already, that is
        all: what became of it decides. What became less without being asked, its lifetime being over for
        instance, remains so.
        """
        answered = [one for one in self._in_doubt if any(one[0] is binding for binding in tried)]
        latest = tried[-1]
        node = self._nodes.get(latest.home_address)
        if kept is not None and not answered:
            return []
        if node is not None and self._bindings.of(node) == latest:
            self._bindings.put_back(latest, kept, node)
            if answered:
                self._refuse(_read_again(answered[-1][1]), node, BAStatus.INSUFFICIENT_RESOURCES, now)
            else:
                self._emit(Event("not-resumed", {**node.who, "care_of": latest.care_of}))
        return [acknowledgement for _, _, acknowledgement in answered]


def _read_again(data: bytes) -> Request:
    """The request in a packet that was accepted."""
    packet = decode_packet(data)
    update = decode_message(packet.payload, packet.sender, packet.recipient)
    assert isinstance(update, BindingUpdate)
    request = read_request(packet, update, packet.sender)
    assert isinstance(request, Request)
    return request
