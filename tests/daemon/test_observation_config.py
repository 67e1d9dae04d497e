"""`[metrics]` and `[web]`: off by default, local unless told otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.daemon.test_config import HOME_AGENT, MOBILE_ROUTER

from dsmip.daemon.config.loading import parse
from dsmip.daemon.config.problems import ConfigError
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeFile
from dsmip.daemon.reload import differences


def problems(text: str) -> str:
    with pytest.raises(ConfigError) as refusal:
        parse(text, Path("file.toml"))
    return str(refusal.value)


def test_both_are_off_by_default() -> None:
    home_agent = parse(HOME_AGENT, Path("ha.toml"))
    mobile = parse(MOBILE_ROUTER, Path("mr.toml"))
    assert isinstance(home_agent, HomeAgentFile)
    assert isinstance(mobile, MobileNodeFile)
    assert (home_agent.metrics, home_agent.web, mobile.metrics) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "host"), [("127.0.0.1:9418", "127.0.0.1:9418"), ("[::1]:9418", "[::1]:9418")]
)
def test_local_addresses(text: str, host: str) -> None:
    config = parse(f'{MOBILE_ROUTER}[metrics]\nlisten = "{text}"\n', Path("mr.toml"))
    assert config.metrics is not None
    assert config.metrics.listen.place.host == text


@pytest.mark.parametrize("listen", ["0.0.0.0:9418", "[::]:9418", "192.0.2.1:9418"])
def test_open_to_the_network_has_to_be_said_twice(listen: str) -> None:
    text = f'{HOME_AGENT}[metrics]\nlisten = "{listen}"\n[web]\nlisten = "{listen[:-1]}9"\n'
    told = problems(text)
    assert "metrics.listen" in told
    assert "web.listen" in told
    assert "allow_remote = true" in told
    parse(text.replace("[web]", "allow_remote = true\n[web]") + "allow_remote = true\n", Path("ha.toml"))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('[metrics]\nlisten = "localhost:9418"', "metrics.listen"),
        ('[metrics]\nlisten = "::1:9418"', "brackets"),
        ('[metrics]\nlisten = "127.0.0.1:0"', "address and port"),
        ('[metrics]\nlisten = "127.0.0.1"', "address and port"),
        ("[metrics]", "metrics.listen is missing"),
        (
            '[metrics]\nlisten = "127.0.0.1:1"\nlisen = 1',
            "metrics.lisen is not known; did you mean 'listen'?",
        ),
        ('[web]\nlisten = "127.0.0.1:1"\ntoken = "short"', "web.token is too short"),
        ('[web]\nlisten = "127.0.0.1:1"\nhosts = ["a b"]', "web.hosts[0]"),
        ('[metrics]\nlisten = "[::1]:1"\n[web]\nlisten = "[::1]:1"', "is already that of metrics"),
        ("metrics = 5", "metrics"),
    ],
)
def test_what_is_wrong_is_named(table: str, expected: str) -> None:
    text = f"{table}\n{HOME_AGENT}" if table.startswith("metrics =") else f"{HOME_AGENT}{table}\n"
    assert expected in problems(text)


def test_a_mobile_node_has_no_status_page() -> None:
    assert "web is not known" in problems(f'{MOBILE_ROUTER}[web]\nlisten = "127.0.0.1:1"\n')


def test_a_reload_sees_no_change_where_there_is_none() -> None:
    text = f'{HOME_AGENT}[metrics]\nlisten = "127.0.0.1:9418"\n[web]\nlisten = "[::1]:8418"\n'
    before, after = (parse(text, Path("ha.toml")) for _ in range(2))
    assert differences(before, after) == []
    other = parse(text.replace("9418", "9419"), Path("ha.toml"))
    assert differences(before, other) == ["metrics"]
