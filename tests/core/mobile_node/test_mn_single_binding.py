"""A home agent that takes one binding only, over whichever family it is reached (RFC 5648 section 5.2)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from mobile_node_bench import HOME_ADDRESS, HOME_AGENT, Sent, at
from multihomed_world import (
    LTE,
    LTE_BID,
    MULTIHOMED,
    NATED,
    SAT,
    WLAN,
    WLAN_BID,
    MultihomedWorld,
    settled,
)

from dsmip.core.actions import SendDatagram
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.core.mobile_node.home_agents import HomeAgentAddress
from dsmip.core.types import IPAddress
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import AlternateCareOfAddress, IPv4CareOfAddress, find, find_all


def test_rfc5648_5_2_no_binding_identifier_in_the_answer_means_one_plain_binding() -> None:
    world = MultihomedWorld()
    world.agent.knows_bids = False
    world.move(NATED, LTE)
    world.wait(2.0)
    assert world.agent.plain == LTE.address
    assert [event.fields["status"] for event in world.kinds("single-binding")] == [0]
    assert world.node.multihoming is not None
    assert not world.node.multihoming.supported
    assert world.node.state(at(world.time)) is MobileNodeState.REGISTERED
    assert list(world.paths) == [0]
    assert world.preference == ()
    assert find(world.last.update.options, AlternateCareOfAddress) is not None


def test_one_plain_binding_moves_as_ever() -> None:
    world = MultihomedWorld()
    world.agent.knows_bids = False
    world.move(WLAN, LTE)
    world.wait(2.0)
    world.move(LTE)
    world.wait(1.0)
    assert world.agent.plain == LTE.address


def test_mcoa_prohibited_means_one_plain_binding() -> None:
    world = MultihomedWorld()
    world.agent.refuses = {WLAN_BID: 166, LTE_BID: 166}
    world.move(WLAN, LTE)
    world.wait(2.0)
    assert world.agent.plain == WLAN.address
    assert world.kinds("single-binding")


def test_rfc5648_5_2_a_plain_binding_in_the_way_is_overwritten() -> None:
    world = settled(WLAN, LTE)
    world.agent.restart()
    world.agent.plain = IPv6Address("2001:db8:bad::1")
    world.wait(600.0)
    world.agree()
    assert world.agent.plain is None


def test_another_home_agent_is_asked_for_several_bindings_again() -> None:
    other = HomeAgentAddress(IPv6Address("2001:db8:100::2"))
    world = MultihomedWorld(replace(MULTIHOMED, other_home_agents=(other,)))
    world.agent.knows_bids = False
    world.move(WLAN, LTE)
    world.wait(2.0)
    world.dead |= {"wlan0", "wwan0"}
    world.run(world.time + 700.0)
    assert world.node.config.home_agent != HOME_AGENT or world.kinds("home-agent")
    assert find_all(world.last.update.options, BindingIdentifier)


# Over IPv4 only ---------------------------------------------------------------------------------------------


class OldHomeAgent(MultihomedWorld):
    """A home agent without RFC 5648. It finds no care-of address in an update in UDP that has binding
    identifiers only: it takes `covers` of the network for one, and answers with `status`, or not at all."""

    def __init__(self, covers: str = "home address", status: int | None = 146) -> None:
        super().__init__()
        self.agent.knows_bids = False
        self.covers = covers
        self.status = status
        self.up = True

    def _update_arrives(self, sent: Sent) -> None:
        if not self.up:
            return
        plain = find(sent.update.options, IPv4CareOfAddress)
        if not isinstance(sent.action, SendDatagram) or plain is not None:
            super()._update_arrives(sent)
        elif self.status is not None:
            local = sent.action.local.address
            care_of: IPAddress = HOME_ADDRESS if self.covers == "home address" else local
            data = self.acknowledgement(sent, status=self.status, care_of=care_of)
            self._later(sent.action.interface, lambda: self.node.receive(data, at(self.time)))


@pytest.mark.parametrize("status", [146, 174, 128])
@pytest.mark.parametrize("covers", ["home address", "outer source"])
def test_a_refusal_over_ipv4_that_names_no_binding_identifier(covers: str, status: int) -> None:
    world = OldHomeAgent(covers, status)
    world.move(NATED, SAT)
    world.wait(3.0)
    assert world.agent.plain == NATED.address
    assert [event.fields["status"] for event in world.kinds("single-binding")] == [status]
    assert world.node.state(at(world.time)) is MobileNodeState.REGISTERED
    assert list(world.paths) == [0]
    # It stays so: nobody is asked about binding identifiers again.
    before = len(world.sent)
    world.wait(700.0)
    assert not any(find_all(sent.update.options, BindingIdentifier) for sent in world.sent[before:])


def test_a_home_agent_that_drops_what_it_does_not_understand() -> None:
    world = OldHomeAgent(status=None)
    world.move(NATED, SAT)
    world.wait(60.0)
    assert world.agent.plain == NATED.address
    assert [event.fields for event in world.kinds("single-binding")] == [{"assumed": True}]
    assert world.node.state(at(world.time)) is MobileNodeState.REGISTERED
    assert list(world.paths) == [0]


def test_silence_of_a_home_agent_that_was_down_is_not_held_against_it() -> None:
    world = OldHomeAgent(status=None)
    world.agent.knows_bids = True
    world.up = False
    world.move(NATED, SAT)
    world.wait(90.0)
    assert len(world.kinds("single-binding")) == 1
    world.up, world.covers = True, ""
    world._update_arrives = MultihomedWorld._update_arrives.__get__(world)  # type: ignore[method-assign]
    world.wait(120.0)
    assert len(world.agent.bindings) == 2
    world.agree()


def test_silence_over_ipv6_says_nothing_about_binding_identifiers() -> None:
    """There such a home agent answers."""
    world = OldHomeAgent(status=None)
    world.up = False
    world.move(LTE, NATED)
    world.wait(200.0)
    assert world.kinds("single-binding") == []


def test_a_home_agent_that_has_answered_is_not_taken_for_an_old_one() -> None:
    world = settled(NATED)
    world.dead.add("lte1")
    world.wait(2000.0)
    assert world.kinds("single-binding") == []
