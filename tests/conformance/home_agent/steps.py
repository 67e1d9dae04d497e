"""What several tests do or look at: probes, packets to and from mobile nodes, neighbour solicitations."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address

import pytest

from dsmip.wire.constants import BEStatus
from dsmip.wire.icmpv6 import EchoReply, EchoRequest
from tests.conformance.home_agent.conftest import HomeAgent
from tests.conformance.home_agent.mobiles import Mobile, in_tunnel, tunnelled
from tests.conformance.home_agent.world import (
    CORRESPONDENT,
    HOME_AGENT,
    NET,
    World,
    binding_errors,
    icmpv6,
)

ACKNOWLEDGE = pytest.mark.parametrize("acknowledge", [True, False], ids=["A=1", "A=0"])
BOTH_KINDS = pytest.mark.parametrize(
    "kind", [pytest.param("node", id="mobile-node"), pytest.param("router", id="mobile-router")]
)


def unused(home_agent: HomeAgent, kind: str) -> Mobile:
    """A mobile node or router nobody has used yet."""
    return home_agent.mobiles.node() if kind == "node" else home_agent.mobiles.router()


def is_bound(home_agent: HomeAgent, mobile: Mobile, care_of: IPv6Address | None = None) -> bool:
    """What the catalogue calls a probe; the form of either answer is looked at as well."""
    frames = home_agent.cables.ask_net(mobile.probe(care_of))
    errors = binding_errors(frames)
    replies = [frame for frame in frames if isinstance(frame.message, EchoReply)]
    assert len(errors) + len(replies) == 1
    for packet, error in errors:
        assert error.status == BEStatus.UNKNOWN_BINDING
        assert error.home_address == mobile.home
        assert packet.destination == (care_of or mobile.care_of)
        assert packet.routing_home_address is None
    for frame in replies:
        assert frame.packet is not None
        assert frame.packet.source == HOME_AGENT
        assert frame.packet.destination == (care_of or mobile.care_of)
        assert frame.packet.routing_home_address == mobile.home
    return bool(replies)


def tunnel_end(cables: World, destination: IPv6Address) -> IPv6Address | None:
    """Where the home agent tunnels packets to an address; None = not at all. They must be unchanged."""
    correspondent = cables.stranger()
    packet = icmpv6(EchoRequest(1, 2, bytes(64)), correspondent, destination)
    found = tunnelled(cables.ask_net(packet))
    cables.retired.add(correspondent)
    assert len(found) <= 1
    for outer, inner in found:
        assert outer.source == HOME_AGENT
        # The hop limit is one less: this is a router on the way (RFC 2473 section 3.1).
        assert inner[7] == packet[7] - 1
        assert inner[:7] + inner[8:] == packet[:7] + packet[8:]
    return found[0][0].destination if found else None


def from_tunnel(cables: World, source: IPv6Address, care_of: IPv6Address) -> list[bytes]:
    """A packet of `source` to the correspondent comes through the tunnel: what of it goes on."""
    inner = icmpv6(EchoRequest(3, 4, bytes(32)), source, CORRESPONDENT)
    frames = cables.ask_net(in_tunnel(inner, care_of))
    assert all(frame.link == NET for frame in frames), frames
    forwarded = [frame.data for frame in frames]
    for packet in forwarded:
        assert packet[:7] + packet[8:] == inner[:7] + inner[8:]
    return forwarded


def ids(values: Iterable[object]) -> list[str]:
    """Names of parameters."""
    return [str(value) for value in values]
