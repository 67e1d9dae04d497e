"""What a home agent answers about itself: status, bindings, counters."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv6Address
from typing import Any

from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.types import Binding, CareOfBinding
from dsmip.daemon.binding_search import matching, named
from dsmip.daemon.config.payload import payload_in_words
from dsmip.daemon.config.rules import nearest
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeTable
from dsmip.daemon.control_server import Arguments, Handler, Refusal, plain, text, whole_number
from dsmip.daemon.explain.home_agent import Facts, tell
from dsmip.daemon.explain.sentences import as_json, problems
from dsmip.daemon.flow_words import selector_in_words
from dsmip.daemon.frozen_tables import FrozenTables, TablesByAddress
from dsmip.daemon.home_agent.keys import HomeAgentKeys
from dsmip.daemon.journal import Story
from dsmip.daemon.runtime import Runtime, instant
from dsmip.daemon.signalling_keys import signalling_in_words
from dsmip.daemon.web_token import token_of
from dsmip.dataplane.api import PathState, Traffic

#: Names among which one like a mistyped one is looked for: that takes about 10 microseconds a name.
_COMPARED = 2000


#: Mobile nodes that `status` tells of, if something in their name was refused in the last so many seconds.
_TROUBLED = 10
_LATELY = 600.0


class HomeAgentQuestions:
    """Reads the daemon's parts, changes nothing.

    `config` and `nodes` (by home address) are asked for anew each time.
    """

    def __init__(
        self,
        engine: HomeAgent,
        runtime: Runtime,
        config: Callable[[], HomeAgentFile],
        nodes: Callable[[], TablesByAddress],
        keys: HomeAgentKeys | None = None,
    ) -> None:
        self._engine = engine
        self._runtime = runtime
        self._config = config
        self._nodes = nodes
        self._keys = keys
        #: The names of those that are not authenticated, by the configuration they were looked up in.
        self._unauthenticated: tuple[HomeAgentFile | None, list[str]] = (None, [])

    def handlers(self) -> dict[str, Handler]:
        """Commands of the control socket."""
        return {
            "status": plain(self._whole_status),
            "bindings": self._bindings,
            "flows": lambda arguments: self.flows(text(arguments, "filter")),
            "stats": plain(self.stats),
            "explain": lambda arguments: self.explain(text(arguments, "node")),
            "web": plain(self.web),
        }

    def cache(self) -> Mapping[IPv6Address, Binding]:
        """The binding cache; not to be changed."""
        return self._engine.bindings

    def status(self) -> dict[str, Any]:
        """For `dsmip status`."""
        config = self._config()
        if self._unauthenticated[0] is not config:
            names = FrozenTables.of(config.mobile_node).unauthenticated()
            self._unauthenticated = (config, names)
        return {
            "name": config.name,
            "role": config.role,
            "address": str(config.address),
            "ipv4_address": str(config.ipv4_address) if config.ipv4_address else None,
            "home_link": config.home_link,
            "uplinks": list(config.uplinks),
            "mobile_nodes": len(config.mobile_node),
            "bindings": len(self._engine.bindings),
            "unauthenticated": self._unauthenticated[1],
            "adopted": self._runtime.dataplane.adopted,
            "uptime": time.time() - self._runtime.started,
        }

    def stats(self) -> dict[str, Any]:
        """For `dsmip stats`."""
        return self._runtime.refused()

    def explain(self, wanted: str) -> dict[str, Any]:
        """For `dsmip explain`. Raises Refusal for a mobile node that is not configured."""
        facts = self._facts(self._named(wanted))
        return {
            "name": facts.name,
            "home_address": facts.home_address,
            "registered": facts.row is not None,
            "story": as_json(tell(facts)),
        }

    def _facts(self, node: MobileNodeTable) -> Facts:
        binding = self._engine.binding_of_node(node.home_address)
        journal = self._runtime.events.journal
        return Facts(
            name=node.name,
            home_address=str(node.home_address),
            row=self.row(binding) if binding is not None else None,
            story=journal.story(str(node.home_address)) or Story(),
            stranger=journal.stranger,
            started=self._runtime.started,
            now=time.time(),
        )

    def _whole_status(self) -> dict[str, Any]:
        """With what is wrong here, and with mobile nodes refused lately that did no better since."""
        nodes, journal = self._nodes(), self._runtime.events.journal
        refused = journal.latest_refused(_TROUBLED, time.time() - _LATELY)
        troubled = [nodes[address] for name in refused if (address := IPv6Address(name)) in nodes]
        return {
            **self.status(),
            "problems": [*self._runtime.conditions.sentences, *self._clock_problems()],
            "refused": [
                f"{node.name}: {problem}"
                for node in troubled
                for problem in problems(tell(self._facts(node)))
            ],
        }

    def _clock_problems(self) -> list[str]:
        behind = self._engine.clock_behind(instant())
        if behind < self._config().timestamp_tolerance:
            return []
        return [
            f"The clock of this machine is {behind:.0f} s behind what it has been: it was set back, or"
            " started without the time. Mobile nodes go on by the time before; set the clock (NTP)."
        ]

    def web(self) -> dict[str, str]:
        """For `dsmip web`. Raises Refusal without a status page."""
        table = self._config().web
        if table is None:
            raise Refusal('there is no status page: add [web] with listen = "127.0.0.1:8418" and restart')
        url = f"http://{table.listen.place.host}/"
        return {"address": url, "url": f"{url}#token={token_of(table, self._runtime.state_directory)}"}

    def _named(self, wanted: str) -> MobileNodeTable:
        """By name or identifier, or by an address of the mobile node. Raises Refusal."""
        if not wanted:
            raise Refusal("name a mobile node; `dsmip bindings` lists those that are registered")
        node = named(self._nodes(), wanted)
        if node is not None:
            return node
        raise Refusal(f"no mobile node {wanted!r} is configured{self._similar(wanted)}")

    def _similar(self, wanted: str) -> str:
        names = [name for _, name, _ in itertools.islice(self._nodes().labels(), _COMPARED)]
        near = nearest(wanted, names)
        return f"; did you mean {near!r}?" if near else ""

    def _bindings(self, arguments: Arguments) -> list[dict[str, Any]]:
        return self.bindings(text(arguments, "filter"), whole_number(arguments, "limit", 0))

    def bindings(self, wanted: str = "", limit: int = 0) -> list[dict[str, Any]]:
        """For `dsmip bindings`: at most `limit` rows (0 = all) of the bindings that match."""
        rows: list[dict[str, Any]] = []
        for binding in self._matching(wanted):
            rows.append(self.row(binding))
            if len(rows) == limit:
                break
        return rows

    def _matching(self, wanted: str) -> Iterator[Binding]:
        return matching(self._engine, self._nodes(), wanted)

    def name_of(self, binding: Binding) -> str:
        """What people call the mobile node."""
        node = self._nodes().get(self._engine.configured_address(binding.home_address))
        return node.name if node is not None else binding.identifier

    def _payload_of(self, binding: Binding) -> str:
        node = self._nodes().get(self._engine.configured_address(binding.home_address))
        if node is None:
            return payload_in_words(None)
        state = self._keys.state(node.home_address) if self._keys is not None else None
        return payload_in_words(node.payload, state.payload_cipher if state is not None else "")

    def _signalling(self, binding: Binding) -> dict[str, Any]:
        """How it is protected; with IKE, how far that is."""
        home_address = self._engine.configured_address(binding.home_address)
        node = self._nodes().get(home_address)
        state = self._keys.state(home_address) if self._keys is not None else None
        manual = node.ipsec if node is not None else None
        told: dict[str, Any] = {"signalling": signalling_in_words(binding.authentication, manual, state)}
        if self._keys is None or state is None:
            return told
        return {**told, "ike": self._keys.words(home_address)}

    def row(self, binding: Binding) -> dict[str, Any]:
        """One binding, ready for JSON."""
        now = time.time()
        dataplane = self._runtime.dataplane
        traffic = dataplane.traffic(binding.index)
        states = dataplane.paths(binding.index) if binding.multiple else {0: PathState(traffic)}
        return {
            "name": self.name_of(binding),
            "home_address": str(binding.home_address),
            "former_home_address": None if binding.former is None else str(binding.former),
            "ipv4_home_address": str(binding.ipv4_home_address or "") or None,
            **_place(binding.care_ofs[0], now),
            "care_of_bindings": [
                _care_of_binding(one, states.get(one.bid, PathState()), now) for one in binding.care_ofs
            ],
            "prefixes": [str(prefix) for prefix in binding.prefixes],
            "ipv4_prefixes": [str(grant.network) for grant in binding.ipv4 if grant.prefixlen < 32],
            "mobile_router": binding.mobile_router,
            "authentication": binding.authentication,
            "payload": self._payload_of(binding),
            **self._signalling(binding),
            "sequence": binding.sequence,
            "lifetime": binding.lifetime,
            "expires_in": round(binding.expires - now, 1),
            "updated_ago": round(now - binding.updated, 1),
            "registered_for": round(now - binding.created, 1),
            **_carried(traffic),
        }

    def flows(self, wanted: str = "") -> list[dict[str, Any]]:
        """For `dsmip flows`: the flows (RFC 6089) of the bindings that match, in order of priority."""
        return [
            {
                "name": self.name_of(binding),
                "home_address": str(binding.home_address),
                "fid": flow.fid,
                "priority": flow.priority,
                "selector": selector_in_words(flow.selector),
                "bids": list(flow.bids),
                "active": binding.is_active(flow),
            }
            for binding in self._matching(wanted)
            for flow in binding.flows
        ]


def _care_of_binding(one: CareOfBinding, state: PathState, now: float) -> dict[str, Any]:
    """One care-of address and what is known of the way there: counted as inner packets, heard by probes."""
    heard = state.heard
    return {
        "bid": one.bid,
        "priority": one.priority,
        **_place(one, now),
        "at_home": one.at_home,
        "heard_ago": None if heard is None else round(max(0.0, time.monotonic() - heard), 3),
        "silent": state.silent,
        **_carried(state.traffic),
    }


def _carried(traffic: Traffic) -> dict[str, int]:
    return {
        "sent_packets": traffic.sent_packets,
        "sent_bytes": traffic.sent_bytes,
        "received_packets": traffic.received_packets,
        "received_bytes": traffic.received_bytes,
    }


def _place(one: CareOfBinding, now: float) -> dict[str, Any]:
    """Where packets to one care-of address go."""
    source = one.nat_source
    return {
        "care_of": str(one.care_of),
        "nat": one.nat.value,
        "nat_source": f"{source.address}:{source.port}" if source else None,
        "tunnel": one.format.value,
        "expires_in": round(one.expires - now, 1),
    }
