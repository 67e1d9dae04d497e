"""What `dsmip init` writes: it works, and an answer that cannot work is refused with the reason."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from dsmip.daemon.config.first import FirstConfig, UnfitError
from dsmip.daemon.config.loading import load, parse
from dsmip.daemon.config.schema import HomeAgentFile
from dsmip.daemon.provisioning import Provisioning

ADDRESS, ADDRESS4 = IPv6Address("2001:db8:ffff::1"), IPv4Address("192.0.2.1")
PREFIX = IPv6Network("2001:db8:100::/48")
NETWORK4 = IPv4Network("198.51.100.0/24")
WHOLE = FirstConfig("eth0", ADDRESS, PREFIX, ADDRESS4, NETWORK4, IPv4Network("203.0.113.0/24"))


@pytest.mark.parametrize(
    "first",
    [WHOLE, FirstConfig("eth0", ADDRESS, PREFIX), FirstConfig("eth0", ADDRESS, PREFIX, ADDRESS4)],
    ids=["whole", "ipv6", "care-of-ipv4"],
)
def test_it_is_valid_and_can_provision(first: FirstConfig, tmp_path: Path) -> None:
    first.check()
    path = tmp_path / "ha.toml"
    path.write_text(f'state_directory = "{tmp_path / "state"}"\n{first.text()}')
    made = Provisioning(path, run_root=tmp_path)
    node = made.add("bus-1", role=None, uplinks=("wan0",))
    assert node.role == "mobile-router"
    assert str(node.home_address) == "2001:db8:100::1"
    assert [str(prefix) for prefix in node.mobile_network_prefixes] == ["2001:db8:100:1::/64"]
    assert (node.ipv4_home_address is not None) == (first.ipv4_network is not None)
    parse(made.vehicle_file(node), path)


def test_a_single_64_serves_mobile_nodes_without_networks() -> None:
    config = parse(FirstConfig("eth0", ADDRESS, IPv6Network("2001:db8:100::/64")).text(), Path("ha.toml"))
    assert isinstance(config, HomeAgentFile)
    assert config.pools.mobile_network_prefixes == ()


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (FirstConfig("eth0", ADDRESS, IPv6Network("2001:db8:100::/80")), "too small"),
        (
            FirstConfig("eth0", ADDRESS, IPv6Network("2001:db8:ffff::/64")),
            "routed to this machine, not the one",
        ),
        (FirstConfig("eth0", ADDRESS, PREFIX, None, NETWORK4), "no IPv4 address"),
        (
            FirstConfig("eth0", ADDRESS, PREFIX, ADDRESS4, IPv4Network("192.0.2.0/24")),
            "own address 192.0.2.1",
        ),
    ],
)
def test_answers_that_cannot_work(first: FirstConfig, text: str) -> None:
    with pytest.raises(UnfitError, match=text):
        first.check()


def init(*options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "dsmip", "init", "home-agent", *options]
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60
    )


def test_the_command_writes_once_and_for_few_eyes(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "ha.toml"
    options = ("--uplink", "lo", "--address", str(ADDRESS), "--prefix", str(PREFIX), "--out", str(path))
    done = init(*options)
    assert done.returncode == 0, done.stderr
    assert load(path).role == "home-agent"
    assert path.stat().st_mode & 0o007 == 0
    again = init(*options)
    assert again.returncode == 1
    assert "is there already: --force replaces it" in again.stderr


def test_without_answers_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "ha.toml"
    for options, text in (
        (("--uplink", "lo"), "lo has no global IPv6 address"),
        (("--uplink", "lo", "--address", str(ADDRESS)), "--prefix is missing"),
        (("--uplink", "lo", "--address", "nonsense"), "--address: "),
        (("--uplink", "lo", "--address", str(ADDRESS), "--prefix", "2001:db8::1/64"), "--prefix: "),
    ):
        done = init(*options, "--out", str(path))
        assert done.returncode == 2
        assert text in done.stderr
        assert "Traceback" not in done.stderr
    assert not path.exists()
