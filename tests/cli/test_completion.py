"""Completion scripts, asked by the shells they are for."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from dsmip.cli import completion
from dsmip.cli.command_tree import tree
from dsmip.cli.main import parser

ROOT = tree(parser())
COMMANDS = {" ".join(command.path) for command in ROOT.walk() if command.path}


def shell(name: str, *arguments: str, directory: Path) -> str:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    home = {**os.environ, "HOME": str(directory), "XDG_CONFIG_HOME": str(directory), "TERM": "dumb"}
    done = subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=home,
        cwd=directory,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


def complete_bash(directory: Path, *words: str) -> set[str]:
    script = directory / "dsmip.bash"
    script.write_text(completion.bash(ROOT))
    quoted = " ".join(f"'{word}'" for word in ("dsmip", *words))
    ask = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words)}; _dsmip; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    return set(shell("bash", "--norc", "-c", f"source {script}; {ask}", directory=directory).split())


def complete_fish(directory: Path, line: str) -> set[str]:
    script = directory / "dsmip.fish"
    script.write_text(completion.fish(ROOT))
    found = shell("fish", "--no-config", "-c", f"source {script}; complete -C '{line}'", directory=directory)
    return {entry.split("\t")[0] for entry in found.splitlines()}


class Zsh:
    """Its completion works in a terminal only."""

    def __init__(self, directory: Path) -> None:
        program = shutil.which("zsh")
        if program is None:
            pytest.skip("zsh is not installed: apt-get install zsh")
        (directory / "_dsmip").write_text(completion.zsh(ROOT))
        self._master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "dumb", "HOME": str(directory)}
        self._shell = subprocess.Popen(
            [program, "-f", "-i"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self._said = b""
        self.type("PS1='ready> '; zstyle ':completion:*' verbose no\n")
        self.type(f"fpath=({directory} $fpath); autoload -U compinit; compinit -u -D; print loa''ded\n")
        self.wait("loaded")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait(self, text: str) -> None:
        """Until it says so, in what is new."""
        deadline = time.monotonic() + 30
        while text.encode() not in self._said:
            assert time.monotonic() < deadline, self._said.decode(errors="replace")
            if select.select([self._master], [], [], 0.2)[0]:
                self._said += os.read(self._master, 65536)
        self._said = b""

    def close(self) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._master)


def test_bash_knows_commands_options_and_values(tmp_path: Path) -> None:
    assert complete_bash(tmp_path, "ex") == {"explain"}
    assert complete_bash(tmp_path, "lab", "") >= {"up", "down", "move", "exec"}
    assert complete_bash(tmp_path, "lab", "up", "--d") == {"--delay"}
    assert complete_bash(tmp_path, "completion", "z") == {"zsh"}
    (tmp_path / "ha.toml").touch()
    assert "ha.toml" in complete_bash(tmp_path, "check", "ha")
    assert "ha.toml" in complete_bash(tmp_path, "capture", "-w", "ha")
    assert complete_bash(tmp_path, "explain", "--json", "--da") == {"--daemon"}


def test_fish_knows_commands_options_and_values(tmp_path: Path) -> None:
    assert complete_fish(tmp_path, "dsmip ex") == {"explain"}
    assert complete_fish(tmp_path, "dsmip lab ") >= {"up", "down", "move", "exec"}
    assert complete_fish(tmp_path, "dsmip lab up --d") == {"--delay"}
    assert complete_fish(tmp_path, "dsmip completion z") == {"zsh"}


def test_zsh_knows_commands_options_and_values(tmp_path: Path) -> None:
    zsh = Zsh(tmp_path)
    try:
        for typed, completed in (
            ("dsmip expl", "dsmip explain "),
            ("dsmip lab mo", "dsmip lab move "),
            ("dsmip lab up --del", "dsmip lab up --delay "),
            ("dsmip completion z", "dsmip completion zsh "),
        ):
            zsh.type(typed)
            zsh.wait(typed)
            zsh.type("\t")
            zsh.wait(completed[len(typed) :])
            zsh.type("\x15")
    finally:
        zsh.close()


@pytest.mark.parametrize("make", [completion.bash, completion.zsh, completion.fish])
def test_every_command_and_option_is_in_every_script(make: object) -> None:
    assert callable(make)
    script = make(ROOT)
    for command in ROOT.walk():
        for word in command.path:
            assert word in script
        for option in command.options:
            for flag in option.flags:
                assert flag.lstrip("-") in script
