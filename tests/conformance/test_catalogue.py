"""The catalogue itself: no row is forgotten, and the table in the documentation is about these rows."""

from __future__ import annotations

import re

import pytest

from tests.conformance import catalogue, table

RFC = re.compile(r"RFC \d{3,4} (\d+(\.\d+)*|[A-Z]\.\d+)(-\d+(\.\d+)*)?")


@pytest.mark.parametrize("row", catalogue.rows().values(), ids=lambda row: row.id)
def test_every_row_has_a_test_or_a_reason(row: catalogue.Row) -> None:
    assert bool(row.not_applicable) != (row.id in catalogue.tested())
    assert row.title
    assert row.rfc
    for section in row.rfc:
        assert RFC.fullmatch(section), section


def test_ids_are_unique() -> None:
    ids = [row.id for rows in catalogue.load().values() for row in rows]
    assert len(ids) == len(set(ids))


def test_the_documented_table_has_every_row() -> None:
    documented = re.findall(r"^\| ([A-Z0-9]+-[A-Z0-9-]+) \|", table.PATH.read_text(), re.MULTILINE)
    assert documented == list(catalogue.rows())
