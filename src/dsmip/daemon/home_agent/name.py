"""A home agent that is known by name: looked up until it is found, and again when it is silent.

The lookup runs in a thread of its own, since the C library may take half a minute over it. What was found
last is kept in a file, so that a vehicle that starts where there is no name server finds its home agent.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from dsmip.core.mobile_node.engine import MobileNode, MobileNodeState
from dsmip.core.mobile_node.home_agents import HomeAgentAddress
from dsmip.daemon import durable
from dsmip.daemon.config.schema import MobileNodeFile
from dsmip.daemon.runtime import Runtime, instant

#: Seconds between lookups: at first, and at most. While the home agent answers there is none.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
#: Seconds of silence that make a home agent worth looking up again.
SILENCE = 5.0

FILE_NAME = "home-agent.json"
_CONDITION = "home_agent"
#: Who is not served may ask the wrong machine.
_UNSERVED = (MobileNodeState.REGISTERING, MobileNodeState.REFUSED, MobileNodeState.STOPPED)


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A name that leads nowhere; `sentence` says why, and the mend."""

    sentence: str


Lookup = Callable[[str], HomeAgentAddress | Unresolved]


class HomeAgentName:
    """Keeps the address behind a name up to date. For the event loop's thread."""

    def __init__(
        self,
        name: str,
        ipv4: IPv4Address | None,
        state_directory: Path,
        serves: Callable[[], bool],
        located: Callable[[HomeAgentAddress], None],
        failed: Callable[[str | None], None],
        *,
        lookup: Lookup | None = None,
    ) -> None:
        """`serves` tells whether the home agent answers at the address known, as far as it is asked.
        `located` hears of each address that differs from the last one; `failed` of a lookup without a result,
        and with None of one that had it. `ipv4` is taken instead of the name's IPv4 address.
        """
        self._name = name
        self._ipv4 = ipv4
        self._file = state_directory / FILE_NAME
        self._serves = serves
        self._located = located
        self._failed = failed
        self._lookup = lookup or look_up
        self._known: HomeAgentAddress | None = None
        self._fresh = False
        self._pause = FIRST_PAUSE
        self._timer: asyncio.TimerHandle | None = None
        self._running = False
        self._stopped = False

    def start(self) -> None:
        """Use what was found in an earlier life, and look it up."""
        remembered = _remembered(self._file, self._name)
        if remembered is not None:
            self._use(remembered)
        self._begin()

    def stop(self) -> None:
        """Look up nothing any more. A lookup under way comes to nothing."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def network_changed(self) -> None:
        """There may be a name server now."""
        if not self._fresh:
            self._pause = FIRST_PAUSE
            self._begin()

    def _watch(self) -> None:
        """An address is known: look it up again if nobody answers there, at growing intervals."""
        if self._serves():
            self._pause = SILENCE
            self._wait(SILENCE, self._watch)
        else:
            self._wait(self._pause, self._doubt)

    def _doubt(self) -> None:
        if self._serves():
            self._watch()
        else:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._begin()

    def _wait(self, pause: float, then: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(pause, then)

    def _begin(self) -> None:
        """Look it up now, unless that is under way."""
        if self._running or self._stopped:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._running = True
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, args=(loop,), name="home-agent-name", daemon=True).start()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """In the thread."""
        found = self._lookup(self._name)
        try:
            loop.call_soon_threadsafe(self._finished, found)
        except RuntimeError:
            pass  # the loop is closed: nobody wants to know any more

    def _finished(self, found: HomeAgentAddress | Unresolved) -> None:
        self._running = False
        if self._stopped:
            return
        if isinstance(found, HomeAgentAddress):
            self._pause = self._pause if self._fresh else SILENCE
            self._fresh = True
            self._failed(None)
            self._use(found)
            _remember(self._file, self._name, found)
            self._watch()
            return
        self._failed(found.sentence)
        self._wait(self._pause, self._begin)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _use(self, found: HomeAgentAddress) -> None:
        agent = HomeAgentAddress(found.address, self._ipv4 or found.ipv4)
        if agent != self._known:
            self._known = agent
            self._located(agent)


def follow(config: MobileNodeFile, engine: MobileNode, runtime: Runtime) -> HomeAgentName | None:
    """Keep telling the engine where its home agent is, if that is known by name."""
    if config.home_agent.name is None:
        return None

    def located(agent: HomeAgentAddress) -> None:
        engine.home_agent_located(agent, instant())
        runtime.turn()

    def failed(why: str | None) -> None:
        if why is None:
            runtime.conditions.end(_CONDITION)
        else:
            runtime.conditions.stand(_CONDITION, why)

    return HomeAgentName(
        config.home_agent.name,
        config.home_agent_ipv4,
        runtime.state_directory,
        lambda: engine.state(instant()) not in _UNSERVED,
        located,
        failed,
    )


def look_up(name: str) -> HomeAgentAddress | Unresolved:
    """The addresses of a name. Takes as long as the C library and its name servers take."""
    address = _first(name, socket.AF_INET6)
    ipv4 = _first(name, socket.AF_INET)
    if isinstance(address, str):
        return HomeAgentAddress(IPv6Address(address), IPv4Address(ipv4) if isinstance(ipv4, str) else None)
    if isinstance(ipv4, str):
        return Unresolved(
            f"{name} has an IPv4 address ({ipv4}) but no IPv6 address: add its AAAA record, which names a"
            " home agent even where it is reached over IPv4"
        )
    if socket.EAI_AGAIN in (address, ipv4):
        return Unresolved(f"no name server answers about {name}: look at this network and /etc/resolv.conf")
    return Unresolved(f"{name} is not in the DNS, as seen from here: check home_agent for a mistyped name")


def _first(name: str, family: int) -> str | int:
    """The first address of a family, or the error number of getaddrinfo(3)."""
    try:
        found = socket.getaddrinfo(name, None, family, socket.SOCK_DGRAM)
    except socket.gaierror as error:
        return error.errno or socket.EAI_FAIL
    except UnicodeError:
        return socket.EAI_NONAME
    return str(found[0][4][0])


def _remember(path: Path, name: str, agent: HomeAgentAddress) -> None:
    data = {"name": name, "address": str(agent.address), "ipv4": str(agent.ipv4) if agent.ipv4 else None}
    try:
        durable.write(path, json.dumps(data).encode())
    except OSError:
        pass  # it is a help at the next start, and no more


def _remembered(path: Path, name: str) -> HomeAgentAddress | None:
    try:
        data = json.loads(path.read_bytes())
        if data["name"] != name:
            return None
        ipv4 = data["ipv4"]
        return HomeAgentAddress(IPv6Address(data["address"]), IPv4Address(ipv4) if ipv4 else None)
    except (OSError, ValueError, KeyError, TypeError):
        return None
