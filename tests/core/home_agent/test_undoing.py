"""Accepted updates whose bindings the data plane has no room for (status 130, RFC 6275 section 10.3.1)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from ha_scenario import (
    AH,
    AHR,
    COA1,
    COA2,
    CONFIG,
    ENTRY,
    HOME,
    MNP1,
    NAT4,
    Mobile,
    Outcome,
    Scenario,
    authentic,
    scenario,
)

from dsmip.core.actions import (
    Event,
    ForgetBinding,
    InstallBinding,
    RemoveBinding,
    SendDatagram,
    SendPacket,
    StoreBinding,
    StoreReplay,
)
from dsmip.core.binding_record import encode_binding
from dsmip.core.types import Binding, UdpEndpoint
from dsmip.wire.constants import BAStatus
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import IPv4HomeAddress, MobileNetworkPrefix

POOL = IPv4Network("203.0.113.0/30")  # two addresses
ANY4 = IPv4HomeAddress(IPv4Address("0.0.0.0"))


def refused(agent: Scenario, tried: list[Binding], kept: Binding | None) -> tuple[list[object], Outcome]:
    """The data plane has no room: what must not leave, and what is to be done."""
    held_back = agent.agent.not_installed(tried, kept, agent.now)
    return list(held_back), Outcome(agent.agent.actions())


def test_a_new_binding_is_taken_out_again_and_the_update_refused_with_130() -> None:
    agent, mobile = scenario()
    accepted = agent.receive(mobile.update(flags=AHR, options=[MobileNetworkPrefix.of(MNP1)]))
    held_back, undone = refused(agent, [accepted.installed.binding], None)
    assert held_back == [accepted.one(SendPacket)]
    assert not agent.bound
    assert undone.kinds() == ["ForgetBinding", "RemoveBinding", "StoreReplay", "SendPacket", "Event"]
    assert undone.one(ForgetBinding).home_address == HOME
    assert undone.one(RemoveBinding).binding == accepted.installed.binding
    assert (undone.ba.status, undone.ba.lifetime) == (BAStatus.INSUFFICIENT_RESOURCES, 0)
    assert authentic(undone.ba_packet, COA1)
    assert undone.one(Event).fields["reason"] == "INSUFFICIENT_RESOURCES"
    # With room again, the next update is accepted; the undone one is a replay.
    again = agent.receive(mobile.update(sequence=16))
    assert again.ba.status == BAStatus.ACCEPTED
    assert again.installed.previous is None


def test_what_was_undone_is_a_replay() -> None:
    agent, mobile = scenario()
    update = mobile.update()
    accepted = agent.receive(update)
    _, undone = refused(agent, [accepted.installed.binding], None)
    assert undone.one(StoreReplay).replay.timestamp == accepted.one(StoreBinding).replay.timestamp
    assert agent.receive(update).ba.status == BAStatus.MIPV6_ID_MISMATCH
    assert not agent.bound


def test_a_move_that_is_refused_leaves_the_former_binding() -> None:
    agent, mobile = scenario()
    before = agent.receive(mobile.update()).installed.binding
    agent.after(1)
    moved = agent.receive(mobile.update(now=agent.now, sequence=16, source=COA2))
    held_back, undone = refused(agent, [moved.installed.binding], moved.installed.previous)
    assert held_back == [moved.one(SendPacket)]
    assert agent.binding == before
    assert undone.one(StoreBinding).binding == before
    assert undone.installed == InstallBinding(before, moved.installed.binding, 0.0)
    assert undone.ba.status == BAStatus.INSUFFICIENT_RESOURCES
    assert authentic(undone.ba_packet, COA2)
    # The former binding ends when it was to end.
    agent.after(418)
    assert agent.bound
    agent.after(1)
    assert not agent.bound


def test_of_two_updates_in_one_turn_neither_is_acknowledged_and_the_last_is_refused() -> None:
    agent, mobile = scenario()
    for number, source in enumerate((COA1, COA2), start=1):
        agent.agent.receive(mobile.update(sequence=number, source=source), agent.now)
    turn = agent.agent.actions()
    tried = [action.binding for action in turn if isinstance(action, InstallBinding)]
    held_back, undone = refused(agent, tried, None)
    assert held_back == [action for action in turn if isinstance(action, SendPacket)]
    assert undone.ba.sequence == 2
    assert not agent.bound


def test_what_has_replaced_the_refused_binding_already_is_left_alone() -> None:
    agent, mobile = scenario()
    for number, source in enumerate((COA1, COA2), start=1):
        agent.agent.receive(mobile.update(sequence=number, source=source), agent.now)
    turn = agent.agent.actions()
    first, second = (action for action in turn if isinstance(action, InstallBinding))
    held_back, undone = refused(agent, [first.binding], None)
    assert held_back == [next(action for action in turn if isinstance(action, SendPacket))]
    assert undone.actions == []
    assert agent.binding == second.binding


def test_an_earlier_turn_is_not_undone() -> None:
    agent, mobile = scenario()
    first = agent.receive(mobile.update())
    agent.receive(mobile.update(sequence=16, source=COA2))
    assert refused(agent, [first.installed.binding], None)[0] == []
    assert agent.bound


def test_dynamic_addresses_go_back_to_the_pool_or_to_who_had_them() -> None:
    entry = replace(ENTRY, ipv4_home_address=None, allow_dynamic_ipv4=True)
    other = replace(entry, home_address=HOME + 1, identifier="other", spi=ENTRY.spi + 1)
    agent = Scenario(replace(CONFIG, mobile_nodes=(entry, other), ipv4_pool=POOL))
    mobile = Mobile(entry)
    new = agent.receive(mobile.update(options=[ANY4])).installed.binding
    refused(agent, [new], None)
    had = agent.receive(mobile.update(sequence=16, options=[ANY4])).installed.binding
    assert had.ipv4 == new.ipv4
    gave_up = agent.receive(mobile.update(sequence=17, source=COA2)).installed.binding
    assert gave_up.ipv4 == ()
    refused(agent, [gave_up], had)
    assert agent.binding.ipv4 == had.ipv4
    granted = agent.receive(
        Mobile(other, spi=other.spi).update(options=[ANY4], identifier="other")
    ).installed.binding.ipv4
    assert granted != had.ipv4
    assert agent.receive(mobile.update(sequence=18)).installed.previous == had


def test_several_care_of_addresses_are_refused_as_one() -> None:
    agent, mobile = scenario()
    bids = [BindingIdentifier(1, care_of=COA1), BindingIdentifier(2, care_of=COA2)]
    accepted = agent.receive(mobile.update(flags=AH, options=bids))
    assert accepted.ba.status == BAStatus.ACCEPTED
    _, undone = refused(agent, [accepted.installed.binding], None)
    assert undone.ba.status == BAStatus.INSUFFICIENT_RESOURCES
    assert not agent.bound


def test_what_a_restart_cannot_put_back_ends_and_is_told() -> None:
    first, mobile = scenario()
    stored = first.receive(mobile.update()).one(StoreBinding)
    second, _ = scenario()
    second.agent.resume([encode_binding(stored.binding)], [stored.replay], second.now)
    resumed = Outcome(second.agent.actions()).installed
    assert resumed.restored
    held_back, undone = refused(second, [resumed.binding], None)
    assert held_back == []
    assert undone.kinds() == ["ForgetBinding", "RemoveBinding", "Event"]
    assert undone.one(Event).kind == "not-resumed"
    assert not second.bound


def test_what_waited_for_duplicate_address_detection_is_refused_to_who_asked_last() -> None:
    agent, mobile = scenario(home_link=True)
    agent.receive(mobile.update(sequence=1))
    agent.receive(mobile.update(sequence=2, source=COA2))
    agent.agent.receive(mobile.update(sequence=3, with_timestamp=False), agent.now)
    agent.agent.actions()
    accepted = agent.dad(HOME, duplicate=False)
    assert accepted.ba.sequence == 2
    held_back, undone = refused(agent, [accepted.installed.binding], None)
    assert held_back == [accepted.one(SendPacket)]
    assert (undone.ba.status, undone.ba.sequence) == (BAStatus.INSUFFICIENT_RESOURCES, 2)
    assert authentic(undone.ba_packet, COA2)


def test_behind_a_nat_the_refusal_takes_the_way_the_update_came() -> None:
    agent, mobile = scenario()
    accepted = agent.receive(mobile.update_in_udp(outer=NAT4, port=40000))
    _, undone = refused(agent, [accepted.installed.binding], None)
    sent = undone.one(SendDatagram)
    assert sent.remote == accepted.one(SendDatagram).remote == UdpEndpoint(NAT4, 40000)
    assert undone.ba.status == BAStatus.INSUFFICIENT_RESOURCES
