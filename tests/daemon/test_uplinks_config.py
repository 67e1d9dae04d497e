"""What a mobile node's file says about several uplinks and about flows."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from test_config import FILE, MOBILE_ROUTER, problems

from dsmip.core.flow_selectors import swapped
from dsmip.core.mobile_node.policy import Policy, UplinkChoice
from dsmip.core.types import CareOfAddress
from dsmip.daemon.config.loading import parse
from dsmip.daemon.config.problems import ConfigError
from dsmip.daemon.config.schema import MobileNodeFile
from dsmip.daemon.config.uplinks import is_multihomed, policy_of, signal_thresholds
from dsmip.daemon.reload import check_uplinks_live
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector

THREE = (
    MOBILE_ROUTER
    + """
preference = 20

[[interface]]
name = "wlan0"
preference = 10
cost = 2

[[interface.network]]
prefix = "2001:db8:5::/48"
cost = 7
metered = true

[[interface]]
name = "sat0"
metered = true
fallback_only = true
"""
)

VIDEO = """
[[flow]]
name = "video"
protocol = "udp"
remote_ports = "5004-5010"
interfaces = ["wwan0", "wlan0"]
"""


def read(text: str) -> MobileNodeFile:
    config = parse(text, FILE)
    assert isinstance(config, MobileNodeFile)
    return config


def policy(text: str) -> Policy:
    config = read(text)
    return policy_of(config.multihoming, config.interface, config.flow)


def test_several_interfaces_are_used_together_unless_told_otherwise() -> None:
    for text, expected in (
        (MOBILE_ROUTER, False),
        (THREE, True),
        (MOBILE_ROUTER + "\n[multihoming]\nenabled = true\n", True),
        (THREE + "\n[multihoming]\nenabled = false\n", False),
    ):
        config = read(text)
        assert is_multihomed(config.multihoming, config.interface) is expected


def test_interfaces_and_their_networks() -> None:
    [wwan0, wlan0, sat0] = policy(THREE).interfaces
    assert wwan0.choice == UplinkChoice(preference=20)
    assert sat0.choice == UplinkChoice(metered=True, fallback_only=True)

    def at(address: str) -> UplinkChoice:
        return wlan0.choice_at(CareOfAddress(IPv6Address(address), "wlan0", 3, None, "somewhere"))

    assert at("2001:db8:6::1") == UplinkChoice(preference=10, cost=2)
    assert at("2001:db8:5::1") == UplinkChoice(preference=10, cost=7, metered=True)


def test_a_signal_to_leave_at_needs_an_uplink_to_go_to() -> None:
    assert signal_thresholds(read(THREE).interface) == {}
    text = THREE.replace("cost = 2", "cost = 2\nleave_below_dbm = -75")
    assert signal_thresholds(read(text).interface) == {"wlan0": -75}
    assert "interface[0].leave_below_dbm" in problems(MOBILE_ROUTER + "\nleave_below_dbm = -75\n")
    assert "interface[1].leave_below_dbm" in problems(text.replace("-75", "75"))


def test_a_flow_becomes_selectors_for_both_families() -> None:
    [flow] = policy(THREE + VIDEO).flows
    assert flow.interfaces == ("wwan0", "wlan0")
    assert flow.description.selectors() == (
        IPv6TrafficSelector(source_port=(5004, 5010), next_header=(17, 17)),
        IPv4TrafficSelector(source_port=(5004, 5010), protocol=(17, 17)),
    )


def test_ports_on_either_side_dscp_and_prefixes() -> None:
    text = (
        '\n[[flow]]\nname = "voice"\nprotocol = "udp"\nports = 5060\ndscp = "ef"\nremote = "2001:db8::/32"\n'
    )
    [flow] = policy(THREE + text).flows
    there, back = flow.description.selectors()
    assert isinstance(there, IPv6TrafficSelector)
    network = IPv6Network("2001:db8::/32")
    assert there.source == (network.network_address, network.broadcast_address)
    assert (there.source_port, there.destination_port) == ((5060, 5060), None)
    assert (back.source_port, back.destination_port) == (None, (5060, 5060))
    assert there.traffic_class == (46 << 2, 46 << 2 | 3)
    assert swapped(there).destination == there.source


def test_icmp_has_a_number_in_each_family() -> None:
    [flow] = policy(THREE + '\n[[flow]]\nname = "ping"\nprotocol = "icmp"\nuse = "cheapest"\n').flows
    six, four = flow.description.selectors()
    assert isinstance(six, IPv6TrafficSelector)
    assert isinstance(four, IPv4TrafficSelector)
    assert (six.next_header, four.protocol) == ((58, 58), (1, 1))


def test_conflicting_flows_are_refused_with_both_named() -> None:
    same = problems(THREE + VIDEO + VIDEO.replace('"video"', '"film"').replace("wwan0", "sat0"))
    assert (
        same["flow[1].name"][1]
        == "film describes the same packets as video, which comes first and takes them all"
    )
    narrower = problems(THREE + VIDEO + VIDEO.replace('"video"', '"film"').replace("5004-5010", "5006"))
    assert "film describes only packets that belong to video" in narrower["flow[1].name"][1]
    read(
        THREE + VIDEO.replace("5004-5010", "5006").replace('"video"', '"film"') + VIDEO
    )  # the narrow one first


@pytest.mark.parametrize(
    ("flow", "key", "words"),
    [
        ('protocol = "udp"\ninterfaces = ["eth9"]', "interfaces[0]", "none of the interfaces"),
        ('protocol = "udp"\ninterfaces = ["wlan0"]\nuse = "best"', "use", "contradict"),
        ('protocol = "udp"\ninterfaces = ["wlan0"]\nduplicate = 2', "duplicate", "as many interfaces"),
        ('protocol = "udp"\nports = "10-5"', "ports", "end before its start"),
        ('protocol = "udp"\nports = 70000', "ports", "65535"),
        ('protocol = "icmp"\nports = 5', "protocol", "with ports"),
        ("remote_ports = 5", "protocol", "with ports"),
        ('protocol = "quic"', "protocol", "not known"),
        ('protocol = "udp"\ndscp = "zz"', "dscp", "not known"),
        ('remote = "2001:db8::/32"\nlocal = "192.0.2.0/24"', "local", "different IP versions"),
        ("duplicate = 2", "name", "all packets"),
        ('protocol = "udp"\nduplicate = 4', "duplicate", "<= 3"),
        ('protocol = "udp"\nremote = "2001:db8::1/32"', "remote", "host bits"),
        ('protocol = "udp"\ncolour = 1', "colour", "not known"),
    ],
)
def test_flows_that_make_no_sense(flow: str, key: str, words: str) -> None:
    found = problems(THREE + f'\n[[flow]]\nname = "odd"\n{flow}\n')
    assert words in found[f"flow[0].{key}"][1]
    assert found[f"flow[0].{key}"][0] is not None


def test_flows_need_a_choice_and_intervals_an_order() -> None:
    assert "flow" in problems(MOBILE_ROUTER + VIDEO.replace(', "wlan0"', ""))
    found = problems(
        THREE + "\n[multihoming]\nprobe_interval_ms = 2000\nmetered_idle_probe_interval_ms = 500\n"
    )
    assert {"multihoming.idle_probe_interval_ms", "multihoming.metered_idle_probe_interval_ms"} == set(found)
    assert "interface[1].network[0].prefix" in problems(THREE.replace('prefix = "2001:db8:5::/48"\n', ""))
    many = "".join(f'\n[[interface]]\nname = "eth{number}"\n' for number in range(8))
    assert "at most 8" in problems(MOBILE_ROUTER + many)["interface[8].name"][1]


def test_what_a_reload_may_change() -> None:
    before = read(THREE)
    check_uplinks_live(before, read(THREE.replace("cost = 2", "cost = 3") + VIDEO), Path("x.toml"))
    check_uplinks_live(before, read(THREE.replace('"sat0"', '"sat1"')), Path("x.toml"))
    for after in (THREE + "\n[multihoming]\nenabled = false\n", MOBILE_ROUTER):
        with pytest.raises(ConfigError) as caught:
            check_uplinks_live(before, read(after), Path("x.toml"))
        assert [problem.key for problem in caught.value.problems] == ["multihoming.enabled"]


def test_selectors_of_addresses_are_ranges() -> None:
    [flow] = policy(THREE + '\n[[flow]]\nname = "x"\nlocal = "192.0.2.0/24"\n').flows
    [selector] = flow.description.selectors()
    assert selector.destination == (IPv4Address("192.0.2.0"), IPv4Address("192.0.2.255"))
