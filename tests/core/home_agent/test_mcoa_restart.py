"""Several care-of addresses and flows over a restart of the home agent."""

from __future__ import annotations

from ha_multihomed import AHO, LTE4, WIFI, Multihomed, bid, statuses
from ha_scenario import Outcome

from dsmip.core.actions import RemoveBinding, StoreBinding
from dsmip.core.binding_record import encode_binding
from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.types import Instant
from dsmip.wire.constants import BAStatus
from dsmip.wire.extensions import Extensions, extensions_option
from dsmip.wire.flows import FlowIdentification, FlowSummary
from dsmip.wire.trafficselectors import IPv6TrafficSelector

FLOW = FlowIdentification(10, 100, 0, (1, 2), IPv6TrafficSelector(next_header=(17, 17)))


def restarted(node: Multihomed, after: float) -> Outcome:
    """The same mobile node with the next process of its home agent, on another monotonic clock."""
    stored = encode_binding(node.agent.binding)
    replay = node.agent.agent._nodes.get(node.agent.binding.home_address)
    assert replay is not None
    node.agent.now = Instant(50.0, node.agent.now.unix + after)
    node.agent.agent = HomeAgent(node.agent.config)
    node.agent.agent.resume([stored], [replay.replay], node.agent.now)
    return Outcome(node.agent.agent.actions())


def bound() -> Multihomed:
    """BID 1 for 400 s, BID 2 for 200 s, and a flow over both."""
    node = Multihomed(extensions=Extensions.PROBES)
    node.send(bid(1, WIFI, priority=2), flags=AHO)
    options = (bid(2, LTE4, priority=1), FLOW, extensions_option(Extensions.PROBES))
    node.send_in_udp(*options, lifetime=50)
    return node


def test_a_restart_brings_everything_back() -> None:
    node = bound()
    before = node.agent.binding
    outcome = restarted(node, after=10)
    assert node.agent.binding == before
    assert (outcome.installed.binding, outcome.installed.previous) == (before, None)
    assert not [action for action in outcome.actions if isinstance(action, StoreBinding)]
    assert [entry.ends for entry in node.agent.binding.care_ofs] == [50.0 + 190, 50.0 + 390]
    assert node.agent.agent.timeout() == 50.0 + 190
    node.agent.after(190)
    assert node.bound == {1: WIFI}
    node.agent.after(200)
    assert node.bound == {}


def test_what_ended_meanwhile_is_gone() -> None:
    node = bound()
    outcome = restarted(node, after=300)
    assert node.bound == {1: WIFI}
    assert outcome.one(StoreBinding).binding == node.agent.binding
    assert node.flows == {10: (1, 2)}
    node = bound()
    outcome = restarted(node, after=400)
    assert outcome.one(RemoveBinding).reason == "expired"
    assert node.bound == {}


def test_no_care_of_address_lives_longer_when_the_clock_was_set_back() -> None:
    node = bound()
    restarted(node, after=-1000)
    assert [entry.ends for entry in node.agent.binding.care_ofs] == [50.0 + 200, 50.0 + 400]


def test_bids_and_flows_are_known_after_a_restart() -> None:
    node = bound()
    restarted(node, after=10)
    outcome = node.send(bid(1), FlowSummary((10,)))
    assert statuses(outcome) == (BAStatus.ACCEPTED, {1: 0})
    assert node.bound == {2: LTE4, 1: WIFI}
    assert node.flows == {10: (1, 2)}
