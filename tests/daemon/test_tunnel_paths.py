"""What the engine wants of its paths, carried out in a data plane in memory."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from dsmip.core.actions import InstallPath, RemovePath, SetDuplication, SetFlowRules, SetPreference
from dsmip.core.types import CareOfAddress, FlowRule, IPAddress, Path, TunnelFormat
from dsmip.daemon.tunnel_paths import LOOK, TrafficWatch, TunnelPaths
from dsmip.dataplane.fake import FakeDataPlane
from dsmip.wire.trafficselectors import IPv6TrafficSelector

HOME = IPv6Network("2001:db8:100::10/128")
WLAN = IPv6Address("2001:db8:200::1")
LTE = IPv4Address("192.168.1.2")
RULE = FlowRule(IPv6TrafficSelector(next_header=(17, 17)), (2,))


def install(local: IPAddress, bid: int) -> InstallPath:
    path = Path(TunnelFormat.IPV6, local, IPv6Address("2001:db8::1"), interface=bid)
    return InstallPath(path, care_of(local, bid), (HOME,), 3.0, bid)


def care_of(address: IPAddress, interface: int) -> CareOfAddress:
    return CareOfAddress(address, f"eth{interface}", interface, None, "net")


def test_paths_preference_flows_and_duplication() -> None:
    plane = FakeDataPlane()
    paths = TunnelPaths(plane, 1, 3.0)
    for action in (
        install(WLAN, 1),
        install(LTE, 2),
        SetPreference((1, 2)),
        SetFlowRules((RULE,)),
        SetDuplication(True),
    ):
        paths.carry_out(action)
    assert set(paths.states()) == {1, 2}
    assert plane.local == {(WLAN, 1): 1, (LTE, 2): 2}
    paths.carry_out(RemovePath("gone", 1))
    assert set(paths.states()) == {2}


def test_a_plain_path_of_an_earlier_process_does_not_take_all_packets() -> None:
    plane = FakeDataPlane()
    plane.set_path(1, install(WLAN, 0).path)
    paths = TunnelPaths(plane, 1, 3.0)
    paths.carry_out(install(LTE, 2))
    assert set(paths.states()) == {2}


def test_several_paths_of_an_earlier_process_give_way_to_a_plain_one() -> None:
    plane = FakeDataPlane()
    for bid in (1, 2):
        plane.set_path(1, install(WLAN, bid).path, bid)
    paths = TunnelPaths(plane, 1, 3.0)
    paths.carry_out(install(LTE, 0))
    assert set(paths.states()) == {0}


def test_the_same_address_on_two_interfaces_is_two() -> None:
    """Two modems, both of which hand out 192.168.1.2."""
    plane = FakeDataPlane()

    async def scenario() -> None:
        paths = TunnelPaths(plane, 1, 0.01)
        paths.carry_out(install(LTE, 1))
        paths.carry_out(install(LTE, 2))
        paths.set_local([care_of(LTE, 1), care_of(LTE, 2)])
        assert plane.local == {(LTE, 1): 1, (LTE, 2): 2}
        paths.set_local([care_of(LTE, 2)])
        for _ in range(500):
            if plane.local == {(LTE, 2): 2}:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("what one interface lost is still there, or was taken from the other one")

    asyncio.run(scenario())


def test_care_of_addresses_go_on_receiving_for_the_grace_time() -> None:
    plane = FakeDataPlane()

    async def scenario() -> None:
        paths = TunnelPaths(plane, 1, 0.01)
        paths.set_local([care_of(WLAN, 1), care_of(LTE, 2)])
        paths.set_local([care_of(LTE, 2)])
        assert plane.local_addresses() == {(WLAN, 1), (LTE, 2)}
        for _ in range(500):
            if plane.local_addresses() == {(LTE, 2)}:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the address that is gone still receives")

    asyncio.run(scenario())


def test_after_the_end_nothing_is_taken_from_a_data_plane_that_is_closed() -> None:
    plane = FakeDataPlane()

    async def scenario() -> None:
        paths = TunnelPaths(plane, 1, 0.0)
        paths.set_local([care_of(WLAN, 1)])
        paths.set_local([])
        paths.close()
        await asyncio.sleep(0.01)
        assert plane.local_addresses() == {(WLAN, 1)}

    asyncio.run(scenario())


def test_the_traffic_of_each_path_is_told() -> None:
    plane = FakeDataPlane()
    told = []

    async def scenario() -> None:
        paths = TunnelPaths(plane, 1, 3.0)
        paths.carry_out(install(WLAN, 1))
        done = asyncio.Event()

        def count(traffic: object) -> None:
            told.append(traffic)
            done.set()

        watch = TrafficWatch(paths, count)
        watch.start()
        await asyncio.wait_for(done.wait(), 100 * LOOK)
        watch.stop()

    asyncio.run(scenario())
    assert told == [{1: (0, 0)}]
