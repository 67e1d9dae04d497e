"""A home network that is on no link: no neighbours, no duplicates, everything else alike."""

from __future__ import annotations

import pytest

from dsmip.wire.constants import BAStatus, BUFlag
from dsmip.wire.icmpv6 import DestinationUnreachable, EchoRequest
from tests.conformance.home_agent.conftest import HomeAgent
from tests.conformance.home_agent.neighbours import Neighbours
from tests.conformance.home_agent.steps import BOTH_KINDS, from_tunnel, is_bound, tunnel_end, unused
from tests.conformance.home_agent.world import HOME_AGENT, describe, icmpv6

pytestmark = pytest.mark.root


@pytest.mark.row("HA-BU-001", "HA-SEQ-001", "HA-SEQ-002", "HA-TUN-001", "HA-TUN-005", "NHA-RT-001")
@BOTH_KINDS
def test_ha_bu_001_virtual_home_link(virtual: HomeAgent, kind: str) -> None:
    mobile = unused(virtual, kind)
    answer = virtual.bind(mobile, flags=mobile.flags | BUFlag.L)
    # The acknowledgement comes at once, and the home link hears nothing.
    assert [frame.link for frame in answer.frames] == ["net"], describe(answer.frames)
    assert tunnel_end(virtual.cables, mobile.home) == mobile.care_of
    assert len(from_tunnel(virtual.cables, mobile.home, mobile.care_of)) == 1
    assert from_tunnel(virtual.cables, mobile.home, mobile.other_care_of) == []
    refused = virtual.send(mobile.update(sequence=15, care_of=mobile.other_care_of)).message
    assert (refused.status, refused.sequence) == (BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, 15)
    virtual.bind(mobile, sequence=16, care_of=mobile.other_care_of)
    assert tunnel_end(virtual.cables, mobile.home) == mobile.other_care_of
    assert virtual.send(mobile.update(sequence=17, lifetime=0)).message.status == BAStatus.ACCEPTED
    assert not is_bound(virtual, mobile)


@pytest.mark.row("HA-DHAAD-002", "NHA-DHAAD-001")
@pytest.mark.parametrize("mobile_routers", [False, True], ids=["R=0", "R=1"])
def test_ha_dhaad_002_virtual_home_link(virtual: HomeAgent, mobile_routers: bool) -> None:
    assert Neighbours(virtual.cables).ask(mobile_routers=mobile_routers).addresses == (HOME_AGENT,)


@pytest.mark.row("HA-TUN-001")
def test_ha_tun_001_nobody_is_there(virtual: HomeAgent) -> None:
    """RFC 4443 section 3.1: without a binding and without a link there is nowhere to send to."""
    mobile, source = virtual.mobiles.node(), virtual.cables.stranger()
    packet = icmpv6(EchoRequest(1, 1), source, mobile.home)
    virtual.cables.from_net(packet)
    frames = virtual.cables.wait_for(lambda frame: isinstance(frame.message, DestinationUnreachable))
    message = frames[-1].message
    assert isinstance(message, DestinationUnreachable)
    assert message.code == 3
