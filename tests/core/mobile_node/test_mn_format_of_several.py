"""Which tunnel format an IPv4 network takes, when it is one of several: the answer has to come from there."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from mobile_node_bench import at
from multihomed_world import MULTIHOMED, NATED, NATED_BID, WLAN, WLAN_BID
from real_home_agent_world import CONFIG, RealWorld

from dsmip.core.actions import SendDatagram, SendIPv4, SendPacket
from dsmip.core.types import TunnelFormat
from dsmip.wire.extensions import Extensions
from dsmip.wire.pathprobe import PROBE_FORMAT, ProbePayload

PUBLIC = replace(NATED, address=IPv4Address("198.51.100.77"), network="no NAT")


class FilteringWorld(RealWorld):
    """Protocol 41 is swallowed where `filtered`, while answers of another kind come over the other uplink."""

    filtered = False

    def _probe_arrives(self, action: SendPacket | SendDatagram | SendIPv4, payload: ProbePayload) -> None:
        if not self.filtered or not payload.flags & PROBE_FORMAT:
            super()._probe_arrives(action, payload)
            return
        now, sequence = at(self.time), payload.sequence & 0xFFFF
        self.node.echo_reply(payload.bid, sequence, now)
        self.node.echo_reply(WLAN_BID, sequence, now, replace(payload, bid=WLAN_BID).encode())
        self.node.echo_reply(payload.bid, sequence, now, replace(payload, flags=0).encode())

    @property
    def asked(self) -> set[int]:
        return {payload.bid for _, payload in self.probes if payload.flags & PROBE_FORMAT}


def test_a_network_that_takes_protocol_41_is_found_out_over_its_own_path() -> None:
    world = FilteringWorld(MULTIHOMED, CONFIG)
    world.move(WLAN, PUBLIC)
    world.wait(5.0)
    world.agree()
    assert world.asked == {NATED_BID}
    assert world.paths[NATED_BID].format is TunnelFormat.IPV4


def test_what_comes_over_another_path_proves_nothing() -> None:
    world = FilteringWorld(MULTIHOMED, CONFIG)
    world.filtered = True
    world.move(WLAN, PUBLIC)
    world.wait(5.0)
    world.agree()
    assert world.asked == {NATED_BID}
    assert world.paths[NATED_BID].format is TunnelFormat.UDP4
    assert [event.fields["result"] for event in world.kinds("probe")] == ["filtered"]


def test_a_home_agent_that_reflects_no_probes_is_not_asked() -> None:
    world = FilteringWorld(MULTIHOMED, replace(CONFIG, extensions=Extensions.NONE))
    world.move(WLAN, PUBLIC)
    world.wait(5.0)
    world.agree()
    assert not world.asked
    assert world.paths[NATED_BID].format is TunnelFormat.UDP4
