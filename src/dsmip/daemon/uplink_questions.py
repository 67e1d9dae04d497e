"""What a mobile node answers about its uplinks and flows, and the requests to leave one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from dsmip.core.mobile_node.engine import MobileNode
from dsmip.core.mobile_node.uplink import UplinkReport
from dsmip.daemon.control_server import Arguments, Handler, Refusal, plain, text
from dsmip.daemon.flow_words import selector_in_words
from dsmip.daemon.movement import MovementService
from dsmip.daemon.runtime import Runtime, instant
from dsmip.daemon.tunnel_paths import TunnelPaths
from dsmip.dataplane.api import PathState
from dsmip.movement.engine import describe


class UplinkQuestions:
    """Reads engine, movement and data plane."""

    def __init__(
        self, engine: MobileNode, runtime: Runtime, movement: MovementService, paths: TunnelPaths
    ) -> None:
        self._engine = engine
        self._runtime = runtime
        self._movement = movement
        self._paths = paths

    def handlers(self) -> dict[str, Handler]:
        """Commands of the control socket."""
        return {
            "attachments": plain(self.attachments),
            "flows": lambda _arguments: self.flows(),
            "leave": lambda arguments: self._set_leaving(arguments, leaving=True),
            "return": lambda arguments: self._set_leaving(arguments, leaving=False),
        }

    def attachments(self) -> dict[str, Any]:
        """For `dsmip attachments`: networks in reach, and the paths over them in order of preference."""
        states = self._paths.states()
        several = self._engine.multihoming
        reports = () if several is None or not several.supported else several.report(instant())
        return {
            **self._movement.snapshot(),
            "care_of": self._care_of(),
            "paths": [_path(report, states) for report in reports],
        }

    def _care_of(self) -> list[dict[str, Any]]:
        now, engine = instant(), self._engine
        return [
            {**describe(care_of, now), "cut_off": engine.is_cut_off(care_of, now)}
            for care_of in self._movement.attachments.care_of
        ]

    def flows(self) -> list[dict[str, Any]]:
        """For `dsmip flows`: flows that have paths of their own now, the first that matches counts."""
        several = self._engine.multihoming
        if several is None:
            return []
        arranger = several.arranger
        interfaces = {report.bid: report.interface for report in several.report(instant())}
        return [
            {
                "name": arranger.flow_name(flow.fid),
                "home_address": str(self._engine.config.home_address),
                "fid": flow.fid,
                "priority": flow.priority,
                "selector": selector_in_words(flow.selector),
                "bids": list(flow.bids),
                "interfaces": [interfaces.get(bid, "") for bid in flow.bids],
                "active": True,
                "status": arranger.flows.refused.get(flow.fid, 0),
                "home_agent_knows": arranger.flows.knows(flow),
            }
            for flow in arranger.wanted
        ]

    def _set_leaving(self, arguments: Arguments, *, leaving: bool) -> dict[str, Any]:
        """Traffic leaves an uplink that will go down, or may use it again. Raises Refusal."""
        name = text(arguments, "interface")
        several = self._engine.multihoming
        if several is None or not several.supported:
            raise Refusal("there is one binding only: no other uplink to move traffic to")
        change = several.leave if leaving else several.give_back
        if not change(name, instant()):
            raise Refusal(f"{name!r} is none of the uplinks")
        self._runtime.turn()
        return {"interface": name, "leaving": leaving}


def _path(report: UplinkReport, states: Mapping[int, PathState]) -> dict[str, Any]:
    state = states.get(report.bid, PathState())
    traffic = state.traffic
    heard = None if report.heard is None else round(max(0.0, time.monotonic() - report.heard), 3)
    return {
        "bid": report.bid,
        "interface": report.interface,
        "care_of": str(report.address) if report.address is not None else None,
        "network": report.network,
        "tunnel": report.format.value if report.format is not None else None,
        "state": report.state,
        "in_use": report.in_use,
        "metered": report.metered,
        "fallback_only": report.fallback_only,
        "preference": report.preference,
        "priority": report.priority,
        "delay_ms": None if report.delay is None else round(1000 * report.delay, 2),
        "loss": round(report.loss, 4),
        "heard_ago": heard,
        "silent": state.silent,
        "sent_packets": traffic.sent_packets,
        "sent_bytes": traffic.sent_bytes,
        "received_packets": traffic.received_packets,
        "received_bytes": traffic.received_bytes,
    }
