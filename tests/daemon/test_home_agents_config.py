"""How a mobile node's file names its home agents."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from dsmip.core.mobile_node.config import UNKNOWN
from dsmip.core.mobile_node.home_agents import HomeAgentAddress
from dsmip.daemon.config.loading import parse
from dsmip.daemon.config.problems import ConfigError
from dsmip.daemon.config.schema import MobileNodeFile
from dsmip.daemon.mobile_node.daemon import engine_config

FILE = Path("x.toml")


def text(home_agent: str = '"2001:db8:100::1"', more: str = "", tables: str = "") -> str:
    return f"""\
role = "mobile-node"
home_agent = {home_agent}
home_address = "2001:db8:100::10"
home_prefix = "2001:db8:100::/64"
key = "000102030405060708090a0b0c0d0e0f"
{more}
[[interface]]
name = "wlan0"
{tables}
"""


def read(source: str) -> MobileNodeFile:
    config = parse(source, FILE)
    assert isinstance(config, MobileNodeFile)
    return config


def problems(source: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse(source, FILE)
    return {problem.key: problem.message for problem in caught.value.problems}


def test_one_home_agent_and_others_behind_it() -> None:
    tables = '[[other_home_agent]]\naddress = "2001:db8:100::2"\nipv4_address = "192.0.2.2"\n'
    told = engine_config(read(text(tables=tables)))
    assert told.home_agents == (
        HomeAgentAddress(IPv6Address("2001:db8:100::1")),
        HomeAgentAddress(IPv6Address("2001:db8:100::2"), IPv4Address("192.0.2.2")),
    )
    assert told.discovery


def test_a_home_agent_to_be_discovered() -> None:
    told = engine_config(read(text('"discover"')))
    assert told.home_agent == UNKNOWN
    assert told.home_agents == ()


def test_a_home_agent_known_by_name() -> None:
    config = read(text('"ha.example.org"', 'home_agent_ipv4 = "192.0.2.1"\nhome_agent_discovery = false'))
    assert config.home_agent.name == "ha.example.org"
    assert engine_config(config).home_agent == UNKNOWN
    assert config.home_agent == read(text('"ha.example.org"')).home_agent


@pytest.mark.parametrize(
    ("source", "key"),
    [
        (text('"discover"', "home_agent_discovery = false"), "home_agent_discovery"),
        (text('"discover"', 'home_agent_ipv4 = "192.0.2.1"'), "home_agent_ipv4"),
        (text('"fe80::1"'), "home_agent"),
        (text('"fe80::1%eth0"'), "home_agent"),
        (text('"nobody"'), "home_agent"),
        (text('"192.0.2.1"'), "home_agent"),
        (text('"2001:db8::zz"'), "home_agent"),
        (text('"-ha.example.org"'), "home_agent"),
        (text('"2001:db8:100::10"'), "home_agent"),
        (
            text(tables='[[other_home_agent]]\naddress = "2001:db8:100::1"'),
            "other_home_agent[0].address",
        ),
        (text(tables='[[other_home_agent]]\naddress = "ff02::1"'), "other_home_agent[0].address"),
        (text(tables="[[other_home_agent]]"), "other_home_agent[0].address"),
    ],
)
def test_what_cannot_be_meant_is_refused(source: str, key: str) -> None:
    assert key in problems(source)
