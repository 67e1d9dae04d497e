"""The tunnel device has the MTU of the narrowest path."""

from __future__ import annotations

from dsmip.daemon.conditions import Conditions
from dsmip.daemon.tunnel_mtu import TunnelMtu


def test_the_narrowest_path_counts_between_the_limits() -> None:
    device: list[int] = []
    conditions = Conditions(lambda _kind, _fields: None)
    tunnel = TunnelMtu(device.append, conditions, 1460)
    tunnel.installed(1, 1444)
    tunnel.installed(2, 1360)
    tunnel.installed(2, 1360)
    tunnel.removed(2)
    tunnel.installed(1, 0)
    assert device == [1444, 1360, 1444, 1460]
    assert conditions.sentences == []


def test_less_than_ipv6_needs_is_told_and_not_set() -> None:
    device: list[int] = []
    conditions = Conditions(lambda _kind, _fields: None)
    tunnel = TunnelMtu(device.append, conditions, 1460)
    tunnel.installed(0, 1240)
    assert device == [1280]
    [sentence] = conditions.sentences
    assert "1240 octets" in sentence
    tunnel.removed(0)
    assert device == [1280, 1460]
    assert conditions.sentences == []
