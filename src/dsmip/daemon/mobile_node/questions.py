"""What a mobile node answers about itself: status, attachments, counters."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dsmip.core.mobile_node.config import UNKNOWN
from dsmip.core.mobile_node.engine import MobileNode
from dsmip.daemon.config.payload import payload_in_words
from dsmip.daemon.config.schema import MobileNodeFile
from dsmip.daemon.control_server import Handler, Refusal, plain, text
from dsmip.daemon.explain.mobile_node import Facts, tell
from dsmip.daemon.explain.sentences import as_json, problems
from dsmip.daemon.journal import Story
from dsmip.daemon.mobile_node.keys import MobileNodeKeys
from dsmip.daemon.mobile_node.problems import clocks, ipv4
from dsmip.daemon.runtime import Runtime, instant
from dsmip.daemon.signalling_keys import signalling_in_words
from dsmip.host.home_routes import HomeRoutes


class MobileNodeQuestions:
    """Reads the daemon's parts, changes nothing. `config` is asked for anew each time.

    `binding` is the index under which the data plane counts the traffic.
    """

    def __init__(
        self,
        engine: MobileNode,
        runtime: Runtime,
        attachments: Callable[[], dict[str, Any]],
        routes: HomeRoutes,
        config: Callable[[], MobileNodeFile],
        binding: int,
        keys: MobileNodeKeys | None = None,
    ) -> None:
        self._engine = engine
        self._runtime = runtime
        self._attachments = attachments
        self._routes = routes
        self._config = config
        self._binding = binding
        self._keys = keys

    def handlers(self) -> dict[str, Handler]:
        """Commands of the control socket."""
        return {
            "status": plain(self._whole_status),
            "stats": plain(self.stats),
            "explain": lambda arguments: self.explain(text(arguments, "node")),
        }

    def status(self) -> dict[str, Any]:
        """For `dsmip status`."""
        config, traffic = self._config(), self._runtime.dataplane.traffic(self._binding)
        serving = self._engine.config
        return {
            "name": config.name,
            "role": config.role,
            "home_address": str(serving.home_address),
            "former_home_address": str(self._engine.former_home_address or "") or None,
            "former_home_address_ends_in": _seconds_until(self._engine.former_valid_until),
            "ipv4_home_address": str(self._routes.ipv4_home_address or "") or None,
            "home_agent": str(serving.home_agent) if serving.home_agent != UNKNOWN else None,
            "home_agent_name": config.home_agent.name,
            "home_agent_ipv4": str(serving.home_agent_ipv4) if serving.home_agent_ipv4 else None,
            "mobile_network_prefixes": [
                str(network) for network in self._routes.networks if network.prefixlen < network.max_prefixlen
            ],
            "authentication": config.authentication,
            "payload": payload_in_words(
                config.payload, self._keys.state.payload_cipher if self._keys is not None else ""
            ),
            **self._signalling(),
            **self._registration(),
            "sent_packets": traffic.sent_packets,
            "sent_bytes": traffic.sent_bytes,
            "received_packets": traffic.received_packets,
            "received_bytes": traffic.received_bytes,
            "adopted": self._runtime.dataplane.adopted,
            "uptime": time.time() - self._runtime.started,
        }

    def _signalling(self) -> dict[str, Any]:
        """How it is protected; with IKE, how far that is."""
        config, keys = self._config(), self._keys
        told: dict[str, Any] = {
            "signalling": signalling_in_words(
                config.authentication, config.ipsec, keys.state if keys is not None else None
            )
        }
        return told if keys is None else {**told, "ike": keys.words, "ike_negotiations": keys.initiated}

    def _registration(self) -> dict[str, Any]:
        engine, now = self._engine, instant()
        care_of, entry = engine.care_of, engine.entry
        return {
            "state": engine.state(now).value,
            "uplinks": self._uplinks(),
            "care_of": str(care_of.address) if care_of else None,
            "interface": care_of.interface if care_of else None,
            "network": care_of.network if care_of else None,
            "tunnel": engine.format.value if engine.format else None,
            "mtu": engine.mtu,
            "nat": engine.nat.value,
            "lifetime_left": engine.lifetime_left(now),
            "last_status": engine.last_status,
            "asks_again_in": engine.asks_again_in(now),
            "round_trip_ms": round(entry.round_trip * 1000, 2) if entry else None,
        }

    def _uplinks(self) -> str:
        """How many care-of addresses are registered at a time, and if it is one, why."""
        several = self._engine.multihoming
        if several is None:
            return "single binding"
        return "multihomed" if several.supported else "single binding: home agent without RFC 5648"

    def explain(self, wanted: str) -> dict[str, Any]:
        """For `dsmip explain`. Raises Refusal when that is somebody else."""
        status = self.status()
        if wanted not in ("", status["name"], status["home_address"], self._config().identifier):
            raise Refusal(f"{status['name']} is a mobile node and knows of no {wanted!r}")
        return {
            "name": status["name"],
            "home_address": status["home_address"],
            "registered": status["state"] in ("registered", "at home"),
            "story": as_json(tell(self._facts(status))),
        }

    def _facts(self, status: dict[str, Any]) -> Facts:
        journal = self._runtime.events.journal
        story = journal.story() or Story()
        return Facts(status, self._attachments(), story, journal.latest, time.time())

    def _whole_status(self) -> dict[str, Any]:
        """With what is wrong, and its mend."""
        status = self.status()
        wrong = [
            *self._runtime.conditions.sentences,
            *clocks(self._engine.clock_offset),
            *ipv4(self._engine.ipv4_refusals),
            *problems(tell(self._facts(status))),
        ]
        return {**status, "problems": wrong}

    def stats(self) -> dict[str, Any]:
        """For `dsmip stats`."""
        return self._runtime.refused()


def _seconds_until(end: float | None) -> float | None:
    return None if end is None else round(max(0.0, end - time.monotonic()), 1)
