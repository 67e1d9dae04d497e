"""Judges how a home agent undoes what its data plane had no room for."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from dsmip.core.actions import (
    Action,
    InstallBinding,
    RemoveBinding,
    SendDatagram,
    SendPacket,
    StoreBinding,
    StoreReplay,
)
from dsmip.core.types import Binding
from dsmip.wire.constants import BAStatus
from dsmip.wire.messages import BindingAcknowledgement, decode_message
from dsmip.wire.packet import decode_packet
from tests.simulation.data_plane import Source
from tests.simulation.frames import Violation

if TYPE_CHECKING:
    from tests.simulation.agent import AgentHost
    from tests.simulation.oracle import Oracle


_NO_ROOM = BAStatus.INSUFFICIENT_RESOURCES


class Former(NamedTuple):
    """A binding, when its care-of addresses end, and which outer sources it has, until when."""

    binding: Binding
    deadlines: dict[int, float]
    permitted: dict[Source, float]


def judge_undoing(oracle: Oracle, host: AgentHost, actions: list[Action]) -> list[IPv6Address]:
    """All has to be as it was, but for dynamic addresses that somebody else has by now, and the mobile nodes
    are told so and nothing else. Home addresses concerned."""
    concerned: list[IPv6Address] = []
    for action in actions:
        match action:
            case StoreBinding():
                _put_back(oracle, host, action.binding)
                concerned.append(action.binding.home_address)
            case RemoveBinding():
                home_address = action.binding.home_address
                if None not in oracle.former.get(home_address, []):
                    raise Violation(
                        f"{host.name} ends the binding of {home_address}, which had another before"
                    )
                oracle.removed(host, action)
            case InstallBinding():
                if oracle.bindings.get(action.binding.home_address) != action.binding:
                    raise Violation(f"{host.name} puts another binding back: {action.binding}")
            case SendPacket() | SendDatagram():
                octets = action.packet if isinstance(action, SendPacket) else action.payload
                opened = decode_packet(octets)
                answer = decode_message(opened.payload, opened.sender, opened.recipient)
                if not isinstance(answer, BindingAcknowledgement) or answer.status != _NO_ROOM:
                    raise Violation(f"{host.name} says of what it undoes: {answer}")
            case StoreReplay():
                oracle.replay_state(host, action.replay)
            case _:
                pass
    return concerned


def _put_back(oracle: Oracle, host: AgentHost, binding: Binding) -> None:
    for known in reversed(oracle.former.get(binding.home_address, [])):
        if known is not None and structs.replace(known.binding, ipv4=binding.ipv4) == binding:
            if not set(binding.ipv4) <= set(known.binding.ipv4):
                break
            oracle.take_back(known, binding)
            return
    raise Violation(f"{host.name} puts back what was not there: {binding}")
