"""Prefixes of mobile nodes that overlap: one pass finds the same ones as a comparison of all pairs."""

from __future__ import annotations

import random
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from itertools import combinations
from pathlib import Path

from dsmip.core.types import IPNetwork
from dsmip.daemon.config import rules as config_rules
from dsmip.daemon.config.keys import Key
from dsmip.daemon.config.problems import Problems
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeTable

HOME = IPv6Network("2001:db8:100::/64")


def found(prefixes: list[IPNetwork]) -> set[tuple[str, str]]:
    """Key and message of every overlap among mobile nodes of one prefix each."""
    config = HomeAgentFile(
        role="home-agent",
        address=IPv6Address("2001:db8:1::1"),
        uplinks=("eth0",),
        home_prefixes=(HOME,),
        state_directory=Path("state"),
        mobile_node=tuple(
            MobileNodeTable(
                name=f"n{number}",
                home_address=HOME[number + 1],
                key=Key(bytes(16)),
                mobile_network_prefixes=(prefix,) if isinstance(prefix, IPv6Network) else (),
                ipv4_prefixes=(prefix,) if isinstance(prefix, IPv4Network) else (),
            )
            for number, prefix in enumerate(prefixes)
        ),
    )
    problems = Problems(dict)
    config_rules.check_home_agent(config, problems)
    return {(problem.key, problem.message) for problem in problems.found}


def expected(prefixes: list[IPNetwork]) -> set[tuple[str, str]]:
    return {
        (
            f"mobile_node[{later}].name",
            f"n{later}: {prefixes[later]} overlaps {prefixes[earlier]} of n{earlier}",
        )
        for earlier, later in combinations(range(len(prefixes)), 2)
        if prefixes[earlier].version == prefixes[later].version
        and _overlap(prefixes[earlier], prefixes[later])
    }


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return one[0] in other or other[0] in one


def test_the_later_one_in_the_file_is_named_whichever_is_the_larger() -> None:
    small, large = IPv6Network("2001:db8:a::/64"), IPv6Network("2001:db8:a::/48")
    assert found([small, large]) == {("mobile_node[1].name", f"n1: {large} overlaps {small} of n0")}
    assert found([large, small]) == {("mobile_node[1].name", f"n1: {small} overlaps {large} of n0")}
    assert found([small, small]) == {("mobile_node[1].name", f"n1: {small} overlaps {small} of n0")}


def test_neighbours_do_not_overlap() -> None:
    assert not found([IPv6Network("2001:db8:a::/64"), IPv6Network("2001:db8:a:1::/64")])
    assert not found([IPv4Network("10.0.0.0/25"), IPv4Network("10.0.0.128/25"), IPv6Network("::a00:0/128")])


def test_all_pairs_are_found_in_any_order() -> None:
    chance = random.Random(5)
    for _ in range(100):
        prefixes: list[IPNetwork] = []
        for _ in range(12):
            prefixes.append(IPv4Network((chance.randrange(256) << 24, chance.randrange(3, 9)), strict=False))
            length = chance.randrange(3, 9)
            prefixes.append(IPv6Network((chance.randrange(256) << 120, length), strict=False))
        assert found(prefixes) == expected(prefixes)
