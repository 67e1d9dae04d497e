"""`python -m tests.system.unrest --seconds 300`: the real daemons in the lab, while all sorts of things fail.

The simulation does this to the engines; this does it to the programs, on real interfaces: uplinks pulled out
and plugged in faster than anything can settle, networks that carry nothing, NATs that forget, daemons killed,
frozen, stopped and reloaded, addresses, routes and rules flushed by somebody else. In one round one to four
such things happen, some of them on top of each other. Then everything is in order again, and the streams
(IPv4 and IPv6, each way) have to flow within `PATIENCE`. At the end of all rounds the TCP transfers that ran
all the time are whole, and nothing has been left behind in the kernel or in the daemons.

What happens follows from the seed, except for how long the programs take.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from dsmip.daemon.control import ControlError, ask
from dsmip.lab import daemons, namespaces, plan, streams, transfers
from dsmip.lab.errors import LabError
from dsmip.lab.lab import Lab, ended_in_order
from dsmip.lab.uplinks import MULTIHOMED, SINGLE, Uplink

#: Seconds after the last fault within which all streams have to flow. By RFC 6275 section 11.8 a mobile node
#: without an answer waits twice as long each time; a daemon may have been frozen just then.
PATIENCE = 30.0

_POLL = 0.02

#: Bridges, at which no address or route is lost when they go down and come up again.
_CABLES = ((plan.LINKS, plan.HOME), (plan.LINKS, "home-ha"))
_NATS = {"nat4": ("nat4",), "cgn4": ("cgn4", "cgn4-cpe")}


@dataclass(slots=True)
class Round:
    """One round: what was done, where the uplinks ended up, and seconds until all streams flowed and both
    transfers went on. The latter depends on how long TCP waits to repeat itself."""

    number: int
    faults: list[str] = field(default_factory=list)
    at: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    transfers: float = 0.0

    def __str__(self) -> str:
        at = ", ".join(f"{interface} in {network}" for interface, network in self.at.items())
        return f"{self.number:4}  {self.seconds:6.2f} s  {self.transfers:6.2f} s  {at}  after: " + "; ".join(
            self.faults
        )


class Broken(Exception):
    """Something did not come back, or was left behind."""


class Unrest:
    """A lab whose daemons run, and everything that can be done to it."""

    def __init__(self, lab: Lab, seed: int, directory: Path, say: Callable[[str], None] = print) -> None:
        self._lab = lab
        self._random = random.Random(seed)
        self._directory = directory
        self._say = say
        self._round = Round(0)
        self._dark: set[str] = set()
        self._frozen: set[str] = set()
        self._dead: set[str] = set()
        self._muted: set[str] = set()
        self._pulled: set[tuple[str, str]] = set()
        self._faults: dict[Callable[[], str], int] = {
            self._move: 8,
            self._race: 3,
            self._flap: 3,
            self._darken: 2,
            self._forget: 2,
            self._kill: 4,
            self._freeze: 2,
            self._restart: 1,
            self._reload: 1,
            self._flush: 2,
            self._mute: 2,
            self._wipe: 1,
            self._cut: 2,
        }

    def run(self, seconds: float) -> list[Round]:
        """Go on for so long. Raises Broken."""
        self._directory.mkdir(parents=True, exist_ok=True)
        streams.start(self._lab.processes, self._directory)
        self._await_streams(time.monotonic())
        transfers.start(self._lab.processes, self._directory, rate=100_000)
        before = self._traces()
        end = time.monotonic() + seconds
        rounds: list[Round] = []
        while time.monotonic() < end:
            rounds.append(self._go_round(len(rounds) + 1))
            self._say(str(rounds[-1]))
        self._finish(before)
        return rounds

    def _go_round(self, number: int) -> Round:
        self._round = Round(number)
        for _ in range(self._random.choice((1, 1, 2, 3, 4))):
            (fault,) = self._random.choices(list(self._faults), list(self._faults.values()))
            self._round.faults.append(fault())
            time.sleep(self._random.choice((0.0, 0.0, 0.05, 0.3, 1.0, 2.0)))
        self._mend()
        self._round.at = self._lab.plugged
        calm = time.monotonic()
        self._round.seconds = self._await_streams(calm) - calm
        self._round.transfers = self._await_transfers() - calm
        return self._round

    # Faults: each says what it did ------------------------------------------------------------------------

    def _uplink(self) -> Uplink:
        return self._random.choice(self._lab.uplinks)

    def _network(self) -> str:
        # Two uplinks at home at once is another matter: see test_home_and_foreign.
        networks = list(plan.NETWORKS) if len(self._lab.uplinks) == 1 else list(plan.NETWORKS)[1:]
        return self._random.choice(networks)

    def _move(self) -> str:
        uplink, network = self._uplink(), self._network()
        gap = self._random.choice((0.0, 0.0, 0.2, 1.5))
        self._lab.move(network, uplink.interface, unplugged=gap)
        return f"{uplink.interface} to {network}"

    def _race(self) -> str:
        """From network to network without a stay anywhere."""
        return ", ".join(self._move() for _ in range(self._random.randint(3, 6)))

    def _flap(self) -> str:
        """The same network again, with the same addresses."""
        uplink = self._uplink()
        network = self._lab.plugged.get(uplink.interface)
        if not network:
            return f"{uplink.interface} is in none"
        gap = self._random.choice((0.0, 0.1, 0.5, 3.0))
        self._lab.move(network, uplink.interface, unplugged=gap)
        return f"{uplink.interface} to {network} again after {gap:g} s"

    def _darken(self) -> str:
        """A network that is up and carries nothing any more."""
        router = plan.NETWORKS[self._random.choice(list(self._lab.plugged.values()) or ["wifi6"])].router
        self._lab.exec(router, ["nft", "-f", "-"], input=_DARKNESS, check=True)
        self._dark.add(router)
        return f"{router} carries nothing"

    def _forget(self) -> str:
        """A NAT that was restarted: what comes from outside finds nobody, what goes out gets new ports."""
        nat = self._random.choice(list(_NATS))
        for node in _NATS[nat]:
            namespaces.call(self._lab.namespace(node), _flush_connections)
        return f"{nat} forgets"

    def _daemon(self) -> str:
        return self._random.choice(("ha", "mr", "mr"))

    def _kill(self) -> str:
        node = self._daemon()
        if not self._end(node, self._lab.kill_daemon):
            return f"{node} is dead"
        if self._random.random() < 0.5:
            self._revive(node)
            return f"{node} killed and started"
        return f"{node} killed"

    def _freeze(self) -> str:
        """A daemon that gets no processor, like that of a virtual machine that is moved."""
        node = self._daemon()
        self._lab.processes.signal(f"dsmip-{node}", signal.SIGSTOP)
        self._frozen.add(node)
        return f"{node} frozen"

    def _restart(self) -> str:
        node = self._daemon()
        self._end(node, lambda node: self._lab.stop_daemons(only=node))
        self._revive(node)
        return f"{node} stopped and started"

    def _wipe(self) -> str:
        """A home agent on a new machine: no bindings, no store, nothing in the kernel."""
        self._end("ha", self._lab.kill_daemon)
        name = self._lab.instance("ha")
        self._lab.exec("ha", ["ip", "link", "del", "dsmip0"], capture_output=True)
        daemons.forget(name)
        shutil.rmtree(self._lab.directory / "state" / name, ignore_errors=True)
        self._revive("ha")
        return "ha begins from nothing"

    def _mute(self) -> str:
        """Servers of the networks that answer nobody: no advertisement, no lease."""
        labels = [one for one in self._lab.processes.labels() if one.startswith(("radvd-", "dnsmasq-"))]
        label = self._random.choice(labels)
        self._lab.processes.signal(label, signal.SIGSTOP)
        self._muted.add(label)
        return f"{label} is mute"

    def _cut(self) -> str:
        """A cable in the middle of the network."""
        node, interface = self._random.choice(_CABLES)
        argv = ["ip", "link", "set", interface, "down"]
        self._lab.exec(node, argv, check=True)
        self._pulled.add((node, interface))
        return f"{interface} of {node} is down"

    def _reload(self) -> str:
        node = self._daemon()
        self._lab.processes.signal(f"dsmip-{node}", signal.SIGHUP)
        return f"{node} reloaded"

    def _flush(self) -> str:
        """Somebody else on the mobile router cleans up."""
        argv = self._random.choice(_FLUSHES).format(uplink=self._uplink().interface)
        self._lab.exec("mr", ["ip", *argv.split()], capture_output=True)
        return f"mr: ip {argv}"

    # Order ------------------------------------------------------------------------------------------------

    def _mend(self) -> None:
        for router in self._dark:
            self._lab.exec(router, ["nft", "delete", "table", "inet", "darkness"], check=True)
        self._dark.clear()
        for label in self._muted:
            self._lab.processes.signal(label, signal.SIGCONT)
        self._muted.clear()
        for node, interface in self._pulled:
            self._lab.exec(node, ["ip", "link", "set", interface, "up"], check=True)
        self._pulled.clear()
        for node in list(self._frozen):
            self._thaw(node)
        for node in list(self._dead):
            self._revive(node)
        if not self._lab.plugged:
            self._lab.move(self._network(), self._lab.uplinks[0].interface)

    def _thaw(self, node: str) -> None:
        if node in self._frozen:
            self._frozen.remove(node)
            self._lab.processes.signal(f"dsmip-{node}", signal.SIGCONT)

    def _end(self, node: str, how: Callable[[str], None]) -> bool:
        """End a daemon; False when it has ended before."""
        self._thaw(node)
        if node in self._dead:
            return False
        how(node)
        self._dead.add(node)
        return True

    def _revive(self, node: str) -> None:
        self._lab.start_daemons(only=node)
        self._dead.discard(node)

    def _await_streams(self, since: float) -> float:
        """When each stream had delivered a packet after `since`; raises Broken when one does not."""
        deadline = time.monotonic() + PATIENCE
        while True:
            last = {
                streams.stream_name(way, family): streams.arrived(self._directory, way, family)[1]
                for way in (streams.DOWN, streams.UP)
                for family in streams.FAMILIES
            }
            silent = [name for name, arrived in last.items() if arrived <= since]
            if not silent:
                return time.monotonic()
            if time.monotonic() > deadline:
                raise Broken(f"{self._round}\nnothing arrives on {', '.join(silent)}\n{self._describe()}")
            time.sleep(_POLL)

    def _await_transfers(self) -> float:
        """When both transfers had gone on; raises Broken when one does not."""
        deadline = time.monotonic() + PATIENCE
        before = self._transferred()
        while not all(now > then for now, then in zip(self._transferred(), before, strict=True)):
            if time.monotonic() > deadline:
                raise Broken(f"{self._round}\na transfer does not go on\n{self._describe()}")
            time.sleep(_POLL)
        return time.monotonic()

    def _transferred(self) -> list[int]:
        return [transfers.read(self._directory, "fetch", name).octets for name in transfers.NAMES]

    # What is left behind ----------------------------------------------------------------------------------

    def _finish(self, before: dict[str, Any]) -> None:
        sessions = transfers.finish(self._lab.processes, self._directory)
        self._lab.processes.stop(streams.LABELS)
        broken = [f"{session.name}: {session.broken}" for session in sessions if session.broken]
        if broken:
            raise Broken(f"transfers broke: {'; '.join(broken)}")
        for node in ("ha", "mr"):
            for line in self._lab.events_file(node).read_text().splitlines():
                event = json.loads(line)
                if event["event"] in _NEVER:
                    raise Broken(f"{node}: {line}")
            log = self._lab.processes.log(f"dsmip-{node}").read_text(errors="replace")
            if "Traceback" in log:
                raise Broken(f"{node} had a traceback:\n{log[log.index('Traceback') :][:4000]}")
        after = self._traces()
        grown = {what: (before[what], after[what]) for what in after if after[what] > before[what]}
        if grown:
            raise Broken(f"left behind: {grown}")

    def _traces(self) -> dict[str, Any]:
        """What may not grow: bindings, rules, and the routes of the daemon's own protocol and tables."""
        found = {"bindings": len(ask(self._lab.instance("ha"), "bindings"))}
        for node in ("ha", "mr"):
            for family in ("-4", "-6"):
                done = self._lab.exec(node, ["ip", "-j", family, "rule"], capture_output=True)
                found[f"{node} ip {family} rule"] = len(json.loads(done.stdout or "[]"))
        return found

    def _describe(self) -> str:
        parts = []
        for node in ("mr", "ha"):
            for question in ("status", "bindings") if node == "ha" else ("status",):
                try:
                    answer = json.dumps(ask(self._lab.instance(node), question))
                except ControlError as error:
                    answer = str(error)
                parts.append(f"--- {node} {question}\n{answer}")
            for argv in ("addr", "-4 rule", "-6 rule", "-4 route show table all", "-6 route show table all"):
                done = self._lab.exec(node, ["ip", *argv.split()], capture_output=True)
                parts.append(f"--- {node} ip {argv}\n{done.stdout}")
            for path in (self._lab.events_file(node), self._lab.processes.log(f"dsmip-{node}")):
                lines = path.read_text(errors="replace").splitlines()
                parts.append("\n".join([f"--- {path.name}", *lines[-40:]]))
        return "\n".join(parts)


_DARKNESS = """
table inet darkness {
  chain forward { type filter hook forward priority filter; policy drop; }
  chain input { type filter hook input priority filter; policy drop; }
}
"""

#: Events that mean a fault of the program.
_NEVER = ("host-error", "internal-error")

_FLUSHES = (
    "addr flush dev {uplink} scope global",
    "route flush dev {uplink}",
    "-6 route flush dev {uplink}",
    "-6 rule flush protocol 191",
    "-4 rule flush protocol 191",
    "-6 route flush dev dsmip0",
    "-4 route flush dev dsmip0",
)


_UPLINKS: dict[str, Sequence[Uplink]] = {"1": SINGLE, "3": MULTIHOMED}


def _flush_connections() -> None:
    with NFCTSocket() as table:
        table.flush()


def play(seconds: float, seed: int, uplinks: Sequence[Uplink], reproduce: str) -> bool:
    """Unrest in a lab with these uplinks; False when something broke: then how to see it again is said."""
    print(f"unrest: {reproduce}", flush=True)
    with (
        ended_in_order(),
        tempfile.TemporaryDirectory() as directory,
        Lab.up("unrest", at="dual", uplinks=uplinks) as lab,
    ):
        lab.start_daemons()
        unrest = Unrest(lab, seed, Path(directory), lambda line: print(line, flush=True))
        try:
            rounds = unrest.run(seconds)
        except (Broken, LabError) as error:
            print(f"unrest: {error}\nagain: {reproduce}", flush=True)
            return False
    slow = sorted(rounds, key=lambda one: -one.seconds)[:5]
    print(f"unrest: {len(rounds)} rounds, nothing broken; the slowest:", *slow, sep="\n", flush=True)
    return True


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when everything came back each time, 1 when something did not."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.unrest", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--uplinks", choices=_UPLINKS, help="with so many only; default: half the time each")
    options = parser.parse_args(arguments)
    chosen = [options.uplinks] if options.uplinks else list(_UPLINKS)
    seconds = options.seconds / len(chosen)
    held = True
    for number in chosen:
        command = f"--seconds {seconds:g} --seed {options.seed} --uplinks {number}"
        held &= play(seconds, options.seed, _UPLINKS[number], f"python -m tests.system.unrest {command}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
