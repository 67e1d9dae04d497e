"""Seeing what goes on: events, stories, captures, of real daemons in a lab."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest

from dsmip.daemon.control import ask
from dsmip.lab import plan
from dsmip.lab.lab import Lab
from tests.system.conftest import wait_until

pytestmark = [pytest.mark.root, pytest.mark.lab]

HOME_AGENT_TABLES = """
[metrics]
listen = "127.0.0.1:9418"
per_mobile_node = true

[web]
listen = "127.0.0.1:8418"
"""
MOBILE_ROUTER_TABLES = """
[metrics]
listen = "[::1]:9418"
"""

CHROMIUM_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
DSMIP = (sys.executable, "-m", "dsmip")


def dsmip(*arguments: str) -> str:
    done = subprocess.run([*DSMIP, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with Lab.up("obs", at="dual") as built:
        for path, tables in zip(
            built.write_configs(), (HOME_AGENT_TABLES, MOBILE_ROUTER_TABLES), strict=True
        ):
            path.write_text(path.read_text() + tables)
        built.start_daemons()
        wait_until(lambda: bool(ask("obs-ha", "bindings")), 15, "the mobile router registers")
        yield built


def move(lab: Lab, network: str) -> str:
    """Move there, from elsewhere, and wait until the home agent knows; the new care-of address."""
    if lab.at == network:
        move(lab, "dual" if network != "dual" else "wifi6")
    (before,) = ask("obs-ha", "bindings")
    lab.move(network)
    wait_until(
        lambda: [row["care_of"] for row in ask("obs-ha", "bindings")] != [before["care_of"]],
        20,
        f"the mobile router registers from {network}",
    )
    return str(ask("obs-ha", "bindings")[0]["care_of"])


def test_events_are_followed_as_they_happen(lab: Lab) -> None:
    assert "registered" in dsmip("events", "obs-ha")
    command = [*DSMIP, "events", "--follow", "--json", "obs-ha"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        records = (json.loads(line) for line in following.stdout)
        first = next(record for record in records if record["event"] == "registered")
        assert first["name"] == "mr1"
        move(lab, "wifi6")
        moved = next(record for record in records if record["event"] == "moved")
        assert moved["previous"] == first["care_of"]
        following.terminate()


def test_both_ends_explain_themselves(lab: Lab) -> None:
    care_of = move(lab, "nat4")
    story = dsmip("explain", "mr1")
    assert f"is registered at {care_of}" in story
    assert "There is a NAT in between" in story
    assert f"moved to {care_of}" in story
    own = dsmip("explain", "--daemon", "obs-mr")
    assert "is registered at" in own
    assert "in UDP in IPv4, through a NAT" in own
    told = json.loads(dsmip("explain", "mr1", "--json"))
    assert told["registered"] is True
    assert {sentence["kind"] for sentence in told["story"]} >= {"state", "fact", "moment"}


def test_an_unknown_name_gets_a_hint(lab: Lab) -> None:
    done = subprocess.run([*DSMIP, "explain", "mr2"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no mobile node 'mr2' is configured; did you mean 'mr1'?" in done.stderr


def test_tshark_reads_a_capture_with_its_outer_headers(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "signalling.pcap"
    command = [*DSMIP, "capture", "obs-ha", "-w", str(file), "--count", "4"]
    text = [*DSMIP, "capture", "obs-ha", "--count", "2"]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as capturing,
        subprocess.Popen(text, stdout=subprocess.PIPE, text=True) as telling,
    ):
        assert capturing.stderr is not None
        assert telling.stdout is not None
        assert "capturing" in capturing.stderr.readline()
        move(lab, "dual")
        move(lab, "nat4")
        move(lab, "dual")
        assert capturing.wait(60) == 0
        assert telling.wait(60) == 0
        lines = telling.stdout.read().splitlines()
    assert len(lines) == 2
    assert any("Binding update" in line for line in lines)
    fields = ("-e", "frame.protocols", "-e", "ip.src", "-e", "mip6.mhtype")
    read = subprocess.run(
        ["tshark", "-r", str(file), "-d", "udp.port==4191,ipv6", "-T", "fields", *fields],
        capture_output=True,
        text=True,
        check=True,
    )
    packets = [line.split("\t") for line in read.stdout.splitlines()]
    assert len(packets) == 4
    kinds = {(mhtype, bool(source)) for _, source, mhtype in packets}
    assert {mhtype for mhtype, _ in kinds} >= {"5", "6"}, read.stdout


def get(lab: Lab, node: str, url: str, token: str = "") -> tuple[int, str]:
    """Status and text of an answer, asked for on the node itself."""
    code = (
        "import sys, urllib.request as r, urllib.error as e\n"
        "q = r.Request(sys.argv[1], headers={'Authorization': sys.argv[2]})\n"
        "try: a = r.urlopen(q, timeout=10)\n"
        "except e.HTTPError as error: a = error\n"
        "print(a.status); print(a.read().decode())\n"
    )
    done = lab.exec(node, [sys.executable, "-c", code, url, f"Bearer {token}"], capture_output=True)
    assert done.returncode == 0, done.stderr
    status, _, text = done.stdout.partition("\n")
    return int(status), text


def test_metrics_of_both_ends(lab: Lab) -> None:
    status, text = get(lab, "ha", "http://127.0.0.1:9418/metrics")
    assert status == 200
    assert "dsmip_bindings 1.0" in text
    assert 'dsmip_node_bytes_total{direction="sent",node="mr1"}' in text
    _, text = get(lab, "mr", "http://[::1]:9418/metrics")
    assert 'dsmip_state{state="registered"} 1.0' in text
    assert get(lab, "mr", "http://[::1]:9418/")[0] == 404


def test_a_browser_on_the_home_agent_sees_a_handover(lab: Lab, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    url = dsmip("web", "obs-ha").strip()
    token = url.partition("#token=")[2]
    assert get(lab, "ha", "http://127.0.0.1:8418/api/state")[0] == 401
    assert get(lab, "ha", "http://127.0.0.1:8418/api/state", token)[0] == 200
    care_of = move(lab, "wifi6")
    flags = ("--virtual-time-budget=4000", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom")
    browser = lab.exec("ha", [chromium, *CHROMIUM_FLAGS, *flags, url], capture_output=True, timeout=90)
    assert f"moved to {care_of}" in browser.stdout, browser.stderr
    assert '<span class="number" id="count">1</span>' in browser.stdout


class Terminal:
    """A program in a terminal of 130 by 30, as a person would see it."""

    def __init__(self, *command: str) -> None:
        self._screen = pyte.Screen(130, 30)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 130, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "130", "LINES": "30"}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        os.set_blocking(self._master, False)

    def shows(self, text: str) -> bool:
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self._master, 65536):
                self._stream.feed(data)
        return any(text in line for line in self._screen.display)

    def text(self) -> str:
        return "\n".join(self._screen.display)

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


def test_the_screen_shows_a_handover_as_it_happens(lab: Lab) -> None:
    terminal = Terminal(*DSMIP, "watch", "obs-ha")
    try:
        wait_until(lambda: terminal.shows("1 of 1 mobile nodes are registered"), 30, "the screen is there")
        assert terminal.shows("mr1")
        care_of = move(lab, "dual")
        wait_until(lambda: terminal.shows(f"mr1 moved to {care_of}"), 20, "the handover is shown")
        terminal.press("/")
        wait_until(lambda: terminal.shows("name, address or tunnel"), 20, "the filter is open")
        terminal.press("nobody\r")
        wait_until(lambda: not terminal.shows(str(plan.HOME_ADDRESS)), 20, "the filter leaves no row")
        terminal.press("q")
        assert terminal.process.wait(20) == 0
    except AssertionError as error:
        raise AssertionError(f"{error}\n{terminal.text()}") from error
    finally:
        terminal.close()


def test_watch_on_the_mobile_router_and_without_a_terminal(lab: Lab) -> None:
    text = dsmip("watch", "obs-mr", "--once")
    assert "obs-mr (mobile-router): registered; tunnel ipv6" in text
    assert "moved to" in text


def test_different_keys_are_explained_at_both_ends(lab: Lab) -> None:
    config = lab.directory / "mr.toml"
    good = config.read_text()
    lab.stop_daemons(only="mr")
    key = re.search(r'^key = "(.)', good, flags=re.MULTILINE)
    assert key is not None
    config.write_text(good.replace(f'key = "{key[1]}', f'key = "{"0" if key[1] != "0" else "1"}'))
    try:
        lab.start_daemons(only="mr")
        wait_until(lambda: "were not believed" in story("mr1"), 30, "the home agent tells")
        assert "! " in story("mr1")
        assert "-> The keys at the two ends differ" in story("mr1")
        wait_until(lambda: "not believed" in story("--daemon", "obs-mr"), 30, "the mobile router tells")
        assert "-> The keys at the two ends differ" in story("--daemon", "obs-mr")
    finally:
        lab.stop_daemons(only="mr")
        config.write_text(good)
        lab.start_daemons(only="mr")
        wait_until(lambda: bool(ask("obs-ha", "bindings")), 20, "all is well again")


def story(*arguments: str) -> str:
    return " ".join(dsmip("explain", *arguments).split())
