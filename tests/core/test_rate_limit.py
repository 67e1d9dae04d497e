"""The token bucket that answers to anybody's packets go through."""

from __future__ import annotations

from dsmip.core.rate_limit import RateLimit


def test_rfc4443_2_4_f_a_burst_and_then_the_rate() -> None:
    limit = RateLimit(10.0, 5)
    assert [limit.allow(100.0) for _ in range(6)] == [True] * 5 + [False]
    assert [limit.allow(100.25) for _ in range(3)] == [True, True, False]


def test_a_long_pause_fills_it_to_the_brim_and_no_further() -> None:
    limit = RateLimit(10.0, 5)
    limit.allow(0.0)
    assert sum(limit.allow(1e6) for _ in range(10)) == 5


def test_a_clock_that_goes_back_earns_nothing() -> None:
    limit = RateLimit(1.0, 1)
    assert limit.allow(10.0)
    assert not limit.allow(5.0)
    assert not limit.allow(10.5)
    assert limit.allow(11.0)
