"""What a configuration must mean: rules that look at several keys together."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from dsmip.core.types import IPNetwork
from dsmip.daemon.config_problems import Problems

if TYPE_CHECKING:
    from dsmip.daemon.config import HomeAgentFile, MobileNodeFile, MobileNodeTable

#: RFC 4285 uses HMAC-SHA1 keys of 16 octets; shorter ones are guessable.
MIN_KEY_OCTETS = 16


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The known key most like a mistyped one."""
    return next(iter(difflib.get_close_matches(word, list(words), n=1)), None)


def check_home_agent(config: HomeAgentFile, problems: Problems) -> None:
    """Rules of a home agent's file."""
    _check_unicast(config.address, "address", problems)
    if config.ipv4_home_prefixes and config.ipv4_address is None:
        problems.add(
            "ipv4_home_prefixes", "needs ipv4_address as well: IPv4 care-of addresses are served there"
        )
    if config.home_link is not None and not any(config.address in prefix for prefix in config.home_prefixes):
        problems.add("home_link", f"is given, but address {config.address} is in no home prefix")
    seen: dict[str, str] = {}
    owners: list[tuple[IPNetwork, str]] = []
    for number, node in enumerate(config.mobile_node):
        where = f"mobile_node[{number}]."
        _check_served_node(config, node, where, problems)
        for kind, value in (
            ("name", node.name),
            ("home_address", str(node.home_address)),
            ("ipv4_home_address", str(node.ipv4_home_address or "")),
            ("identifier", node.identifier or node.name),
        ):
            if not value:
                continue
            first = seen.setdefault(f"{kind}={value}", f"mobile_node[{number}]")
            if first != f"mobile_node[{number}]":
                problems.add(f"{where}{kind}", f"{value} is already that of {first}")
        prefixes: list[IPNetwork] = [*node.mobile_network_prefixes, *node.ipv4_prefixes]
        for prefix in prefixes:
            for other, owner in owners:
                if _overlap(prefix, other):
                    problems.add(f"{where}name", f"{node.name}: {prefix} overlaps {other} of {owner}")
            owners.append((prefix, node.name))


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    if isinstance(one, IPv6Network):
        return isinstance(other, IPv6Network) and one.overlaps(other)
    return isinstance(other, IPv4Network) and one.overlaps(other)


def _check_served_node(config: HomeAgentFile, node: MobileNodeTable, where: str, problems: Problems) -> None:
    ranges = (*config.home_prefixes, *node.mobile_network_prefixes)
    if not any(node.home_address in prefix for prefix in ranges):
        problems.add(f"{where}home_address", f"{node.home_address} is in none of the home prefixes")
    if node.home_address == config.address:
        problems.add(f"{where}home_address", "is the home agent's own address")
    if node.ipv4_home_address is not None:
        if not any(node.ipv4_home_address in prefix for prefix in config.ipv4_home_prefixes):
            problems.add(
                f"{where}ipv4_home_address", f"{node.ipv4_home_address} is in none of ipv4_home_prefixes"
            )
        if node.ipv4_home_address == config.ipv4_address:
            problems.add(f"{where}ipv4_home_address", "is the home agent's own address")
    _check_key(node.authentication, node.key, config.allow_unauthenticated, where, problems)


def check_mobile_node(config: MobileNodeFile, problems: Problems) -> None:
    """Rules of a mobile node's or mobile router's file."""
    _check_unicast(config.home_agent, "home_agent", problems)
    _check_unicast(config.home_address, "home_address", problems)
    ranges = (config.home_prefix, *config.mobile_network_prefixes)
    if not any(config.home_address in prefix for prefix in ranges):
        problems.add("home_address", f"{config.home_address} is not in home_prefix {config.home_prefix}")
    if config.home_address == config.home_agent:
        problems.add("home_address", "is the home agent's address")
    if config.role == "mobile-node":
        for key in ("mobile_network_prefixes", "ipv4_prefixes", "ipv4_prefix_request"):
            if getattr(config, key):
                problems.add(key, 'only makes sense with role = "mobile-router"')
    elif config.nemo_mode == "explicit" and not config.mobile_network_prefixes:
        problems.add("mobile_network_prefixes", 'is empty: name the prefixes, or set nemo_mode = "implicit"')
    _check_key(config.authentication, config.key, config.allow_unauthenticated, "", problems)
    names: set[str] = set()
    for number, interface in enumerate(config.interface):
        if interface.name in names:
            problems.add(f"interface[{number}].name", f"{interface.name} is named twice")
        names.add(interface.name)


def _check_key(
    authentication: str, key: bytes | None, allow_unauthenticated: bool, where: str, problems: Problems
) -> None:
    if authentication == "none":
        if not allow_unauthenticated:
            problems.add(
                f"{where}authentication",
                '"none" lets anybody take over this home address; for a closed test network also set'
                " allow_unauthenticated = true",
            )
    elif key is None:
        problems.add(f"{where}key", "is missing: 32 hexadecimal digits, the same at both ends")
    elif len(key) < MIN_KEY_OCTETS:
        problems.add(f"{where}key", f"is too short: {len(key)} octets, at least {MIN_KEY_OCTETS} are needed")


def _check_unicast(address: IPv6Address, key: str, problems: Problems) -> None:
    if address.is_multicast or address.is_link_local or address.is_unspecified or address.is_loopback:
        problems.add(key, f"{address} is not a global unicast address")
