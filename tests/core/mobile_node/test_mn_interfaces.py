"""Uplinks that are configured and taken out of the configuration while the mobile node runs."""

from __future__ import annotations

from dataclasses import replace

from mobile_node_bench import at
from multihomed_world import LTE, LTE_BID, MULTIHOMED, POLICY, WLAN, WLAN_BID, MultihomedWorld

from dsmip.core.mobile_node.policy import InterfacePolicy, Policy, UplinkChoice


def test_an_interface_that_is_not_configured_any_more_is_forgotten_once_the_home_agent_has_done_so() -> None:
    world = MultihomedWorld(MULTIHOMED)
    world.move(WLAN, LTE)
    world.wait(5.0)
    several = world.node.multihoming
    assert several is not None
    _, *rest = POLICY.interfaces
    for name in ("wlan1", "wlan2"):
        world.move(LTE)
        several.reconfigure(Policy(tuple(rest)), at(world.time))
        world.drain()
        world.wait(5.0)
        assert [report.interface for report in several.report(at(world.time))] == ["wwan0"]
        assert set(world.agent.bindings) == {LTE_BID}

        another = InterfacePolicy(name, UplinkChoice(preference=10))
        several.reconfigure(Policy((*rest, another)), at(world.time))
        world.move(replace(WLAN, interface=name), LTE)
        world.wait(5.0)
        assert set(world.agent.bindings) == {LTE_BID, WLAN_BID}, "its number is free for another one"
        assert world.preference[0] == WLAN_BID
        world.agree()
