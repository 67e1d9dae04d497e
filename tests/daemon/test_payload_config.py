"""`[payload]`: what may stand there, and what it means."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from tests.daemon.test_config import FILE, HOME_AGENT, MOBILE_ROUTER, problems

from dsmip.daemon.config.loading import exposed_keys, parse
from dsmip.daemon.config.payload import payload_in_words
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeFile
from dsmip.daemon.home_agent.plan import protected_node as served_node
from dsmip.daemon.mobile_node.plan import protected_node
from dsmip.daemon.payload_policies import EVERYTHING, Side

TO = "000102030405060708090a0b0c0d0e0f01020304"
FROM = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfefff1f2f3f4"


def table(at: str = "payload", to: str = TO, back: str = FROM, correspondents: str = "") -> str:
    head = f"[{at}]\ncorrespondents = [{correspondents}]\n" if correspondents else ""
    return head + (
        f'[{at}.to_home_agent]\nspi = 0x3001\nkey = "{to}"\n'
        f'[{at}.from_home_agent]\nspi = 0x4001\nkey = "{back}"\n'
    )


SERVED = HOME_AGENT + table("mobile_node.payload")
MOBILE = MOBILE_ROUTER + table()


def test_both_ends_mean_the_same() -> None:
    home_agent, mobile = parse(SERVED, FILE), parse(MOBILE, FILE)
    assert isinstance(home_agent, HomeAgentFile)
    assert isinstance(mobile, MobileNodeFile)
    served = home_agent.mobile_node[0]
    assert served.payload is not None
    assert mobile.payload is not None
    here = served_node(home_agent, served, served.payload, 5)
    there = protected_node(mobile, mobile.payload, 1)
    assert (here.index, there.index) == (5, 1)
    assert (here.ends.side, there.ends.side) == (Side.HOME_AGENT, Side.MOBILE_NODE)
    assert here.ends.local == there.ends.remote == IPv6Address("2001:db8:100::1")
    assert here.ends.remote == there.ends.local == IPv6Address("2001:db8:100::10")
    assert here.ends.request == there.ends.request
    assert (here.inbound, here.outbound) == (there.outbound, there.inbound)
    assert set(here.networks) == set(there.networks)
    assert set(here.networks) == {
        IPv6Network("2001:db8:100::10"),
        IPv4Network("198.51.100.10"),
        IPv6Network("2001:db8:aaaa:1::/64"),
    }
    assert here.correspondents == there.correspondents == EVERYTHING


def test_chosen_correspondents() -> None:
    text = MOBILE_ROUTER + table(correspondents='"2001:db8:c::/48", "192.0.2.0/24"')
    config = parse(text, FILE)
    assert isinstance(config, MobileNodeFile)
    assert config.payload is not None
    assert config.payload.networks == (IPv6Network("2001:db8:c::/48"), IPv4Network("192.0.2.0/24"))
    assert payload_in_words(config.payload) == "esp aes-gcm-128 to 2001:db8:c::/48, 192.0.2.0/24"


@pytest.mark.parametrize(("octets", "words"), [(16, "esp aes-gcm-128"), (32, "esp aes-gcm-256")])
def test_ciphers_follow_from_the_length_of_keys(octets: int, words: str) -> None:
    salt = "01020304"
    config = parse(MOBILE_ROUTER + table(to="11" * octets + salt, back="22" * octets + salt), FILE)
    assert isinstance(config, MobileNodeFile)
    assert payload_in_words(config.payload) == words
    assert "0x11" not in repr(config)
    assert "\\x11" not in repr(config)


def test_without_a_table_payload_is_in_clear() -> None:
    assert payload_in_words(None) == "clear"


def test_what_is_wrong_is_said() -> None:
    short = problems(MOBILE_ROUTER + table(to="00" * 16))
    assert "16 octets, not 20" in short["payload.to_home_agent.key"][1]
    same = problems(SERVED.replace(FROM, TO))
    assert same["mobile_node[0].payload.from_home_agent.key"][1] == "is the same as that of to_home_agent"
    mixed = problems(MOBILE.replace(FROM, "22" * 36))
    assert "not as long" in mixed["payload.from_home_agent.key"][1]
    twice = problems(MOBILE.replace("0x4001", "0x3001"))
    assert twice["payload.from_home_agent.spi"][1] == "is that of payload.to_home_agent"
    reserved = problems(MOBILE.replace("0x4001", "255"))
    assert any("payload" in key for key in reserved)
    renumbered = problems(SERVED.replace("[[mobile_node]]", "renumbering = true\n[[mobile_node]]"))
    assert "renumbering" in renumbered["mobile_node[0].payload"][1]
    address = 'home_agent = "2001:db8:100::1"\nhome_agent_ipv4 = "198.51.100.1"\n'
    nowhere = problems(MOBILE.replace(address, 'home_agent = "discover"\n'))
    assert "[payload]" in nowhere["home_agent"][1]


def test_spis_of_two_mobile_nodes_are_not_the_same() -> None:
    """They all come in at the home agent's address."""
    second = (
        '[[mobile_node]]\nname = "bus-18"\nhome_address = "2001:db8:100::11"\n'
        'key = "000102030405060708090a0b0c0d0e0f"\n'
    )
    text = SERVED + second + table("mobile_node.payload", to="11" * 20, back="22" * 20)
    found = problems(text)["mobile_node[1].payload.to_home_agent.spi"][1]
    assert found == "0x3001 is already that of mobile_node[0]"


def test_keys_that_everybody_can_read_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "mr.toml"
    without = 'authentication = "none"\nallow_unauthenticated = true\n\n'
    text = MOBILE.replace('key = "000102030405060708090a0b0c0d0e0f"\n\n', without)
    path.write_text(text)
    path.chmod(0o644)
    config = parse(text, path)
    assert exposed_keys(config, path) is not None


IKE = f'psk = "{TO}"\n'
MOBILE_BY_IKE = (
    MOBILE_ROUTER.replace('key = "000102030405060708090a0b0c0d0e0f"', 'authentication = "ipsec"')
    + f"[payload]\n[ike]\n{IKE}"
)
SERVED_BY_IKE = (
    HOME_AGENT.replace('key = "000102030405060708090a0b0c0d0e0f"', 'authentication = "ipsec"')
    + f"[mobile_node.payload]\n[mobile_node.ike]\n{IKE}"
)


def test_negotiated_keys_mean_the_same_at_both_ends() -> None:
    home_agent, mobile = parse(SERVED_BY_IKE, FILE), parse(MOBILE_BY_IKE, FILE)
    assert isinstance(home_agent, HomeAgentFile)
    assert isinstance(mobile, MobileNodeFile)
    served = home_agent.mobile_node[0]
    assert served.payload is not None
    assert mobile.payload is not None
    here = served_node(home_agent, served, served.payload, 5)
    there = protected_node(mobile, mobile.payload, 1)
    assert here.ends.request == there.ends.request
    assert (here.inbound, here.outbound, there.inbound, there.outbound) == (None,) * 4
    assert payload_in_words(mobile.payload) == "esp (no keys yet)"
    assert payload_in_words(mobile.payload, "AES-GCM-256") == "esp aes-gcm-256"


def test_keys_are_negotiated_or_there() -> None:
    missing = 'is missing: payload needs keys for both directions, or a table "ike" and none'
    one = table().partition("[payload.from_home_agent]")[0]
    assert problems(MOBILE_ROUTER + "[payload]\n") == {
        "payload.to_home_agent": (13, missing),
        "payload.from_home_agent": (13, missing),
    }
    both = problems(MOBILE_BY_IKE.replace("[payload]\n", one))
    assert [(key, text) for key, (_, text) in both.items()] == [("payload.from_home_agent", missing)]
