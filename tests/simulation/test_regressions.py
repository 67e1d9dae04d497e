"""What seeds have found, each as short as it can be told."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from dsmip.core.mobile_node.counters import Counters
from dsmip.core.mobile_node.delivery import Delivery
from dsmip.core.mobile_node.updates import Purpose, Request
from dsmip.core.types import Instant
from dsmip.wire.constants import BAFlag, BAStatus
from dsmip.wire.messages import BindingAcknowledgement
from tests.simulation import glue, plan
from tests.simulation.plan import Scale
from tests.simulation.simulation import Simulation, play

pytestmark = pytest.mark.simulation

#: One mobile node, one home agent, one access network of each kind, and no faults but those of the test.
_SMALL = Scale(nodes=1, agents=1, accesses=4, steps=0, pace=1.0)


@pytest.fixture
def world() -> Iterator[Simulation]:
    """With a home link, and a network before whose address another one can come."""
    seed = next(
        number for number in range(100) if plan.draw(number, _SMALL).agents[0].file.home_link is not None
    )
    with glue.substituted():
        yield Simulation(seed, scale=_SMALL)


def test_a_crash_between_store_and_data_plane_ends_the_previous_care_of_address(world: Simulation) -> None:
    """Seed 11: the binding was stored, the data plane never heard, and the old source stayed allowed to the
    end of the old binding, for there was no grace period that could end."""
    (agent,), (node,) = world.agents, world.nodes
    node.attach("wlan0", world.internet.accesses[0])
    world.world.run(10.0)
    before = agent.oracle.bindings[node.config.home_address]
    agent.crash_in = 1
    node.detach("wlan0")
    node.attach("wlan0", world.internet.accesses[2])
    world.world.run(11.0)
    assert not agent.up
    assert agent.dataplane.entries[before.index].sources.keys() == {(before.care_of, 0)}
    agent.start()
    after = agent.oracle.bindings[node.config.home_address]
    assert after.care_of != before.care_of
    assert (before.care_of, 0) not in agent.dataplane.entries[after.index].sources


def test_a_crash_in_the_grace_period_leaves_no_source_behind(world: Simulation) -> None:
    """Seed 5: the timer that was to remove the previous care-of address went with the process."""
    (agent,), (node,) = world.agents, world.nodes
    node.attach("wlan0", world.internet.accesses[0])
    world.world.run(10.0)
    before = agent.oracle.bindings[node.config.home_address]
    node.detach("wlan0")
    node.attach("wlan0", world.internet.accesses[2])
    world.world.run(10.2)
    assert (before.care_of, 0) in agent.dataplane.entries[before.index].sources
    agent.crash()
    agent.start()
    assert (before.care_of, 0) not in agent.dataplane.entries[before.index].sources


def test_a_crash_during_deregistration_ends_the_defence_of_the_home_address(world: Simulation) -> None:
    """Seed 53: forgotten on disk, but the kernel went on answering for a mobile node that was at home."""
    (agent,), (node,) = world.agents, world.nodes
    home_address = node.config.home_address
    node.attach("wlan0", world.internet.accesses[0])
    world.world.run(10.0)
    assert home_address in agent.proxied
    agent.crash_in = 1
    node.come_home()
    world.world.run(10.5)
    assert not agent.up
    assert home_address in agent.proxied
    agent.start()
    assert home_address not in agent.proxied


def test_a_clock_set_back_over_a_restart_does_not_lengthen_the_tunnel(world: Simulation) -> None:
    """Seed 1352: the engine ended the binding in time, but the data plane, which has to do so without a
    daemon, would have gone on for as long as the clock had been set back."""
    (agent,), (node,) = world.agents, world.nodes
    node.attach("wlan0", world.internet.accesses[0])
    world.world.run(10.0)
    binding = agent.oracle.bindings[node.config.home_address]
    agent.crash()
    agent.skew -= 3600.0
    agent.start()
    path = agent.dataplane.entries[binding.index].path
    assert path is not None
    assert path.expires is not None
    assert path.expires - agent.now().monotonic <= binding.lifetime


def test_corrections_are_immediate_again_once_the_timer_has_waited(world: Simulation) -> None:
    """Seed 108: two corrections early on, and from then on each one cost the longest interval, minutes later.

    Replayed answers with status 144 are enough to need another.
    """
    (node,) = world.nodes
    node.attach("wlan0", world.internet.accesses[0])
    (care_of,) = node.attachments().care_of[:1]
    delivery = Delivery(node.config, Counters(random.Random(1)))
    delivery.start(Request(Purpose.REGISTER, care_of), first_registration=True)
    refusal = BindingAcknowledgement(BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, BAFlag(0), 7, 0)

    def refused(at: float) -> bool:
        now = Instant(at, 1e9 + at)
        update, _ = delivery.transmit(60.0, (), now)
        return delivery.correct(refusal, update, now)

    assert [refused(at) for at in (0.0, 0.1, 0.2)] == [True, True, False]
    assert delivery.due is not None
    assert refused(delivery.due)


def test_a_number_that_was_accepted_and_undone_counts() -> None:
    """The judge took it for the last one that the binding put back has, and the next one for an old one."""
    play(997889775, full_maps=True)


@pytest.mark.parametrize("found", [9411863, 9412207])
def test_a_restart_does_not_forget_a_number_that_was_accepted_and_undone(found: int) -> None:
    """The binding put back has an older one, and the next process took that for the last."""
    play(found, full_maps=True)


def test_answers_to_two_updates_of_one_instant_may_come_in_either_order() -> None:
    """The mobile node took the answer that came last for the state of its flows at the home agent."""
    play(9411808)


def test_a_home_agent_that_ends_in_the_middle_of_undoing_is_judged_by_what_it_stored() -> None:
    """The judge looked at the engine of a process that had ended."""
    play(446713375, full_maps=True)


def test_what_was_planned_for_a_silent_path_ends_with_its_network() -> None:
    """The mobile node was nowhere, and still meant to register over that path."""
    play(213355027)


def test_a_home_address_found_twice_just_before_the_calm_is_heard_of_before_it() -> None:
    """The mobile node was told so, and stopped, after those that had stopped were started again."""
    play(213354851)


def test_what_was_refused_with_an_update_in_between_leaves_no_outer_source() -> None:
    """Two updates were undone at once; packets from the care-of address of the first one were still good."""
    play(26231311, full_maps=True)


def test_a_short_binding_is_renewed_before_a_network_is_tried_that_was_silent() -> None:
    """It ended while three Binding Updates over a broken IPv6 waited for an answer."""
    play(817424611)


def test_a_tick_may_leave_something_overdue_to_the_next_one() -> None:
    """An uplink became the one in use and was to be probed more often, after its turn to be probed."""
    play(26232030)


def test_a_de_registration_ends_what_waited_for_duplicate_address_detection() -> None:
    """The judge took what the mobile node asked for next, being at home, for a part of it."""
    play(980589080)


def test_an_attempt_under_way_is_not_begun_anew_because_another_uplink_got_its_answer() -> None:
    """It was given up for the renewal of the binding, which had been judged long enough when it began."""
    play(980589092)


def test_a_process_that_ends_while_it_goes_through_old_bindings_leaves_nothing_to_the_next_one() -> None:
    """What the ended one meant to go on with was done by the process after it."""
    play(980589679, full_maps=True)
