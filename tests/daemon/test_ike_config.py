"""`[ike]`: a secret or certificates at either end, and every mistake with its key."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.daemon.test_config import FILE, HOME_AGENT, MOBILE_ROUTER

from dsmip.daemon.config.loading import exposed_keys, parse
from dsmip.daemon.config.problems import ConfigError
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeFile

SECRET = "000102030405060708090a0b0c0d0e0f"
NO_IDENTITY = "is no identity: a DNS name, name@domain, an address, or a distinguished name"
KEY_LINE = f'key = "{SECRET}"\n'
NODE = MOBILE_ROUTER.replace(KEY_LINE, 'authentication = "ipsec"\n')
AGENT = HOME_AGENT.replace(KEY_LINE, 'authentication = "ipsec"\n')


def problems(text: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, FILE)
    return {problem.key: problem.message for problem in caught.value.problems}


@pytest.fixture
def files(tmp_path: Path) -> str:
    """The three keys with files that are there."""
    lines = []
    for key in ("certificate", "private_key", "ca"):
        path = tmp_path / f"{key}.pem"
        path.write_text(f"-----BEGIN {key.upper()}-----\n")
        path.chmod(0o600)
        lines.append(f'{key} = "{path}"\n')
    return "".join(lines)


def test_a_shared_secret_is_enough() -> None:
    node = parse(NODE + f'[ike]\npsk = "{SECRET}"\n', FILE)
    agent = parse(AGENT + f'[mobile_node.ike]\npsk = "{SECRET}"\n', FILE)
    assert isinstance(node, MobileNodeFile)
    assert isinstance(agent, HomeAgentFile)
    assert node.ike is not None
    assert agent.mobile_node[0].ike is not None
    assert node.ike.psk == agent.mobile_node[0].ike.psk == bytes(range(16))
    assert node.ike.vici == Path("/run/charon.vici")


def test_certificates(files: str) -> None:
    node = parse(NODE + f'[ike]\n{files}identity = "bus-17.example"\n', FILE)
    agent = parse(
        AGENT
        + '[mobile_node.ike]\nidentity = "bus-17.example"\n'
        + f'[ike]\n{files}identity = "ha.example"\n',
        FILE,
    )
    assert isinstance(node, MobileNodeFile)
    assert isinstance(agent, HomeAgentFile)
    assert node.ike is not None
    assert agent.ike is not None
    assert (node.ike.identity, agent.ike.identity) == ("bus-17.example", "ha.example")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", {"ike.psk": "is missing: that, or certificate, private_key and ca"}),
        ('psk = "0011"\n', {"ike.psk": "is too short: 2 octets, at least 16 are needed"}),
        ('psk = "secret"\n', {"ike.psk": "expected hexadecimal digits"}),
        ("pks = 1\n", {"ike.pks": "is not known; did you mean 'psk'?"}),
        (
            f'psk = "{SECRET}"\nca = "/x"\nidentity = " "\n',
            {
                "ike.ca": "is not used with psk",
                "ike.identity": NO_IDENTITY,
            },
        ),
        (
            'certificate = "/nowhere"\nca = "/dev/null"\n',
            {
                "ike.certificate": "cannot be read: /nowhere: No such file or directory",
                "ike.private_key": "is missing: certificate, private_key and ca belong together",
                "ike.ca": "is not PEM: /dev/null has no line that starts with -----BEGIN",
            },
        ),
    ],
)
def test_mistakes_of_a_mobile_node(table: str, expected: dict[str, str]) -> None:
    assert problems(f"{NODE}[ike]\n{table}") == expected


def test_a_private_key_for_everybody_to_read_is_not_used(files: str, tmp_path: Path) -> None:
    (tmp_path / "private_key.pem").chmod(0o644)
    [(key, text)] = problems(f"{NODE}[ike]\n{files}").items()
    assert key == "ike.private_key"
    assert "chmod o-r" in text


def test_mistakes_of_a_home_agent() -> None:
    assert problems(AGENT + '[mobile_node.ike]\npsk = "00"\nidentity = "%any"\n') == {
        "mobile_node[0].ike.psk": "is too short: 1 octets, at least 16 are needed",
        "mobile_node[0].ike.identity": NO_IDENTITY,
    }
    assert problems(AGENT + "[mobile_node.ike]\n") == {
        "ike": "needs certificate, private_key and ca: bus-17 has no psk and shows a certificate"
    }


def test_keys_come_from_one_place() -> None:
    ike = f'[ike]\npsk = "{SECRET}"\n'
    assert problems(MOBILE_ROUTER + ike) == {"ike": 'is not used with authentication = "mn-ha"'}
    [(key, text)] = problems(NODE).items()
    assert (key, text.partition(":")[0]) == ("ipsec", "is missing")
    manual = "".join(
        f'[ipsec.{name}]\nspi = {spi}\ncipher_key = "{spi:032x}"\nmac_key = "{spi:064x}"\n'
        for name, spi in (("to_home_agent", 256), ("from_home_agent", 257))
    )
    assert problems(NODE + manual + ike) == {
        "ipsec": 'is not used with a table "ike", which negotiates the keys'
    }


def test_the_home_agent_has_to_be_known() -> None:
    elsewhere = NODE.replace('home_agent = "2001:db8:100::1"', 'home_agent = "ha.example.org"')
    text = elsewhere.replace('home_agent_ipv4 = "198.51.100.1"\n', "") + f'[ike]\npsk = "{SECRET}"\n'
    assert "has to be given as an address" in problems(text)["home_agent"]


def test_a_file_with_a_secret_is_not_for_everybody(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(NODE + f'[ike]\npsk = "{SECRET}"\n')
    path.chmod(0o644)
    assert "chmod o-r" in (exposed_keys(parse(path.read_text(), path), path) or "")
