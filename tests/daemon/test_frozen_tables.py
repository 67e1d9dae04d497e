"""Tables of mobile nodes as octets: nothing is lost, and the short way reads what the long one does."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import msgspec
import pytest

from dsmip.daemon import provisioned
from dsmip.daemon.config.keys import Key
from dsmip.daemon.config.loading import parse
from dsmip.daemon.config.problems import ConfigError
from dsmip.daemon.config.schema import HomeAgentFile
from dsmip.daemon.frozen_tables import FrozenTables
from dsmip.daemon.home_agent.plan import routed_networks
from dsmip.daemon.provisioned import ProvisionedNode

KEY = "6d6f62696c652d697076362d6b657921"
FILE = f"""
role = "home-agent"
address = "2001:db8:100::ffff"
ipv4_address = "192.0.2.1"
uplinks = ["eth0"]
home_prefixes = ["2001:db8:100::/64"]
ipv4_home_prefixes = ["198.51.100.0/24"]
mobile_prefixes = ["2001:db8:a000::/36"]
allow_unauthenticated = true
[[mobile_node]]
name = "bus-1"
home_address = "2001:db8:100::1"
ipv4_home_address = "198.51.100.1"
mobile_network_prefixes = ["2001:db8:a001::/64", "2001:db8:b001::/64"]
ipv4_prefixes = ["203.0.113.0/28"]
key = "{KEY}"
spi = 4000
[[mobile_node]]
name = "bus-2"
identifier = "bus-2@example.com"
home_address = "2001:db8:100::2"
allow_dynamic_ipv4 = false
authentication = "none"
"""
NODE = ProvisionedNode(
    name="bus-3",
    role="mobile-router",
    home_address=IPv6Address("2001:db8:100::3"),
    ipv4_home_address=IPv4Address("198.51.100.3"),
    mobile_network_prefixes=(IPv6Network("2001:db8:a003::/64"),),
    ipv4_prefixes=(IPv4Network("203.0.113.16/28"),),
    uplinks=("wan0",),
    key=Key(bytes.fromhex(KEY)),
    created=1.0,
    key_created=2.0,
)


@pytest.fixture
def config() -> HomeAgentFile:
    parsed = parse(FILE, Path("ha.toml"))
    assert isinstance(parsed, HomeAgentFile)
    return parsed


def test_frozen_tables_read_as_they_were(config: HomeAgentFile) -> None:
    frozen = FrozenTables.of(config.mobile_node)
    assert list(frozen) == list(config.mobile_node)
    assert frozen[1] == config.mobile_node[1]
    assert frozen == FrozenTables.of(frozen)
    assert [entry.prefixes for entry in frozen.entries] == [
        table.mobile_network_prefixes for table in config.mobile_node
    ]
    assert frozen.unauthenticated() == ["bus-2"]
    assert list(frozen.besides(FrozenTables.of(config.mobile_node[:1]))) == ["bus-2"]


def test_the_records_of_provisioned_nodes_are_those_of_their_tables(tmp_path: Path) -> None:
    path = tmp_path / "nodes.json"
    assert list(provisioned.read_records(path)) == []
    provisioned.write(path, (NODE,))
    assert list(FrozenTables(provisioned.read_records(path), {})) == [NODE.table]


def test_provisioned_nodes_may_be_written_in_other_lines(tmp_path: Path) -> None:
    path = tmp_path / "nodes.json"
    provisioned.write(path, (NODE, NODE))
    path.write_bytes(msgspec.json.format(path.read_bytes(), indent=2))
    assert list(FrozenTables(provisioned.read_records(path), {})) == [NODE.table, NODE.table]


@pytest.mark.parametrize(
    "damage", [(b",\n{", b"\n{"), (b"}\n]", b"},\n]"), (b"[\n", b""), (b"]\n", b"]\n]"), (b"\n]\n", b"")]
)
def test_lines_that_are_no_list_are_told(tmp_path: Path, damage: tuple[bytes, bytes]) -> None:
    path = tmp_path / "nodes.json"
    provisioned.write(path, (NODE, NODE))
    path.write_bytes(path.read_bytes().replace(*damage))
    with pytest.raises(ConfigError, match="is damaged"):
        provisioned.read_records(path)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("2001:db8:a003::/64", "2001:db8:a003::1/64"),
        ("2001:db8:a003::/64", "2001:db8:a003::/129"),
        ('"2001:db8:100::3"', '"2001:db8:100::3%eth0"'),
        ("198.51.100.3", "198.51.100.300"),
        (KEY, "zz"),
    ],
)
def test_what_is_wrong_with_a_provisioned_node_is_told(tmp_path: Path, text: str, wrong: str) -> None:
    path = tmp_path / "nodes.json"
    provisioned.write(path, (NODE,))
    path.write_text(path.read_text(encoding="ascii").replace(text, wrong), encoding="ascii")
    with pytest.raises(ConfigError, match="is damaged"):
        provisioned.read_records(path)


def test_prefixes_within_an_aggregate_need_no_route_of_their_own(config: HomeAgentFile) -> None:
    assert {str(network) for network in routed_networks(config)} == {
        *("2001:db8:100::/64", "2001:db8:a000::/36", "2001:db8:b001::/64"),
        *("198.51.100.0/24", "203.0.113.0/28"),
    }
