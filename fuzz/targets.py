"""Every fuzz target by name: a function of octets that returns, or raises what a bug looks like."""

from __future__ import annotations

from collections.abc import Callable

from fuzz import daemon_targets, wire_targets
from fuzz.home_agent_target import home_agent
from fuzz.mobile_node_target import mobile_node

Target = Callable[[bytes], None]

TARGETS: dict[str, Target] = {
    "packet": wire_targets.packet,
    "message": wire_targets.message,
    "icmpv6": wire_targets.icmpv6,
    "small-decoders": wire_targets.small_decoders,
    "home-agent": home_agent,
    "mobile-node": mobile_node,
    "configuration": daemon_targets.configuration,
    "control": daemon_targets.control,
    "http": daemon_targets.http,
}
