"""Rules and routes taken out by somebody else are noticed, and nothing else is."""

from __future__ import annotations

import asyncio
import subprocess
import time
from ipaddress import IPv4Network, IPv6Network

import pytest

from dsmip.host.route_guard import RouteGuard, losses
from dsmip.host.routing import Route, Routing, Rule
from tests.host.lab import Lab, inside

RULE = Rule(5191, 5191, source=IPv6Network("2001:db8:100::20/128"))


def test_bytes_that_are_no_message_tell_nothing() -> None:
    whole = bytes(range(256))
    for length in range(len(whole)):
        assert not list(losses(whole[:length], 1))
        assert not list(losses(bytes(length), 1))


@pytest.mark.root
def test_what_others_take_out_is_put_back(lab: Lab) -> None:
    def ip(*words: str) -> str:
        return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout

    async def main() -> None:
        routing = Routing()
        loopback = 1
        route = Route(IPv4Network("203.0.113.0/25"), loopback)
        told: list[int] = []

        def restore(missed: int) -> None:
            routing.add_rule(RULE)
            routing.add_route(route)
            told.append(missed)

        async def until(count: int) -> None:
            end = time.monotonic() + 20
            while sum(told) < count:
                assert time.monotonic() < end, told
                await asyncio.sleep(0.01)

        ip("link", "set", "lo", "up")
        restore(0)
        guard = RouteGuard(routing.port, restore)
        try:
            routing.remove_rule(RULE)  # our own removals are meant
            routing.add_rule(RULE)
            ip("-6", "rule", "add", "pref", "77", "table", "77", "proto", "static")
            ip("-6", "rule", "del", "pref", "77")
            ip("-6", "rule", "del", "pref", "5191")
            await until(1)
            assert "lookup 5191 proto 191" in ip("-6", "rule")
            ip("route", "del", "203.0.113.0/25")
            await until(2)
            assert "proto 191" in ip("route", "show", "203.0.113.0/25")
            assert sum(told) == 2
        finally:
            guard.close()
            routing.remove_rule(RULE)
            routing.remove_route(route)
            routing.close()

    with inside("mobile"):
        asyncio.run(main())
