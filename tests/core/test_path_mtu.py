"""The search for a path's MTU, against paths that swallow what is too big."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsmip.core.path_mtu import RECHECK, RESOLUTION, TRIES, PathMtu, overhead
from dsmip.core.types import TunnelFormat

#: IPv6-in-IPv6.
OUTSIDE = 40


class Path:
    """Answers what is not larger than `takes`, without delay; runs the search until it rests."""

    def __init__(self, takes: int, *, lost: set[int] | None = None) -> None:
        self.takes = takes
        self.sent: list[int] = []
        self._lost = lost or set()  #: numbers of probes lost for other reasons

    def settle(self, search: PathMtu, now: float) -> float:
        """The time when there is nothing to ask any more."""
        while search.due is not None and search.due <= now + 1:
            now = max(now, search.due)
            sizes = search.sizes(now)
            series = search.series
            for size in sizes:
                self.sent.append(size)
                if size <= self.takes and len(self.sent) not in self._lost:
                    search.answered(series, size, now)
        return now


def test_a_path_that_takes_what_the_uplink_promises_costs_one_probe() -> None:
    path, search = Path(1460), PathMtu(1460, OUTSIDE)
    search.confirm(0.02, 5.0)
    assert path.settle(search, 5.0) == 5.0
    assert (path.sent, search.mtu, search.due) == ([1460], 1460, 5.0 + RECHECK)


@given(takes=st.integers(600, 1460))
def test_a_narrow_path_is_found_to_the_resolution(takes: int) -> None:
    path, search = Path(takes), PathMtu(1460, OUTSIDE)
    search.confirm(0.02, 0.0)
    end = path.settle(search, 0.0)
    if takes < 1280 - OUTSIDE:
        assert search.mtu == 1460, "nothing came back: that says nothing about sizes"
    else:
        assert takes - RESOLUTION <= search.mtu <= takes
    assert end < 1.5
    assert len(path.sent) <= TRIES * (1 + 10 + 4) + 1


def test_a_lost_probe_is_repeated() -> None:
    path, search = Path(1460, lost={1, 2}), PathMtu(1460, OUTSIDE)
    search.confirm(0.02, 0.0)
    path.settle(search, 0.0)
    assert (path.sent, search.mtu) == ([1460] * 3, 1460)


def test_what_was_found_earlier_is_used_at_once_and_outgrown_later() -> None:
    path, search = Path(1460), PathMtu(1460, OUTSIDE, known=1360)
    assert search.mtu == 1360
    search.confirm(0.02, 0.0)
    path.settle(search, 0.0)
    assert (search.mtu, search.due) == (1360, RECHECK)
    path.settle(search, RECHECK)
    assert search.mtu == 1460


def test_a_path_that_gets_narrower_is_noticed_at_the_next_look() -> None:
    path, search = Path(1460), PathMtu(1460, OUTSIDE)
    search.confirm(0.02, 0.0)
    path.settle(search, 0.0)
    path.takes = 1360
    path.settle(search, RECHECK)
    assert search.mtu == 1360


def test_icmp_is_a_reason_to_ask_and_no_more() -> None:
    path, search = Path(1460), PathMtu(1460, OUTSIDE)
    search.confirm(0.02, 0.0)
    path.settle(search, 0.0)
    search.told(1300, 9.0)
    path.settle(search, 9.0)
    assert search.mtu == 1460, "forged, or old"
    path.takes = 1333
    search.told(1333, 20.0)
    end = path.settle(search, 20.0)
    assert search.mtu == 1333
    assert end < 21.0
    sent = len(path.sent)
    for limit in (0, -40, 1333, 1400):
        search.told(limit, 30.0)
    assert path.settle(search, 30.0) == 30.0
    assert len(path.sent) == sent


def test_answers_of_an_earlier_round_do_not_count() -> None:
    search = PathMtu(1460, OUTSIDE)
    search.confirm(0.02, 0.0)
    assert search.sizes(0.0) == [1460]
    search.answered(search.series - 1, 1460, 0.0)
    assert search.due == pytest.approx(0.1)


def test_nothing_is_asked_without_a_path() -> None:
    search = PathMtu(1460, OUTSIDE)
    search.told(1300, 0.0)
    assert search.due is None
    search.confirm(0.02, 0.0)
    search.stop()
    assert search.sizes(9.0) == []
    search.answered(search.series, 1460, 9.0)
    assert search.mtu == 1460


def test_outer_headers() -> None:
    sizes = {form: overhead(form) for form in TunnelFormat}
    assert list(sizes.values()) == [40, 20, 28, 48, 0]
    assert [overhead(form, sequenced=True) for form in (TunnelFormat.IPV6, TunnelFormat.UDP4)] == [56, 36]
