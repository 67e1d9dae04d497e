"""The home address after a renumbering outlives the process."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from dsmip.core.mobile_node.renumbering import HomeAddress
from dsmip.core.types import Instant
from dsmip.daemon.home_address import FILE_NAME, Renumbered, remember, remembered

CONFIGURED = IPv6Address("2001:db8:100::1234")
HOME = HomeAddress(IPv6Address("2001:db8:101::1234"), IPv6Network("2001:db8:101::/64"))
NOW = Instant(100.0, 1_800_000_000.0)
#: After a restart of the machine: the monotonic clock began anew.
LATER = Instant(5.0, 1_800_000_030.0)


@pytest.mark.parametrize(("until", "then"), [(None, None), (160.0, 35.0)])
def test_what_is_kept_is_found_again(tmp_path: Path, until: float | None, then: float | None) -> None:
    remember(tmp_path, Renumbered(CONFIGURED, HOME, until), NOW)
    assert remembered(tmp_path, CONFIGURED, LATER) == Renumbered(CONFIGURED, HOME, then)


def test_it_is_about_the_configured_home_address_only(tmp_path: Path) -> None:
    remember(tmp_path, Renumbered(CONFIGURED, HOME), NOW)
    assert remembered(tmp_path, CONFIGURED + 1, LATER) is None


def test_back_at_the_configured_home_address_nothing_is_kept(tmp_path: Path) -> None:
    remember(tmp_path, Renumbered(CONFIGURED, HOME), NOW)
    prefix = IPv6Network("2001:db8:100::/64")
    remember(tmp_path, Renumbered(CONFIGURED, HomeAddress(CONFIGURED, prefix)), NOW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"configured": "2001:db8:100::1234"}', "\\xff"])
def test_a_damaged_file_is_no_file(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    assert remembered(tmp_path, CONFIGURED, LATER) is None


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    remember(tmp_path / "missing", Renumbered(CONFIGURED, HOME), NOW)
    assert "the next start" in caplog.text
