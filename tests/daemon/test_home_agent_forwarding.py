"""What a home agent's bindings become in the data plane."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path as FilePath
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from dsmip.core.actions import InstallBinding
from dsmip.core.types import (
    Binding,
    CareOfBinding,
    FlowBinding,
    FlowRule,
    Nat,
    Path,
    TunnelFormat,
    UdpEndpoint,
)
from dsmip.daemon.config.loading import parse
from dsmip.daemon.config.schema import HomeAgentFile
from dsmip.daemon.home_agent import forwarding as home_agent_forwarding
from dsmip.daemon.home_agent.forwarding import Forwarding
from dsmip.daemon.home_agent.plan import defended
from dsmip.daemon.runtime import Runtime
from dsmip.dataplane.api import Traffic
from dsmip.dataplane.fake import FakeDataPlane
from dsmip.wire.extensions import Extensions
from dsmip.wire.trafficselectors import IPv6TrafficSelector

HOME = IPv6Address("2001:db8:100::17")
HA = IPv6Address("2001:db8:100::ffff")
HA4 = IPv4Address("192.0.2.1")
NEW_HOME = IPv6Address("2001:db8:101::17")
WIFI = IPv6Address("2001:db8:6::1")
OLD_WIFI = IPv6Address("2001:db8:7::1")
LTE4 = IPv4Address("198.51.100.7")
OUTSIDE4 = IPv4Address("203.0.113.99")
CONFIG = f"""
role = "home-agent"
name = "ha"
address = "{HA}"
ipv4_address = "{HA4}"
uplinks = ["eth0"]
home_link = "eth1"
home_prefixes = ["2001:db8:100::/64"]
[[mobile_node]]
name = "bus-17"
home_address = "{HOME}"
mobile_network_prefixes = ["2001:db8:aaaa:17::/64"]
key = "6d6f62696c652d697076362d6b657921"
"""
SELECTOR = IPv6TrafficSelector(next_header=(17, 17))
END = 5000.0


class Loop:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[[], None]) -> None:
        self.calls.append((self.now + delay, call))

    def get_running_loop(self) -> Loop:
        return self

    def after(self, seconds: float) -> None:
        self.now += seconds
        due = [call for at, call in self.calls if at <= self.now]
        self.calls = [(at, call) for at, call in self.calls if at > self.now]
        for call in due:
            call()


class Parts:
    """A data plane and what puts bindings into it."""

    def __init__(self, *, adopted: bool = False, dataplane: FakeDataPlane | None = None) -> None:
        config = parse(CONFIG, FilePath("ha.toml"))
        assert isinstance(config, HomeAgentFile)
        self.config = config
        self.dataplane = dataplane or FakeDataPlane()
        self.dataplane.adopted = adopted
        self.bindings: dict[IPv6Address, Binding] = {}
        runtime = SimpleNamespace(dataplane=self.dataplane, changes=nullcontext, retired=Traffic())
        self.forwarding = Forwarding(cast(Runtime, runtime), lambda: self.config)
        self.forwarding.home_link = 7

    def put(self, *care_ofs: CareOfBinding, grace: float = 3.0, fresh: bool = False, **fields: Any) -> None:
        previous = None if fresh else self.bindings.get(HOME)
        binding = Binding(HOME, 1, care_ofs, 1, 0.0, **fields)
        self.bindings[HOME] = binding
        self.forwarding.install(InstallBinding(binding, previous, grace))

    @property
    def paths(self) -> dict[int, Path]:
        return {bid: path for (_, bid), path in self.dataplane.installed.items()}

    @property
    def sources(self) -> dict[tuple[Any, int], tuple[float | None, int]]:
        return {(address, port): until for (_, address, port), until in self.dataplane.sources.items()}


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(home_agent_forwarding, "asyncio", loop)
    return loop


@pytest.fixture
def parts(loop: Loop) -> Parts:
    return Parts()


def wifi(bid: int = 1, address: IPv6Address = WIFI, *, ends: float = END, priority: int = 0) -> CareOfBinding:
    return CareOfBinding(bid, address, TunnelFormat.IPV6, 600.0, 0.0, 600.0, priority, ends=ends)


def lte(bid: int = 2, *, priority: int = 0, ends: float = END) -> CareOfBinding:
    return CareOfBinding(
        bid,
        OUTSIDE4,
        TunnelFormat.UDP4,
        600.0,
        0.0,
        600.0,
        priority,
        nat_source=UdpEndpoint(OUTSIDE4, 61000),
        nat=Nat.DETECTED,
        home_agent_ipv4=HA4,
        ends=ends,
    )


def at_home(bid: int = 3) -> CareOfBinding:
    return CareOfBinding(bid, HOME, TunnelFormat.LINK, 600.0, 0.0, 600.0, at_home=True, ends=END)


def test_a_plain_binding(parts: Parts) -> None:
    parts.put(wifi(0))
    assert parts.paths == {0: Path(TunnelFormat.IPV6, HA, WIFI, expires=END)}
    assert parts.sources == {(WIFI, 0): (END, 0)}
    assert parts.dataplane.preference == {}
    assert parts.dataplane.networks == {IPv6Network(f"{HOME}/128"): 1}


def test_several_care_of_addresses(parts: Parts) -> None:
    parts.put(lte(priority=1), wifi(priority=2, ends=4000.0))
    assert parts.paths == {
        1: Path(TunnelFormat.IPV6, HA, WIFI, expires=4000.0),
        2: Path(TunnelFormat.UDP4, HA4, OUTSIDE4, 4191, 61000, expires=END),
    }
    assert parts.sources == {(WIFI, 0): (4000.0, 1), (OUTSIDE4, 61000): (END, 2)}
    assert parts.dataplane.preference == {1: (2, 1)}


def test_without_a_nat_both_formats_are_good_under_the_same_bid(parts: Parts) -> None:
    plain = replace(
        lte(), care_of=LTE4, nat=Nat.NONE, nat_source=UdpEndpoint(LTE4, 4191), format=TunnelFormat.IPV4
    )
    parts.put(plain)
    assert parts.sources == {(LTE4, 0): (END, 2), (LTE4, 4191): (END, 2)}


def test_from_plain_to_several_and_back(parts: Parts, loop: Loop) -> None:
    other = WIFI + 1
    parts.put(wifi(0, other))
    parts.put(wifi(1), lte())
    assert parts.paths.keys() == {1, 2}
    assert parts.dataplane.preference == {1: (1, 2)}
    assert parts.sources[other, 0] == (103.0, 0)
    loop.after(3)
    assert parts.sources.keys() == {(WIFI, 0), (OUTSIDE4, 61000)}
    parts.put(wifi(0, other))
    assert parts.paths.keys() == {0}
    assert parts.dataplane.preference == {}
    loop.after(3)
    assert parts.sources == {(other, 0): (END, 0)}


def test_one_moves_and_the_others_are_left_alone(parts: Parts, loop: Loop) -> None:
    second = lte()
    parts.put(wifi(), second)
    untouched = parts.paths[2]
    parts.put(wifi(1, WIFI + 1), second)
    assert parts.paths[1].remote == WIFI + 1
    assert parts.paths[2] is untouched
    # Packets in flight from the previous care-of address of the same BID.
    assert parts.sources[WIFI, 0] == (103.0, 1)
    loop.after(3)
    assert (WIFI, 0) not in parts.sources


def test_one_comes_back_before_its_grace_ends(parts: Parts, loop: Loop) -> None:
    parts.put(wifi(), lte())
    parts.put(lte())
    assert parts.paths.keys() == {2}
    assert parts.sources[WIFI, 0] == (103.0, 1)
    loop.after(1)
    parts.put(wifi(4), lte())
    assert parts.sources[WIFI, 0] == (END, 4)
    loop.after(5)
    assert parts.sources[WIFI, 0] == (END, 4)


def test_what_has_expired_has_no_grace(parts: Parts) -> None:
    parts.put(wifi(), lte())
    parts.put(lte(), grace=0.0)
    assert parts.sources.keys() == {(OUTSIDE4, 61000)}
    assert parts.paths.keys() == {2}
    assert parts.dataplane.preference == {1: (2,)}


def test_a_renewal_lasts_longer(parts: Parts) -> None:
    parts.put(wifi(), lte())
    parts.put(wifi(ends=END + 100), lte())
    assert parts.paths[1].expires == END + 100
    assert parts.sources[WIFI, 0] == (END + 100, 1)


def test_an_address_under_two_bids_is_good_as_long_as_one_of_them(parts: Parts, loop: Loop) -> None:
    parts.put(wifi(1, ends=END + 5), wifi(2))
    assert parts.sources == {(WIFI, 0): (END + 5, 1)}
    parts.put(wifi(2))
    assert parts.sources == {(WIFI, 0): (END, 2)}
    loop.after(10)
    assert parts.sources == {(WIFI, 0): (END, 2)}


def test_flows_and_duplication(parts: Parts) -> None:
    flows = (FlowBinding(10, 1, SELECTOR, (1, 2)), FlowBinding(11, 2, SELECTOR, (9,)))
    parts.put(wifi(), lte(), flows=flows, extensions=Extensions.DUPLICATION)
    # Inactive ones, too: the data plane passes over them, and they come back with their care-of address.
    assert parts.dataplane.flows == {1: (FlowRule(SELECTOR, (1, 2)), FlowRule(SELECTOR, (9,)))}
    assert parts.dataplane.duplicating == {1}
    parts.put(wifi(), lte())
    assert parts.dataplane.flows == {}
    assert parts.dataplane.duplicating == set()


def test_home_and_foreign_at_the_same_time(parts: Parts) -> None:
    parts.put(wifi(), at_home())
    link = parts.paths[3]
    assert (link.format, link.interface, link.next_hop, link.expires) == (TunnelFormat.LINK, 7, HOME, END)
    assert parts.sources.keys() == {(WIFI, 0)}
    # RFC 5648 section 6.3: the mobile node defends its home address itself.
    assert defended(parts.bindings[HOME], parts.config) == []
    parts.put(wifi())
    assert defended(parts.bindings[HOME], parts.config) == [HOME]


def test_the_way_home_of_a_mobile_network_ends_with_the_registration(parts: Parts) -> None:
    (node,) = parts.config.mobile_node
    parts.forwarding.lead_home(1, node, HOME)
    assert parts.paths[0].format is TunnelFormat.LINK
    parts.put(wifi(), lte())
    assert parts.paths.keys() == {1, 2}
    parts.forwarding.remove(parts.bindings[HOME], node)
    assert parts.paths.keys() == {0}
    assert parts.dataplane.preference == {}
    parts.forwarding.remove(parts.bindings[HOME], None)
    assert parts.paths == {}


def test_what_an_earlier_process_left_is_put_right(loop: Loop) -> None:
    before = Parts()
    flows = (FlowBinding(10, 1, SELECTOR, (1, 2)),)
    before.put(wifi(), lte(), flows=flows, extensions=Extensions.DUPLICATION)
    after = Parts(adopted=True, dataplane=before.dataplane)
    after.put(wifi(5, WIFI + 1), fresh=True)
    assert after.paths.keys() == {5}
    assert after.sources.keys() == {(WIFI + 1, 0)}
    assert after.dataplane.preference == {1: (5,)}
    assert after.dataplane.flows == {}
    assert after.dataplane.duplicating == set()


@pytest.fixture
def renumbered(parts: Parts) -> Parts:
    """Bound in the Wi-Fi under one home address, then under another from the same place."""
    parts.put(wifi(0, OLD_WIFI))
    parts.put(wifi(0))  # a grace begins
    old = parts.bindings.pop(HOME)
    new = replace(old, home_address=NEW_HOME, former=HOME)
    parts.bindings[NEW_HOME] = new
    parts.forwarding.install(InstallBinding(new, old, 3.0))
    return parts


def test_another_home_address_takes_the_place_of_the_former_one_beside_it(renumbered: Parts) -> None:
    assert renumbered.dataplane.networks == {IPv6Network(NEW_HOME): 1, IPv6Network(HOME): 1}
    binding = renumbered.bindings[NEW_HOME]
    renumbered.forwarding.install(InstallBinding(replace(binding, former=None), binding, 3.0))
    assert renumbered.dataplane.networks == {IPv6Network(NEW_HOME): 1}


def test_the_way_home_of_a_mobile_network_leads_to_the_home_address_in_use(renumbered: Parts) -> None:
    prefixes = ("2001:db8:100::/64", "2001:db8:101::/64")
    renumbered.config = replace(renumbered.config, home_prefixes=tuple(map(IPv6Network, prefixes)))
    (node,) = renumbered.config.mobile_node
    renumbered.forwarding.remove(renumbered.bindings[NEW_HOME], node)
    assert (renumbered.paths[0].format, renumbered.paths[0].next_hop) == (TunnelFormat.LINK, NEW_HOME)


def test_a_grace_ends_as_if_the_home_address_had_not_changed(renumbered: Parts, loop: Loop) -> None:
    before = renumbered.bindings[NEW_HOME]
    back = replace(before, care_ofs=(wifi(0, OLD_WIFI),))
    renumbered.bindings[NEW_HOME] = back
    renumbered.forwarding.install(InstallBinding(back, before, 3.0))
    loop.after(3.1)
    assert list(renumbered.sources) == [(OLD_WIFI, 0)]


def test_both_home_addresses_are_defended_on_the_home_link(renumbered: Parts) -> None:
    prefixes = ("2001:db8:100::/64", "2001:db8:101::/64")
    config = replace(renumbered.config, home_prefixes=tuple(map(IPv6Network, prefixes)))
    assert set(defended(renumbered.bindings[NEW_HOME], config)) == {HOME, NEW_HOME}
