"""What the event loop says when it can accept nothing becomes a sentence, not a traceback."""

from __future__ import annotations

import asyncio
import errno
import logging

import pytest

from dsmip.daemon import descriptors
from dsmip.daemon.conditions import Conditions
from dsmip.daemon.descriptors import DescriptorWatch


def test_no_descriptor_left_is_told_once_and_forgotten_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(descriptors, "SHOWN", 0.01)
    told: list[str] = []
    conditions = Conditions(lambda kind, _fields: told.append(kind))

    async def exhausted() -> None:
        loop = asyncio.get_running_loop()
        watch = DescriptorWatch(conditions)
        watch.start(loop)
        for _ in range(3):
            loop.call_exception_handler({"message": "accept", "exception": OSError(errno.EMFILE, "no")})
        assert "no file descriptor left" in conditions.sentences[0]
        async with asyncio.timeout(30):
            while conditions.sentences:
                await asyncio.sleep(0.01)
        watch.stop()

    with caplog.at_level(logging.ERROR):
        asyncio.run(exhausted())
    assert told == ["problem", "problem-over"]
    assert caplog.records == []


def test_everything_else_is_told_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        loop = asyncio.get_running_loop()
        DescriptorWatch(Conditions(lambda _kind, _fields: None)).start(loop)
        loop.call_exception_handler({"message": "something else", "exception": OSError(errno.EIO, "no")})

    with caplog.at_level(logging.ERROR):
        asyncio.run(fails())
    assert [record.message for record in caplog.records] == ["something else"]
