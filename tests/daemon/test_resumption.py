"""Bindings found in the store are installed bit by bit, those that change before the others."""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address

from dsmip.core.types import Binding, CareOfBinding, TunnelFormat
from dsmip.daemon.resumption import SLICE, Resumption

CARE_OF = CareOfBinding(0, IPv6Address("2001:db8:200::1"), TunnelFormat.IPV6, 420.0, 1.8e9, 1.8e9 + 420)


def binding(number: int) -> Binding:
    return Binding(IPv6Address((0x20010DB8 << 96) + number), number, (CARE_OF,), 1, 1.8e9)


def test_all_are_installed_once_and_others_get_their_turn_in_between() -> None:
    installed: list[int] = []
    bindings = {binding(number).home_address: binding(number) for number in range(3 * SLICE)}

    async def scene() -> None:
        resumption = Resumption(lambda action: installed.append(action.binding.index), bindings)
        resumption.put_off(map(int, bindings))
        assert installed == []
        # It changes now: what is known comes first, and not again later.
        resumption.settle(binding(3 * SLICE - 1))
        resumption.settle(binding(3 * SLICE - 1))
        assert installed == [3 * SLICE - 1]
        await asyncio.sleep(0)
        assert len(installed) == 1 + SLICE, "one slice, then whatever else waits"
        async with asyncio.timeout(30):
            while resumption:
                await asyncio.sleep(0)

    asyncio.run(scene())
    assert sorted(installed) == list(range(3 * SLICE))


def test_what_has_ended_meanwhile_is_not_installed() -> None:
    installed: list[int] = []
    bindings = {binding(1).home_address: binding(1)}

    async def scene() -> None:
        resumption = Resumption(lambda action: installed.append(action.binding.index), bindings)
        resumption.put_off([int(binding(number).home_address) for number in (1, 2)])
        async with asyncio.timeout(30):
            while resumption:
                await asyncio.sleep(0)

    asyncio.run(scene())
    assert installed == [1]
