"""The strength of a Wi-Fi signal, read from simulated radios."""

from __future__ import annotations

import asyncio
import socket
import time

from pyroute2.iwutil import AsyncIW

from dsmip.host.wifi import WifiSignal
from tests.system.conftest import run

RADIOS = ("wlan0", "wlan1")
CHANNEL = 2412
#: Given, so that neither has to find the other's network first.
CELL = "02:00:00:00:00:aa"
PATIENCE = 120.0


async def join(radio: str) -> None:
    """Put a radio into one and the same ad hoc network."""
    index = socket.if_nametoindex(radio)
    async with AsyncIW() as nl80211:
        await nl80211.bind()
        await nl80211.set_interface_type(index, "adhoc")
        run("ip", "link", "set", radio, "up")
        await nl80211.join_ibss(index, "lab", CHANNEL, bssid=CELL)


async def read_until_heard(signal: WifiSignal) -> int | None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        strength = await signal.read(RADIOS[0])
        if strength is not None:
            return strength
        await asyncio.sleep(0.5)
    return None


def test_the_signal_of_a_radio_is_read_and_others_have_none() -> None:
    run("modprobe", "mac80211_hwsim", "radios=2")

    async def scenario() -> None:
        signal = WifiSignal()
        assert await signal.read(RADIOS[0]) is None, "it has joined nothing"
        assert await signal.read("lo") is None
        assert await signal.read("no-such") is None
        for radio in RADIOS:
            await join(radio)
        strength = await read_until_heard(signal)
        assert strength is not None
        assert -100 < strength < 0

    asyncio.run(scenario())
