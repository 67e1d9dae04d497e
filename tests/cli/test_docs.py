"""What the documents tell people to type exists: commands, options, keys, files, links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec
import pytest
from tests.documents import PAGES, ROOT, commands, mentions

from dsmip.cli.config_reference import schemas
from dsmip.cli.main import parser
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeFile


def complaint(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the program has against a command line, "" = nothing."""
    words = shlex.split(command)[1:]
    try:
        parser().parse_args(words)
    except SystemExit as end:
        return capsys.readouterr().err if end.code else ""
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_one(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = page.read_text()
    for command in commands(text):
        assert not complaint(command, capsys), f"{page.name}: {command}"
    for command in mentions(text):
        told = complaint(command, capsys)
        assert not told or "arguments are required" in told, f"{page.name}: {command}: {told}"


def test_commands_are_found_where_they_are_written() -> None:
    text = "Type `dsmip status NAME`:\n\n    dsmip watch --once   # text\n"
    text += "\n```sh\ndsmip run ha.toml > log\n```\n"
    assert mentions(text) == ["dsmip status NAME"]
    assert commands(text) == ["dsmip watch --once", "dsmip run ha.toml"]
    assert sum(len(commands(page.read_text())) for page in PAGES) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}, (
                target
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_keys_with_a_value_exist(page: Path) -> None:
    """`key = value` in running text, as people will copy it."""
    keys = {
        f.name
        for file in (HomeAgentFile, MobileNodeFile)
        for s in schemas(file)
        for f in msgspec.structs.fields(s)
    }
    for key in re.findall(r"`([a-z][a-z0-9_]*) = [^`]+`", page.read_text()):
        assert key in keys, f"{page.name}: {key}"


def test_files_named_in_the_documents_exist() -> None:
    for page in PAGES:
        for path in re.findall(
            r"\b((?:packaging|contrib|tools|src|tests)/[A-Za-z0-9_./@-]*[A-Za-z0-9])", page.read_text()
        ):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
