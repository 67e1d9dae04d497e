"""What the pools of a home agent must mean: parts of what it serves, apart from each other."""

from __future__ import annotations

from itertools import combinations

from dsmip.core.types import IPNetwork
from dsmip.daemon.config.problems import Problems
from dsmip.daemon.config.schema import HomeAgentFile


def check_pools(config: HomeAgentFile, problems: Problems) -> None:
    """Rules of `[pools]`."""
    pools = config.pools
    inside: tuple[tuple[str, tuple[IPNetwork, ...], str, tuple[IPNetwork, ...]], ...] = (
        ("pools.home_addresses", pools.home_addresses, "home_prefixes", config.home_prefixes),
        (
            "pools.ipv4_home_addresses",
            pools.ipv4_home_addresses,
            "ipv4_home_prefixes",
            config.ipv4_home_prefixes,
        ),
    )
    for key, networks, outer_key, outer in inside:
        for network in networks:
            if not any(_contains(prefix, network) for prefix in outer):
                problems.add(key, f"{network} is in none of {outer_key}")
    for key, length, prefixes in (
        ("mobile_network_prefix_length", pools.mobile_network_prefix_length, pools.mobile_network_prefixes),
        ("ipv4_prefix_length", pools.ipv4_prefix_length, pools.ipv4_prefixes),
    ):
        for prefix in prefixes:
            if prefix.prefixlen > length:
                problems.add(f"pools.{key}", f"/{length} is larger than the whole of {prefix}")
    _check_apart(config, problems)


def _check_apart(config: HomeAgentFile, problems: Problems) -> None:
    """Nothing can be handed out twice, whoever hands it out.

    Home prefixes may lie in the pool of mobile network prefixes: nobody is given any of these.
    """
    pools = config.pools
    places: list[tuple[str, IPNetwork]] = []
    for key, networks in (
        ("ipv4_pool", (config.ipv4_pool,)),
        ("ipv4_prefix_pool", (config.ipv4_prefix_pool,)),
        ("pools.home_addresses", pools.home_addresses),
        ("pools.ipv4_home_addresses", pools.ipv4_home_addresses),
        ("pools.ipv4_prefixes", pools.ipv4_prefixes),
    ):
        places += [(key, network) for network in networks if network is not None]
    for (key, network), (other_key, other) in combinations(places, 2):
        # The dynamic pools may be inside of each other, as far as this goes.
        if "pools." in other_key and (_contains(network, other) or _contains(other, network)):
            problems.add(other_key, f"{other} overlaps {network} of {key}")


def _contains(outer: IPNetwork, inner: IPNetwork) -> bool:
    return outer.version == inner.version and inner[0] in outer and inner.prefixlen >= outer.prefixlen
