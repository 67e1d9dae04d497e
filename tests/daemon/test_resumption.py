"""Bindings found in the store are installed bit by bit, those that change before the others."""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address

from dsmip.core.actions import InstallBinding
from dsmip.core.types import Binding, CareOfBinding, TunnelFormat
from dsmip.daemon.resumption import SLICE, Resumption

CARE_OF = CareOfBinding(0, IPv6Address("2001:db8:200::1"), TunnelFormat.IPV6, 420.0, 1.8e9, 1.8e9 + 420)


def restored(number: int) -> InstallBinding:
    binding = Binding(IPv6Address((0x20010DB8 << 96) + number), number, (CARE_OF,), 1, 1.8e9)
    return InstallBinding(binding, None, 0.0, restored=True)


def test_all_are_installed_once_and_others_get_their_turn_in_between() -> None:
    installed: list[int] = []

    async def scene() -> None:
        resumption = Resumption(lambda action: installed.append(action.binding.index))
        for number in range(3 * SLICE):
            resumption.put_off(restored(number))
        assert installed == []
        # It changes now: what is known comes first, and not again later.
        resumption.settle(restored(3 * SLICE - 1).binding.home_address)
        resumption.settle(restored(3 * SLICE - 1).binding.home_address)
        assert installed == [3 * SLICE - 1]
        await asyncio.sleep(0)
        assert len(installed) == 1 + SLICE, "one slice, then whatever else waits"
        async with asyncio.timeout(30):
            while resumption:
                await asyncio.sleep(0)

    asyncio.run(scene())
    assert sorted(installed) == list(range(3 * SLICE))
