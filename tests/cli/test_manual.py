"""Manual pages and the configuration reference: complete, current, and good roff."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from dsmip.cli.command_tree import tree
from dsmip.cli.config_reference import files, markdown, schemas
from dsmip.cli.main import main, parser
from dsmip.cli.manual import PAGES, page
from dsmip.daemon.config.help import KEYS
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeFile

DOCS = Path(__file__).parents[2] / "docs"
ROOT = tree(parser())


def rendered(name: str) -> str:
    program = shutil.which("groff")
    if program is None:
        pytest.skip("groff is not installed: apt-get install groff-base")
    done = subprocess.run(
        [program, "-man", "-Tutf8", "-ww", "-P-cbou"],
        input=page(name, ROOT),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout


def test_every_command_and_option_is_in_the_manual() -> None:
    text = " ".join(rendered("dsmip").split())
    for command in ROOT.walk():
        assert " ".join(("dsmip", *command.path)) in text
        for option in command.options:
            if option.text and "--help" not in option.flags:
                assert ", ".join(option.flags) in text


def test_every_key_is_in_the_manual() -> None:
    text = " ".join(rendered("dsmip.toml").split())
    for schema in KEYS:
        for field in msgspec.structs.fields(schema):
            assert field.name in text


@pytest.mark.parametrize("file", [HomeAgentFile, MobileNodeFile])
def test_every_key_of_the_schema_is_explained_and_no_other(file: type[msgspec.Struct]) -> None:
    """A new key needs its words in daemon/config/help.py, and `make docs`."""
    for schema in schemas(file):
        keys = {field.name for field in msgspec.structs.fields(schema)}
        assert set(KEYS.get(schema, {})) == keys, schema.__name__


def test_every_table_is_in_the_reference() -> None:
    headers = [section.header for file in files() for section in file.sections]
    assert headers.count("") == 2
    assert {
        "[pools]",
        "[[mobile_node]]",
        "[metrics]",
        "[web]",
        "[[interface]]",
        "[[other_home_agent]]",
    } <= set(headers)


def test_the_reference_in_docs_is_current() -> None:
    assert (DOCS / "configuration.md").read_text() == markdown(), "run `make docs`"


def test_pages_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["man", "--out", str(tmp_path / "man")]) == 0
    for name, section in PAGES.items():
        assert (tmp_path / "man" / f"man{section}" / f"{name}.{section}").read_text() == page(name, ROOT)
    assert main(["man", "dsmip.toml"]) == 0
    assert capsys.readouterr().out == page("dsmip.toml", ROOT)


def test_pages_that_cannot_be_written_are_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["man", "--out", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err == f"dsmip: {tmp_path / 'file' / 'man1'}: Not a directory\n"
