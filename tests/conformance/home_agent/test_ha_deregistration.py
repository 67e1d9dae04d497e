"""De-registration from the home link and from away (RFC 6275 section 10.3.2, RFC 3963 section 6.7)."""

from __future__ import annotations

import pytest

from dsmip.wire.constants import BAFlag, BAStatus, BUFlag
from tests.conformance.home_agent.conftest import HomeAgent, Registration
from tests.conformance.home_agent.mobiles import Mobile
from tests.conformance.home_agent.steps import ACKNOWLEDGE, BOTH_KINDS, is_bound, tunnel_end, unused
from tests.conformance.home_agent.world import HOME

pytestmark = pytest.mark.root

#: Lifetime 0, or a care-of address that is the home address.
FORMS = pytest.mark.parametrize("lifetime", [0, 105], ids=["lifetime-0", "care-of-address-is-home-address"])
OPTION = pytest.mark.parametrize("option", [False, True], ids=["plain", "home-address-option"])


def deregister_at_home(
    home_agent: HomeAgent, mobile: Mobile, lifetime: int, option: bool, acknowledge: bool, sequence: int = 16
) -> Registration:
    """Send it and check where the answer goes: to the home address itself, on the home link."""
    flags = mobile.flags if acknowledge else mobile.flags & ~BUFlag.A
    update = mobile.update_at_home(sequence=sequence, lifetime=lifetime, option=option, flags=flags)
    answer = home_agent.send_at_home(mobile, update)
    assert answer.packet.destination == mobile.home
    assert answer.packet.routing_home_address is None
    frame = answer.frames[-1]
    assert (frame.link, frame.destination_mac) == (HOME, mobile.mac)
    return answer


@pytest.mark.row("HA-DR-002", "NHA-DR-001")
@BOTH_KINDS
@FORMS
@OPTION
@ACKNOWLEDGE
def test_ha_dr_002_at_home(
    home_agent: HomeAgent, kind: str, lifetime: int, option: bool, acknowledge: bool
) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile)
    answer = deregister_at_home(home_agent, mobile, lifetime, option, acknowledge).message
    assert (answer.status, answer.lifetime, answer.sequence) == (BAStatus.ACCEPTED, 0, 16)
    assert bool(answer.flags & BAFlag.R) == bool(mobile.prefixes)
    assert not is_bound(home_agent, mobile)
    for address in [mobile.home, *(prefix[5] for prefix in mobile.prefixes)]:
        assert tunnel_end(home_agent.cables, address) is None


@pytest.mark.row("NHA-DR-001")
@BOTH_KINDS
@ACKNOWLEDGE
def test_nha_dr_001_away(home_agent: HomeAgent, kind: str, acknowledge: bool) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile)
    flags = mobile.flags if acknowledge else mobile.flags & ~BUFlag.A
    packet, answer, _ = home_agent.send(mobile.update(sequence=16, lifetime=0, flags=flags))
    assert (answer.status, answer.lifetime, answer.sequence) == (BAStatus.ACCEPTED, 0, 16)
    assert bool(answer.flags & BAFlag.R) == bool(mobile.prefixes)
    assert (packet.destination, packet.routing_home_address) == (mobile.care_of, mobile.home)
    assert not is_bound(home_agent, mobile)
    for address in [mobile.home, *(prefix[5] for prefix in mobile.prefixes)]:
        assert tunnel_end(home_agent.cables, address) is None


@pytest.mark.row("HA-DR-003", "NHA-DR-002")
@BOTH_KINDS
@ACKNOWLEDGE
def test_ha_dr_003_away_without_binding(home_agent: HomeAgent, kind: str, acknowledge: bool) -> None:
    mobile = unused(home_agent, kind)
    flags = mobile.flags if acknowledge else mobile.flags & ~BUFlag.A
    packet, answer, _ = home_agent.send(mobile.update(lifetime=0, flags=flags))
    assert (answer.status, answer.sequence) == (BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE, 15)
    assert (packet.destination, packet.routing_home_address) == (mobile.care_of, mobile.home)


@pytest.mark.row("HA-DR-003", "NHA-DR-002")
@BOTH_KINDS
@FORMS
@OPTION
@ACKNOWLEDGE
def test_ha_dr_003_at_home_without_binding(
    home_agent: HomeAgent, kind: str, lifetime: int, option: bool, acknowledge: bool
) -> None:
    mobile = unused(home_agent, kind)
    answer = deregister_at_home(home_agent, mobile, lifetime, option, acknowledge).message
    assert (answer.status, answer.sequence) == (BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE, 16)


@pytest.mark.row("HA-DR-004", "NHA-DR-002")
@BOTH_KINDS
@FORMS
@OPTION
@ACKNOWLEDGE
def test_ha_dr_004_old_sequence_number(
    home_agent: HomeAgent, kind: str, lifetime: int, option: bool, acknowledge: bool
) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile)
    answer = deregister_at_home(home_agent, mobile, lifetime, option, acknowledge, sequence=14).message
    assert (answer.status, answer.sequence) == (BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, 15)
    assert is_bound(home_agent, mobile)


@pytest.mark.row("HA-DR-002")
def test_ha_dr_002_a_delayed_update_does_not_undo_it(home_agent: HomeAgent) -> None:
    """RFC 6275 section 10.3.2: the sequence number is remembered for MAX_DELETE_BCE_TIMEOUT."""
    mobile = home_agent.bound_node()
    deregister_at_home(home_agent, mobile, 0, False, True, sequence=17)
    packet, answer, _ = home_agent.send(mobile.update(sequence=16))
    assert (answer.status, answer.sequence) == (BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, 17)
    assert packet.destination == mobile.care_of
    assert not is_bound(home_agent, mobile)
