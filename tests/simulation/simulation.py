"""Plays one seed: faults and movement first, then calm, agreement, and at last everybody leaves."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace

from tests.simulation import agreement, glue, plan, schedule
from tests.simulation.agent import AgentHost
from tests.simulation.attacker import Attacker
from tests.simulation.clock import World
from tests.simulation.frames import Inner, Violation
from tests.simulation.internet import Access, Internet, Weather
from tests.simulation.ledger import Ledger
from tests.simulation.node import NodeHost
from tests.simulation.plan import Scale
from tests.simulation.schedule import Step

#: Steps between two looks at everything, at least.
THOROUGH = 16

#: Seconds in which what is still on the way arrives.
_TRAILING = 12.0


#: How often, and for how many seconds, judgement is put off because a message is on its way.
_MORE_TIME = 20
_MOMENT = 0.5


@dataclass(frozen=True, slots=True)
class Result:
    """What one seed went through. `trace` is the same for the same seed, whatever the machine.

    `delivered` data packets arrived in spite of everything, `followed` ones had to at the end.
    """

    handovers: int
    events: int
    updates: int
    crashes: int
    delivered: int
    followed: int
    trace: int


class Simulation:
    """One seed. `steps` and `only` leave the end of the schedule and some mobile nodes out."""

    def __init__(
        self,
        seed: int,
        *,
        steps: int | None = None,
        only: frozenset[int] | None = None,
        scale: Scale | None = None,
    ) -> None:
        self.seed = seed
        self.scale = scale or Scale.of(seed)
        self.world = World()
        self.ledger = Ledger()
        self.step: Step | None = None
        world_plan = plan.draw(seed, self.scale, only)
        numbers = {node.number for node in world_plan.nodes}
        self.schedule = [
            step
            for step in schedule.draw(seed, self.scale)
            if (steps is None or step.number < steps) and (step.who != "node" or step.actor in numbers)
        ]
        accesses = [Access(access, number, seed) for number, access in enumerate(world_plan.accesses)]
        self.internet = Internet(self.world, accesses, seed)
        self.agents = [AgentHost(self.world, self.internet, one, self.ledger) for one in world_plan.agents]
        self.nodes = [
            NodeHost(self.world, self.internet, one, self.agents, self.ledger, seed)
            for one in world_plan.nodes
        ]
        self._by_number = {node.number: node for node in self.nodes}
        self._attacker = Attacker(self.internet, self.agents, self.nodes, seed)
        self._packets = 0
        self._followed = 0
        self._postponed: Counter[int] = Counter()
        self._thorough = max(THOROUGH, self.scale.nodes // 2)

    def run(self) -> Result:
        """From beginning to end. Raises Violation."""
        self.internet.weather = Weather.of(self.seed)
        for step in self.schedule:
            self.world.run(step.time)
            self.step = step
            self._take(step)
            if step.number % self._thorough == 0:
                self._look_at_everything()
        self._calm_down()
        self._agree()
        self._leave()
        return Result(
            handovers=sum(node.handovers for node in self.nodes),
            events=self.world.events,
            updates=self.ledger.entries,
            crashes=sum(agent.crashes for agent in self.agents),
            delivered=sum(a.delivered for a in self.agents) + sum(n.delivered for n in self.nodes),
            followed=self._followed,
            trace=hash(
                (self.world.events, self.ledger.entries, *(node.fate.random() for node in self.nodes))
            ),
        )

    # Faults and movement -----------------------------------------------------------------------------------

    def _take(self, step: Step) -> None:
        rng = random.Random(step.salt)
        if step.who == "node":
            self._node_step(self._by_number[step.actor], step.what, rng)
        elif step.who == "agent":
            self._agent_step(self.agents[step.actor], step.what, rng)
        else:
            self._attacker.deeds[step.what](rng)

    def _node_step(self, node: NodeHost, what: str, rng: random.Random) -> None:
        match what:
            case "move":
                self._move(node, rng)
            case "detach":
                node.detach(rng.choice(("wlan0", "wwan0")))
            case "home":
                if rng.random() < 0.5:
                    node.detach("wlan0")
                    node.detach("wwan0")
                node.come_home()
            case "leave home":
                node.leave_home()
            case "vanish":
                node.vanish()
            case "reboot":
                node.boot()
                self._move(node, rng)
            case "change home agent":
                node.boot(other_agent=True)
                self._move(node, rng)
            case "set clock":
                node.skew += rng.choice((rng.uniform(-10, 10), rng.uniform(-1e5, 1e5)))
            case "announce":
                node.announce(rng.choice(plan.RADIOS), leaving=rng.random() < 0.6)
            case "another policy":
                node.another_policy(rng)
            case "data":
                self._data(node, rng)

    def _move(self, node: NodeHost, rng: random.Random) -> None:
        interface = rng.choice(("wlan0", "wlan0", "wwan0"))
        free = [access for access in self.internet.accesses if access not in node.accesses]
        if not free:
            return
        access = rng.choice(free)
        manner = rng.random()
        if manner < 0.3:
            node.leave_home()
            node.detach(interface)
            self.world.after(rng.uniform(0, 3), self._arrive, node, interface, access)
        else:
            if manner < 0.6:
                node.leave_home()
            node.attach(interface, access)
        if rng.random() < 0.5:
            self._data(node, rng)

    def _arrive(self, node: NodeHost, interface: str, access: Access) -> None:
        if node.engine is not None and access not in node.accesses:
            node.attach(interface, access)

    def _data(self, node: NodeHost, rng: random.Random) -> None:
        """Packets in flight, in both directions."""
        self._packets += 1
        config = node.config
        address = rng.choice((config.home_address, *(prefix[5] for prefix in config.prefixes)))
        remote = rng.choice(plan.REMOTES)
        correspondent = remote[3] if remote.version == address.version else plan.agent_address(0) + 0x100
        node.agent.forward(Inner(correspondent, address, "data", self._packets))
        for outgoing in node.outgoing(Inner(address, correspondent, "data", self._packets)):
            self.internet.from_node(node, *outgoing)
        node.use()

    def _agent_step(self, agent: AgentHost, what: str, rng: random.Random) -> None:
        back = rng.choice((0.0, 0.2, 2.0, 15.0))
        match what:
            case "crash at boundary":
                agent.crash_in = rng.randrange(5)
                self.world.after(20.0, agent.start)
            case "restart":
                agent.crash()
                self.world.after(back, agent.start)
            case "reboot":
                agent.power_off()
                self.world.after(5.0 + back, agent.start)
            case "lose disk":
                agent.lose_disk()
                self.world.after(5.0 + back, agent.start)
            case "disk full":
                self._fill(agent, True)
                self.world.after(rng.uniform(0, 10), self._fill, agent, False)
            case "maps full":
                # For nothing more, for one more, or less than there is.
                agent.dataplane.room = max(0, agent.dataplane.listed + rng.choice((0, 0, 1, -2)))
                self.world.after(rng.uniform(1, 30), self._make_room, agent)
            case "stall":
                agent.stall(rng.uniform(0, 4))
            case "set clock":
                agent.set_clock(rng.choice((rng.uniform(-3, 3), rng.uniform(0, 1e5), rng.uniform(-1e5, 0))))
            case "duplicate":
                agent.duplicates.update(rng.sample([node.config.home_address for node in self.nodes], 1))
            case "restart nat":
                nats = [access.nat for access in self.internet.accesses if access.nat is not None]
                if nats:
                    rng.choice(nats).restart()

    def _fill(self, agent: AgentHost, full: bool) -> None:
        agent.disk.full = full

    def _make_room(self, agent: AgentHost) -> None:
        agent.dataplane.room = None

    def _look_at_everything(self) -> None:
        for agent in self.agents:
            if agent.up:
                agent.oracle.check_all(agent)

    # Calm --------------------------------------------------------------------------------------------------

    def _calm_down(self) -> None:
        """No more faults; whoever gave up for good is started again, as its owner would."""
        self.step = None
        self.internet.calm()
        for agent in self.agents:
            agent.duplicates.clear()  # what is said of them is heard before those who gave up are started
        self.world.run(self.world.time + _TRAILING)
        for agent in self.agents:
            agent.crash_in = None
            agent.busy_until = self.world.time
            agent.disk.full = False
            agent.dataplane.room = None
            agent.start()
        for node in self.nodes:
            engine = node.engine
            if engine is not None and engine.is_stopped:
                accesses = node.accesses
                node.boot()
                for interface, access in zip(("wlan0", "wwan0"), accesses, strict=False):
                    node.attach(interface, access)

    def _agree(self) -> None:
        end = self.world.time
        for node in self.nodes:
            deadline = self.world.time + agreement.patience(node)
            end = max(end, deadline)
            self.world.at(deadline, self._part, node)
        self.world.run(end + _MORE_TIME * _MOMENT)
        self._look_at_everything()

    def _part(self, node: NodeHost) -> None:
        """This node's time is over: it must agree with its home agent, and leaves without a word."""
        if agreement.is_busy(node) and self._postponed[node.number] < _MORE_TIME:
            # Something has just begun: a refresh, a path that is good again.
            self._postponed[node.number] += 1
            self.world.after(_MOMENT, self._part, node)
            return
        self._followed += agreement.check(node, self.internet)
        node.vanish()

    def _leave(self) -> None:
        """In the end nothing is left of all that are gone."""
        # What the last of them sent may still be on its way, and be granted.
        self.world.run(self.world.time + _TRAILING)
        last = max(agent.oracle.latest for agent in self.agents)
        self.world.run(max(self.world.time, last + _TRAILING))
        self._look_at_everything()
        for agent in self.agents:
            left = agent.engine.bindings
            entries = [e for e in agent.dataplane.entries.values() if e.sources]
            if left or entries or agent.engine.timeout() is not None:
                raise Violation(
                    f"{agent.name} is left with {dict(left)}, {entries}, {agent.engine.timeout()}"
                )


def play(
    seed: int,
    *,
    steps: int | None = None,
    only: frozenset[int] | None = None,
    scale: Scale | None = None,
    full_maps: bool = False,
) -> Result:
    """Run one seed. Raises Failure for whatever went wrong."""
    scale = replace(scale or Scale.of(seed), full_maps=full_maps)
    with glue.substituted():
        simulation = Simulation(seed, steps=steps, only=only, scale=scale)
        try:
            return simulation.run()
        except Exception as error:
            step = simulation.step
            where = (
                f"after step {step.number} ({step.who} {step.actor}: {step.what})" if step else "in the calm"
            )
            reached = step.number + 1 if step is not None else steps
            raise Failure(
                seed, reached, only, f"{where}, at {simulation.world.time:.3f} s: {error!r}", full_maps
            ) from error


class Failure(AssertionError):
    """A seed that failed: `steps` is how far the schedule got, None = to its end."""

    def __init__(
        self, seed: int, steps: int | None, only: frozenset[int] | None, what: str, full_maps: bool
    ) -> None:
        self.seed = seed
        self.full_maps = full_maps
        self.steps = steps
        self.only = only
        self.what = what
        command = f"python -m tests.simulation --seed {seed}"
        if steps is not None:
            command += f" --steps {steps}"
        if only is not None:
            command += f" --nodes {','.join(map(str, sorted(only)))}"
        if full_maps:
            command += " --full-maps"
        super().__init__(f"{what}\nreproduce: {command}")
