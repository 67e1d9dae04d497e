"""Configuration files: every error at once, each with its key path and line."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Address
from pathlib import Path

import pytest

from dsmip.daemon.config.loading import load, parse
from dsmip.daemon.config.problems import ConfigError, locate
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeFile

HOME_AGENT = """\
role = "home-agent"
name = "ha"
address = "2001:db8:100::1"
ipv4_address = "198.51.100.1"
home_prefixes = ["2001:db8:100::/64"]
ipv4_home_prefixes = ["198.51.100.0/24"]
uplinks = ["eth0"]

[[mobile_node]]
name = "bus-17"
home_address = "2001:db8:100::10"
ipv4_home_address = "198.51.100.10"
mobile_network_prefixes = ["2001:db8:aaaa:1::/64"]
key = "000102030405060708090a0b0c0d0e0f"
"""

MOBILE_ROUTER = """\
role = "mobile-router"
name = "bus-17"
home_agent = "2001:db8:100::1"
home_agent_ipv4 = "198.51.100.1"
home_address = "2001:db8:100::10"
home_prefix = "2001:db8:100::/64"
ipv4_home_address = "198.51.100.10/24"
mobile_network_prefixes = ["2001:db8:aaaa:1::/64"]
key = "000102030405060708090a0b0c0d0e0f"

[[interface]]
name = "wwan0"
"""

FILE = Path("x.toml")


def problems(text: str) -> dict[str, tuple[int | None, str]]:
    with pytest.raises(ConfigError) as caught:
        parse(text, FILE)
    return {problem.key: (problem.line, problem.message) for problem in caught.value.problems}


def test_home_agent_file_is_read() -> None:
    config = parse(HOME_AGENT, FILE)
    assert isinstance(config, HomeAgentFile)
    assert config.address == IPv6Address("2001:db8:100::1")
    assert config.mobile_node[0].key == bytes(range(16))
    assert config.mobile_node[0].authentication == "mn-ha"


def test_mobile_router_file_is_read() -> None:
    config = parse(MOBILE_ROUTER, FILE)
    assert isinstance(config, MobileNodeFile)
    assert config.ipv4_home_address is not None
    assert config.ipv4_home_address.interface == IPv4Interface("198.51.100.10/24")
    assert config.interface[0].manage


def test_dynamic_ipv4_home_address_is_a_word() -> None:
    config = parse(MOBILE_ROUTER.replace('"198.51.100.10/24"', '"dynamic"'), FILE)
    assert isinstance(config, MobileNodeFile)
    assert config.ipv4_home_address is not None
    assert config.ipv4_home_address.interface is None


def test_key_is_not_shown() -> None:
    config = parse(MOBILE_ROUTER, FILE)
    assert "0001020304" not in repr(config)
    assert "\\x01\\x02" not in repr(config)


def test_every_error_is_reported_at_once_with_key_path_and_line() -> None:
    text = HOME_AGENT.replace("ipv4_address =", "ipv4_adress =").replace('"eth0"', "7")
    text = text.replace('"2001:db8:100::10"', '"2001:db8:100::zz"').replace("000102", "wxyz")
    found = problems(text)
    assert found["ipv4_adress"] == (4, "is not known; did you mean 'ipv4_address'?")
    assert found["uplinks[0]"][0] == 7
    assert found["mobile_node[0].home_address"][0] == 11
    assert found["mobile_node[0].key"] == (14, "expected hexadecimal digits")


def test_missing_keys_are_named() -> None:
    found = problems('role = "home-agent"\n')
    assert {"address", "uplinks", "home_prefixes"} <= set(found)


def test_role_is_asked_for() -> None:
    assert "home-agent" in problems('name = "x"\n')["role"][1]
    assert "not 'router'" in problems('role = "router"\n')["role"][1]


def test_not_toml_is_one_error() -> None:
    assert "is not TOML" in problems("role = \n")[""][1]


@pytest.mark.parametrize("text", ["lifetime = " + "9" * 5000, "a = " + "[" * 2000], ids=["number", "nesting"])
def test_toml_that_python_gives_up_on_is_one_error(text: str) -> None:
    assert "is not TOML" in problems(text)[""][1]


def test_unreadable_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("change", "key", "text"),
    [
        (
            ('"2001:db8:100::10"', '"2001:db8:200::10"'),
            "mobile_node[0].home_address",
            "none of the home prefixes",
        ),
        (
            ('"198.51.100.10"', '"192.0.2.10"'),
            "mobile_node[0].ipv4_home_address",
            "none of ipv4_home_prefixes",
        ),
        (('key = "000102030405060708090a0b0c0d0e0f"', ""), "mobile_node[0].key", "is missing"),
        (("060708090a0b0c0d0e0f", ""), "mobile_node[0].key", "too short"),
        (('"2001:db8:100::1"', '"fe80::1"'), "address", "not a global unicast"),
        (
            ('name = "bus-17"', 'name = "bus-17"\nauthentication = "none"'),
            "mobile_node[0].authentication",
            "allow",
        ),
        (('name = "bus-17"', 'name = "bus-17"\nspi = 3'), "mobile_node[0].spi", ">= 256"),
    ],
)
def test_home_agent_rules(change: tuple[str, str], key: str, text: str) -> None:
    assert text in problems(HOME_AGENT.replace(*change))[key][1]


def test_two_mobile_nodes_cannot_share_anything() -> None:
    second = HOME_AGENT[HOME_AGENT.index("[[mobile_node]]") :]
    found = problems(HOME_AGENT + second)
    assert "already that of mobile_node[0]" in found["mobile_node[1].home_address"][1]
    assert "already that of mobile_node[0]" in found["mobile_node[1].ipv4_home_address"][1]
    overlapping = second.replace("bus-17", "bus-18").replace("::10", "::11").replace(".10", ".11")
    overlapping = overlapping.replace("2001:db8:aaaa:1::/64", "2001:db8:aaaa::/48")
    found = problems(HOME_AGENT + overlapping)
    assert "overlaps 2001:db8:aaaa:1::/64 of bus-17" in found["mobile_node[1].name"][1]


def test_authentication_none_needs_a_second_word() -> None:
    text = MOBILE_ROUTER.replace('key = "000102030405060708090a0b0c0d0e0f"', 'authentication = "none"')
    assert "allow_unauthenticated" in problems(text)["authentication"][1]
    allowed = text.replace('authentication = "none"', 'authentication = "none"\nallow_unauthenticated = true')
    config = parse(allowed, FILE)
    assert isinstance(config, MobileNodeFile)
    assert config.authentication == "none"


@pytest.mark.parametrize(
    ("change", "key", "text"),
    [
        (('"mobile-router"', '"mobile-node"'), "mobile_network_prefixes", "mobile-router"),
        (('["2001:db8:aaaa:1::/64"]', "[]"), "mobile_network_prefixes", "implicit"),
        (('"2001:db8:100::10"', '"2001:db8:101::10"'), "home_address", "not in home_prefix"),
        (('[[interface]]\nname = "wwan0"', ""), "interface", "is missing"),
    ],
)
def test_mobile_node_rules(change: tuple[str, str], key: str, text: str) -> None:
    assert text in problems(MOBILE_ROUTER.replace(*change))[key][1]


def test_interface_named_twice() -> None:
    found = problems(MOBILE_ROUTER + '[[interface]]\nname = "wwan0"\n')
    assert "twice" in found["interface[1].name"][1]


def test_locate_numbers_keys_and_tables() -> None:
    lines = locate(HOME_AGENT)
    assert lines["address"] == 3
    assert lines["mobile_node[0]"] == 9
    assert lines["mobile_node[0].key"] == 14


def test_rfc6275_13_intervals_of_prefix_advertisements() -> None:
    config = parse(HOME_AGENT, FILE)
    assert isinstance(config, HomeAgentFile)
    assert (config.min_mobile_prefix_interval, config.max_mobile_prefix_interval) == (600.0, 86400.0)
    wrong = HOME_AGENT.replace("[[mobile_node]]", "max_mobile_prefix_interval = 60\n\n[[mobile_node]]")
    assert "min_mobile_prefix_interval" in problems(wrong)
