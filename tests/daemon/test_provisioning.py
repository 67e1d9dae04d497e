"""Provisioning without a home agent that runs: allotment, the file, and what goes wrong."""

from __future__ import annotations

import stat
import subprocess
import sys
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from dsmip.daemon import provisioned
from dsmip.daemon.allotment import PoolExhausted, lowest_free, span
from dsmip.daemon.config.loading import parse
from dsmip.daemon.config.problems import ConfigError
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeFile
from dsmip.daemon.control import RefusedError
from dsmip.daemon.provisioned import load_complete
from dsmip.daemon.provisioning import ProvisionError, Provisioning

CONFIG = """\
role = "home-agent"
name = "ha"
address = "2001:db8:100::1"
ipv4_address = "192.0.2.1"
home_prefixes = ["2001:db8:100::/64"]
ipv4_home_prefixes = ["198.51.100.0/29"]
uplinks = ["eth0"]
state_directory = "{state}"

[pools]
home_addresses = ["2001:db8:100::/64"]
mobile_network_prefixes = ["2001:db8:100::/62"]
ipv4_home_addresses = ["198.51.100.0/29"]
ipv4_prefixes = ["203.0.113.0/27", "203.0.113.128/28"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ha.toml"
    path.write_text(CONFIG.format(state=tmp_path / "state"))
    return path


def provisioning(file: Path) -> Provisioning:
    return Provisioning(file, run_root=file.parent / "run")


def add(file: Path, name: str, **options: object) -> provisioned.ProvisionedNode:
    return provisioning(file).add(name, role=None, uplinks=("wan0",), **options)  # type: ignore[arg-type]


def test_the_lowest_free_one_of_the_pools_is_given(file: Path) -> None:
    first, second = add(file, "bus-1"), add(file, "bus-2")
    # ::1 is the home agent's own, 2001:db8:100::/64 the home prefix, 198.51.100.0 the network's address.
    assert str(first.home_address) == "2001:db8:100::2"
    assert first.mobile_network_prefixes == (IPv6Network("2001:db8:100:1::/64"),)
    assert str(first.ipv4_home_address) == "198.51.100.1"
    assert first.ipv4_prefixes == (IPv4Network("203.0.113.0/28"),)
    assert str(second.home_address) == "2001:db8:100::3"
    assert second.ipv4_prefixes == (IPv4Network("203.0.113.16/28"),)
    assert first.key != second.key
    provisioning(file).remove("bus-1")
    again = add(file, "bus-3")
    assert (again.home_address, again.mobile_network_prefixes) == (
        first.home_address,
        first.mobile_network_prefixes,
    )
    assert again.key != first.key


def test_what_the_configuration_file_gives_is_not_given_again(file: Path) -> None:
    file.write_text(
        file.read_text() + '[[mobile_node]]\nname = "old"\nhome_address = "2001:db8:100::2"\n'
        'mobile_network_prefixes = ["2001:db8:100:1::/64"]\nkey = "000102030405060708090a0b0c0d0e0f"\n'
    )
    node = add(file, "bus-1")
    assert str(node.home_address) == "2001:db8:100::3"
    assert node.mobile_network_prefixes == (IPv6Network("2001:db8:100:2::/64"),)
    with pytest.raises(ProvisionError, match="in the configuration file already"):
        add(file, "old")


def test_a_provisioned_node_is_served_like_one_of_the_file(file: Path) -> None:
    node = add(file, "bus-1")
    config = load_complete(file)
    assert isinstance(config, HomeAgentFile)
    (served,) = config.mobile_node
    assert (served.name, served.home_address, served.key) == ("bus-1", node.home_address, node.key)


def test_the_vehicles_file_is_valid_and_says_what_the_home_agent_knows(file: Path) -> None:
    made = provisioning(file)
    node = made.add("bus-1", role=None, uplinks=("wwan0", "wlan0"))
    config = parse(made.vehicle_file(node), Path("bus-1.toml"))
    assert isinstance(config, MobileNodeFile)
    assert config.role == "mobile-router"
    assert config.key == node.key
    assert config.home_agent.address == IPv6Address("2001:db8:100::1")
    assert config.mobile_network_prefixes == node.mobile_network_prefixes
    assert config.ipv4_home_address is not None
    assert str(config.ipv4_home_address.interface) == "198.51.100.1/29"
    assert [interface.name for interface in config.interface] == ["wwan0", "wlan0"]
    laptop = made.add("laptop", role="mobile-node", uplinks=("wlan0",))
    assert laptop.mobile_network_prefixes == laptop.ipv4_prefixes == ()
    assert parse(made.vehicle_file(laptop), Path("laptop.toml")).role == "mobile-node"


def test_vehicles_can_be_told_a_name(file: Path) -> None:
    file.write_text(file.read_text().replace('name = "ha"', 'name = "ha"\npublic_name = "ha.example.org"'))
    made = provisioning(file)
    config = parse(made.vehicle_file(made.add("bus-1", role=None, uplinks=("wan0",))), Path("bus-1.toml"))
    assert isinstance(config, MobileNodeFile)
    assert config.home_agent.name == "ha.example.org"
    assert config.home_agent_ipv4 is None
    file.write_text(file.read_text().replace("ha.example.org", "192.0.2.1"))
    with pytest.raises(ConfigError, match=r"public_name .* is not a DNS name"):
        provisioning(file)


def test_the_binding_made_with_a_lost_key_can_be_ended(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home agent sees the mobile node go, and come back with the same addresses and another key."""
    before = add(file, "bus-1")
    seen: list[list[provisioned.ProvisionedNode]] = []
    made = provisioning(file)
    monkeypatch.setattr(
        "dsmip.daemon.provisioning.ask", lambda *_arguments, **_options: seen.append([*made.nodes()])
    )
    after = made.rotate_key("bus-1", end_binding=True)
    assert seen == [[], [after]]
    assert after.home_address == before.home_address
    assert made.served


def test_a_home_agent_that_refuses_leaves_the_file_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(file, "bus-1")
    before = provisioning(file).nodes()

    def refuse(*_arguments: object, **_options: object) -> None:
        raise RefusedError("it is not in my prefixes")

    monkeypatch.setattr("dsmip.daemon.provisioning.ask", refuse)
    with pytest.raises(ProvisionError, match="the running home agent refuses: it is not in my prefixes"):
        add(file, "bus-2")
    assert provisioning(file).nodes() == before


def test_many_at_once_get_different_addresses(file: Path) -> None:
    """Each in a process of its own, as people do it."""
    text = file.read_text().replace("198.51.100.0/29", "198.51.100.0/24").replace("/62", "/48")
    file.write_text(text.replace("203.0.113.0/27", "203.0.113.0/25"))
    argv = [sys.executable, "-m", "dsmip", "provision", "add", "--config", str(file)]
    running = [
        subprocess.Popen([*argv, f"bus-{number}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for number in range(3)
    ]
    for process in running:
        _, complaints = process.communicate(timeout=60)
        assert process.returncode == 0, complaints
    nodes = provisioning(file).nodes()
    assert len({node.home_address for node in nodes}) == 3
    assert len({node.ipv4_prefixes for node in nodes}) == len({node.ipv4_home_address for node in nodes}) == 3


def test_an_exhausted_pool_is_named_and_nothing_is_changed(file: Path) -> None:
    for number in range(3):
        add(file, f"bus-{number}")
    before = (file.parent / "state" / provisioned.FILE_NAME).read_bytes()
    with pytest.raises(PoolExhausted, match=r"no free /64 is left in pools.mobile_network_prefixes"):
        add(file, "bus-3")
    assert (file.parent / "state" / provisioned.FILE_NAME).read_bytes() == before


def test_a_missing_pool_is_named(file: Path) -> None:
    file.write_text(file.read_text().replace('home_addresses = ["2001:db8:100::/64"]\n', "", 1))
    with pytest.raises(PoolExhausted, match=r"pools.home_addresses is missing"):
        add(file, "bus-1")


def test_the_file_is_for_its_owner_only(file: Path) -> None:
    add(file, "bus-1")
    state = file.parent / "state"
    assert stat.S_IMODE((state / provisioned.FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert sorted(path.name for path in state.iterdir()) == ["nodes.json", "nodes.lock"]


def test_a_file_that_others_may_write_is_refused(file: Path) -> None:
    add(file, "bus-1")
    path = file.parent / "state" / provisioned.FILE_NAME
    path.chmod(0o660)
    with pytest.raises(ConfigError, match=r"chmod 600 .*nodes.json"):
        load_complete(file)


@pytest.mark.parametrize("data", [b"[{", b"{}", b'[{"name": "x"}]', b"\xff", b"[1]"])
def test_a_damaged_file_is_one_sentence(file: Path, data: bytes) -> None:
    add(file, "bus-1")
    (file.parent / "state" / provisioned.FILE_NAME).write_bytes(data)
    with pytest.raises(ConfigError, match=r"nodes.json: is damaged"):
        provisioning(file).nodes()


def test_a_new_key_and_nothing_else(file: Path) -> None:
    before = add(file, "bus-1")
    add(file, "bus-2")
    after = provisioning(file).rotate_key("bus-1")
    assert after.key != before.key
    assert (after.home_address, after.created) == (before.home_address, before.created)
    assert [node.name for node in provisioning(file).nodes()] == ["bus-1", "bus-2"]
    assert provisioning(file).get("bus-1") == after


def test_names(file: Path) -> None:
    add(file, "bus-1")
    with pytest.raises(ProvisionError, match="provisioned already"):
        add(file, "bus-1")
    with pytest.raises(ProvisionError, match="is no name"):
        add(file, "bus 1")
    for verb in (provisioning(file).get, provisioning(file).remove, provisioning(file).rotate_key):
        with pytest.raises(ProvisionError, match="bus-9 is not provisioned here"):
            verb("bus-9")


def test_a_mobile_node_does_not_provision(tmp_path: Path) -> None:
    path = tmp_path / "mr.toml"
    path.write_text(
        'role = "mobile-node"\nhome_agent = "2001:db8::1"\nhome_address = "2001:db8:1::2"\n'
        'home_prefix = "2001:db8:1::/64"\nkey = "000102030405060708090a0b0c0d0e0f"\n'
        '[[interface]]\nname = "eth0"\n'
    )
    with pytest.raises(ConfigError, match="role is mobile-node: a home agent provisions"):
        Provisioning(path)


def test_a_configuration_that_contradicts_what_is_provisioned_is_refused(file: Path) -> None:
    node = add(file, "bus-1")
    text = file.read_text()
    file.write_text(
        text + f'[[mobile_node]]\nname = "new"\nhome_address = "{node.home_address}"\n'
        'key = "000102030405060708090a0b0c0d0e0f"\n'
    )
    with pytest.raises(
        ConfigError, match=r"provisioned bus-1.home_address .* is already that of mobile_node"
    ):
        load_complete(file)
    file.write_text(text.replace("2001:db8:100::", "2001:db8:200::"))
    with pytest.raises(ConfigError, match=r"provisioned bus-1.home_address .* none of the home prefixes"):
        load_complete(file)


@pytest.mark.parametrize(
    ("change", "key", "text"),
    [
        (
            ('_addresses = ["2001:db8:100::/64"]', '_addresses = ["2001:db8::/64"]'),
            "home_addresses",
            "none of",
        ),
        (("/27", "/29"), "ipv4_prefix_length", "larger than the whole of 203.0.113.0/29"),
        (('"203.0.113.0/27"', '"198.51.100.0/27"'), "ipv4_prefixes", "overlaps 198.51.100.0/29"),
        (("ipv4_prefixes", "ipv4_prefixs"), "ipv4_prefixs", "did you mean 'ipv4_prefixes'"),
    ],
)
def test_rules_of_pools(file: Path, change: tuple[str, str], key: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(file.read_text().replace(*change), file)
    (problem,) = caught.value.problems
    assert problem.key == f"pools.{key}"
    assert problem.line is not None
    assert text in problem.message


@pytest.mark.parametrize(
    ("pool", "length", "taken", "expected"),
    [
        ("10.0.0.0/30", 32, [], "10.0.0.0/32"),
        ("10.0.0.0/30", 32, ["10.0.0.0/31", "10.0.0.3/32"], "10.0.0.2/32"),
        ("10.0.0.0/30", 32, ["10.0.0.0/8"], None),
        ("10.0.0.0/24", 28, ["10.0.0.17/32"], "10.0.0.0/28"),
        ("10.0.0.0/24", 28, ["10.0.0.1/32", "10.0.0.16/30"], "10.0.0.32/28"),
        ("10.0.0.0/24", 28, ["10.0.0.0/25", "10.0.0.3/32"], "10.0.0.128/28"),
        ("10.0.0.0/27", 28, ["9.0.0.0/8", "10.0.0.0/28", "10.0.0.31/32"], None),
    ],
)
def test_lowest_free(pool: str, length: int, taken: list[str], expected: str | None) -> None:
    found = lowest_free([IPv4Network(pool)], length, [span(IPv4Network(one)) for one in taken])
    assert (str(found) if found else None) == expected
