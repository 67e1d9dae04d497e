"""How strong the signal of a Wi-Fi link is, by nl80211."""

from __future__ import annotations

import errno
import socket
from typing import Any

#: What the kernel says where there is no Wi-Fi at all, none on this interface, or no network joined.
_NO_SIGNAL = (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLINK, errno.ENOTCONN)


class WifiSignal:
    """Reads when asked. Connection quality events would take over what a supplicant has set up for itself."""

    async def read(self, interface: str) -> int | None:
        """dBm of what is received from the access point, averaged by the driver where it can.

        None = there is nothing to measure: no such interface, no Wi-Fi, or no network joined. Raises OSError
        when the kernel refuses to tell.
        """
        from pyroute2.iwutil import AsyncIW
        from pyroute2.netlink.exceptions import NetlinkError

        class Quiet(AsyncIW):  # type: ignore[misc]
            module_err_level = "debug"  # a kernel without Wi-Fi is no error

        try:
            index = socket.if_nametoindex(interface)
        except OSError:
            return None
        try:
            async with Quiet() as nl80211:
                await nl80211.bind()
                stations = [station async for station in await nl80211.get_stations(index)]
        except NetlinkError as error:
            if error.code in _NO_SIGNAL:
                return None
            raise OSError(error.code, f"the signal of {interface} cannot be read: {error}") from error
        return max((found for one in stations if (found := _strength(one)) is not None), default=None)


def _strength(station: Any) -> int | None:
    information = station.get_attr("NL80211_ATTR_STA_INFO")
    if information is None:
        return None
    for name in ("NL80211_STA_INFO_SIGNAL_AVG", "NL80211_STA_INFO_SIGNAL"):
        strength = information.get_attr(name)
        # 0 dBm, a whole milliwatt, is never received: drivers say so before the first frame has come.
        if strength:
            return int(strength)
    return None
