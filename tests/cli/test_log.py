"""Log lines: one an event, with its priority where journald reads it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from dsmip.cli.log import JournalFormatter, LineFormatter, reaches_journal


def record(level: int, message: str) -> logging.LogRecord:
    return logging.LogRecord("dsmip", level, "x.py", 1, message, None, None)


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.DEBUG, "<7>"),
        (logging.INFO, "<6>"),
        (logging.WARNING, "<4>"),
        (logging.ERROR, "<3>"),
        (logging.CRITICAL, "<2>"),
    ],
)
def test_journald_gets_priorities(level: int, prefix: str) -> None:
    assert JournalFormatter("%(message)s").format(record(level, "registered")) == f"{prefix}registered"


def test_an_event_is_one_line_whatever_is_in_it() -> None:
    text = LineFormatter("%(levelname)s %(message)s").format(record(logging.ERROR, "a\nERROR b"))
    assert text == "ERROR a\\nERROR b"


def test_only_the_very_stream_of_the_journal_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "journal").open("w") as journal, (tmp_path / "file").open("w") as file:
        found = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert reaches_journal(journal.fileno())
        assert not reaches_journal(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", "nonsense")
        assert not reaches_journal(journal.fileno())
        monkeypatch.delenv("JOURNAL_STREAM")
        assert not reaches_journal(journal.fileno())
