"""What the fuzzers start from is good, and they would notice if something were not."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from fuzz import wire_targets
from fuzz.corpus import seeds
from fuzz.home_agent_target import home_agent
from fuzz.mobile_node_target import mobile_node
from fuzz.targets import TARGETS
from fuzz.unguided import run

from dsmip.core.authentication import SecurityAssociation
from dsmip.core.home_agent import authentication as home_agent_authentication

INPUTS = 40


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_some_mutations(name: str) -> None:
    for data in seeds(name):
        TARGETS[name](data)
    run(name, TARGETS[name], 6275, inputs=INPUTS)


def told_on(target: Callable[[bytes], None], count: int) -> bool:
    """Whether one of so many random stories ends badly."""
    source = random.Random(5555)
    for _ in range(count):
        try:
            target(source.randbytes(300))
        except AssertionError:
            return True
    return False


def anything(*_: Any) -> bool:
    return True


@pytest.mark.parametrize("target", [home_agent, mobile_node])
def test_stories_tell_on_an_engine_that_believes_every_authenticator(
    target: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not told_on(target, 100)
    monkeypatch.setattr(SecurityAssociation, "verify", anything)
    assert told_on(target, 500)


def test_stories_tell_on_a_home_agent_without_a_replay_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_agent_authentication, "is_later", anything)
    assert told_on(home_agent, 500)


def test_targets_tell_on_a_decoder_that_forgets_an_octet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_targets, "covered_octets", lambda data: data + b"\0")
    assert told_on(lambda _: wire_targets.message(next(seeds("message"))), 1)
