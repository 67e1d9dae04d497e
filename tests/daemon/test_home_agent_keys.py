"""What charon is told about each mobile node of a home agent, from the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dsmip.daemon.config.loading import parse
from dsmip.daemon.config.schema import HomeAgentFile
from dsmip.daemon.home_agent import keys as home_agent_keys
from dsmip.daemon.home_agent.keys import HomeAgentKeys
from dsmip.daemon.ike.connection import Connection
from dsmip.daemon.runtime import Runtime
from dsmip.daemon.signalling_keys import payload_request_of, request_of

HOME_AGENT = """\
role = "home-agent"
name = "ha"
address = "2001:db8:ffff::1"
home_prefixes = ["2001:db8:100::/64"]
uplinks = ["eth0"]

[ike]
{files}identity = "ha.example"

[[mobile_node]]
name = "laptop"
home_address = "2001:db8:100::20"
authentication = "ipsec"
[mobile_node.ike]
psk = "000102030405060708090a0b0c0d0e0f"

[[mobile_node]]
name = "tablet"
home_address = "2001:db8:100::21"
authentication = "ipsec"
[mobile_node.payload]
[mobile_node.ike]
identity = "tablet.example"

[[mobile_node]]
name = "bus-17"
home_address = "2001:db8:100::22"
key = "000102030405060708090a0b0c0d0e0f"
"""


class Management:
    """Stands for what tells charon."""

    last: Management

    def __init__(self, path: Path, prefix: str, *_: object) -> None:
        self.path, self.prefix = path, prefix
        self.connections: dict[str, Connection] = {}
        Management.last = self

    def start(self) -> None:
        pass

    def set(self, connections: Iterable[Connection]) -> None:
        self.connections = {connection.name: connection for connection in connections}


@pytest.fixture
def config(tmp_path: Path) -> HomeAgentFile:
    lines = ""
    for key in ("certificate", "private_key", "ca"):
        path = tmp_path / key
        path.write_text(f"-----BEGIN {key}-----\n")
        path.chmod(0o600)
        lines += f'{key} = "{path}"\n'
    found = parse(HOME_AGENT.format(files=lines), Path("x.toml"))
    assert isinstance(found, HomeAgentFile)
    return found


def keys(config: HomeAgentFile, monkeypatch: pytest.MonkeyPatch) -> HomeAgentKeys:
    monkeypatch.setattr(home_agent_keys, "KeyManagement", Management)
    events: Any = SimpleNamespace(events=SimpleNamespace(event=None), conditions=None, payload=None)
    made = HomeAgentKeys(cast(Runtime, events), config, lambda _action: None, lambda _address: 5)
    protection: Any = SimpleNamespace(keys=None, kernel=None)
    made.serve(config.mobile_node, lambda: protection)
    assert protection.keys is made
    return made


def test_each_mobile_node_has_its_own_connection(
    config: HomeAgentFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys(config, monkeypatch)
    laptop, tablet = Management.last.connections.values()
    assert (laptop.name, tablet.name) == ("dsmip:ha:laptop", "dsmip:ha:tablet")
    assert laptop.home_address == laptop.remote == IPv6Address("2001:db8:100::20")
    # With secrets both are their addresses.
    assert (laptop.local_identity, laptop.remote_identity) == ("2001:db8:ffff::1", "2001:db8:100::20")
    assert (laptop.secret, laptop.certificates, laptop.payload) == (bytes(range(16)), None, None)
    assert (tablet.local_identity, tablet.remote_identity) == ("ha.example", "tablet.example")
    assert tablet.secret is None
    assert tablet.certificates is not None
    assert tablet.certificates.private_key == b"-----BEGIN private_key-----\n"
    assert not laptop.initiates
    assert laptop.request == request_of(laptop.home_address) != tablet.request
    assert tablet.payload is not None
    assert tablet.payload.request == payload_request_of(tablet.home_address) != tablet.request


def test_who_does_not_negotiate_is_not_told_of(
    config: HomeAgentFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = keys(config, monkeypatch)
    assert made.words(IPv6Address("2001:db8:100::22")) is None
    made.serve(config.mobile_node[1:], lambda: cast(Any, None))
    assert list(Management.last.connections) == ["dsmip:ha:tablet"]
