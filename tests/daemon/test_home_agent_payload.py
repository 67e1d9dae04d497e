"""Whom a home agent protects, as bindings, configurations and processes come and go."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from msgspec.structs import replace
from tests.daemon.home_agent_parts import HomeAgentParts, home_address
from tests.daemon.test_payload import FakeKernel

from dsmip.core.types import Binding, CareOfBinding, TunnelFormat
from dsmip.daemon.config.keys import Key
from dsmip.daemon.config.payload import PayloadAssociationTable, PayloadTable
from dsmip.daemon.config.schema import MobileNodeTable
from dsmip.daemon.home_agent.payload import HomeAgentPayload
from dsmip.daemon.payload import PayloadProtection
from dsmip.daemon.runtime import Runtime
from dsmip.dataplane.fake import FakeDataPlane

PAYLOAD = PayloadTable(
    to_home_agent=PayloadAssociationTable(spi=0x3001, key=Key(b"1" * 20)),
    from_home_agent=PayloadAssociationTable(spi=0x4001, key=Key(b"2" * 20)),
)
BUS_1 = IPv6Network(home_address(1))
MOBILE = IPv6Network("2001:db8:aaaa:7::/64")


class Parts:
    """bus-1 is protected, bus-2 is not."""

    def __init__(self, directory: Path, *, home_link: bool = False) -> None:
        plain = HomeAgentParts(directory, 2)
        self.engine = plain.engine
        nodes = plain.config.mobile_node
        served = (replace(nodes[0], payload=PAYLOAD), nodes[1])
        self.config = replace(plain.config, mobile_node=served, home_link="eth1" if home_link else None)
        self.nodes: dict[IPv6Address, MobileNodeTable] = {node.home_address: node for node in served}
        self.kernel, self.dataplane = FakeKernel(), FakeDataPlane()
        self.indexes = {address: self.engine.index_of(address) for address in self.nodes}
        self.index = self.indexes[home_address(1)]
        self.begin()

    def begin(self) -> None:
        """As a process that finds what is in kernel and data plane."""
        self.runtime = SimpleNamespace(dataplane=self.dataplane, payload=None)

        def protect_payload() -> PayloadProtection:
            if self.runtime.payload is None:
                self.runtime.payload = PayloadProtection(self.kernel, self.dataplane)
            return cast(PayloadProtection, self.runtime.payload)

        self.runtime.protect_payload = protect_payload
        self.payload = HomeAgentPayload(cast(Runtime, self.runtime), lambda: self.config, self.engine)

    def binding(self, number: int = 1) -> Binding:
        return Binding(
            home_address=home_address(number),
            index=self.indexes[home_address(number)],
            care_ofs=(
                CareOfBinding(
                    bid=0,
                    care_of=IPv6Address("2001:db8:6::1"),
                    format=TunnelFormat.IPV6,
                    lifetime=600.0,
                    updated=0.0,
                    expires=600.0,
                ),
            ),
            sequence=1,
            created=0.0,
            prefixes=(MOBILE,),
        )

    def under_esp(self) -> set[IPv6Network | IPv4Network]:
        """The mobile node's networks that policies speak of."""
        return {
            traffic.destination
            for (traffic, _), policy in self.kernel.standing.items()
            if policy.request is not None and policy.direction == 1
        }


def test_those_with_a_table_are_protected_before_anything_is_bound(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.payload.start(parts.nodes)
    assert parts.dataplane.protected() == {parts.index}
    assert parts.under_esp() == {BUS_1}


def test_nothing_is_asked_of_a_kernel_without_ipsec_unless_it_is_needed(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.payload.start({home_address(2): parts.nodes[home_address(2)]})
    parts.payload.installing(parts.binding(2))
    parts.payload.removed(parts.binding(2))
    assert parts.runtime.payload is None


def test_networks_come_with_the_binding_and_go_with_it(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.payload.start(parts.nodes)
    parts.payload.installing(parts.binding())
    assert parts.under_esp() == {BUS_1, MOBILE}
    parts.payload.removed(parts.binding())
    assert parts.under_esp() == {BUS_1}


def test_rfc3776_4_1_at_home_there_is_no_esp(tmp_path: Path) -> None:
    """Without a binding a mobile node is at home, where there is a home link."""
    parts = Parts(tmp_path, home_link=True)
    parts.payload.start(parts.nodes)
    assert parts.under_esp() == set()
    assert parts.dataplane.protected() == {parts.index}
    parts.payload.installing(parts.binding())
    assert parts.under_esp() == {BUS_1, MOBILE}
    parts.payload.removed(parts.binding())
    assert parts.under_esp() == set()
    assert parts.dataplane.protected() == {parts.index}


def test_another_configuration(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.payload.start(parts.nodes)
    before, former = dict(parts.nodes), dict(parts.indexes)
    later = {
        home_address(1): replace(parts.nodes[home_address(1)], payload=None),
        home_address(2): replace(parts.nodes[home_address(2)], payload=PAYLOAD),
    }
    parts.payload.changed(before, later, former)
    assert parts.dataplane.protected() == {parts.indexes[home_address(2)]}
    assert parts.under_esp() == {IPv6Network(home_address(2))}
    parts.payload.changed(later, {}, former)
    assert parts.dataplane.protected() == frozenset()
    assert (parts.kernel.standing, parts.kernel.states) == ({}, {})


@pytest.mark.parametrize("still", [True, False])
def test_another_process_finds_what_was_there(tmp_path: Path, still: bool) -> None:
    parts = Parts(tmp_path)
    parts.payload.start(parts.nodes)
    parts.begin()
    nodes = parts.nodes if still else {home_address(2): parts.nodes[home_address(2)]}
    parts.payload.start(nodes)
    assert parts.under_esp() == ({BUS_1} if still else set())
    assert parts.dataplane.protected() == ({parts.index} if still else frozenset())
