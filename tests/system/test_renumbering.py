"""The home network is renumbered: the daemon moves to another home address, and begins with it next time."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network

import pytest

from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import (
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    PrefixInformation,
    encode_icmpv6,
)
from dsmip.wire.packet import encode_packet
from tests.conformance.mobile_node_bed import (
    HOME_ADDRESS,
    HOME_AGENT,
    HOME_PREFIX,
    Answer,
    Bed,
    bed,
)
from tests.conformance.mobile_node_wire import icmp

pytestmark = pytest.mark.root

NEW_PREFIX = IPv6Network("2001:db8:101::/64")
NEW_ADDRESS = IPv6Address("2001:db8:101::1234")
GIVEN_UP = PrefixInformation(HOME_PREFIX, True, True, False, 3600, 0)
NEW = PrefixInformation(NEW_PREFIX, True, True, False, 86400, 86400)
ELSEWHERE = "2001:db8:c0::99"


@pytest.fixture
def mn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with bed(tmp_path_factory.mktemp("renumbering"), "mobile-node", name="renumber") as made:
        yield made


def advertise(mn: Bed, care_of: IPv6Address, identifier: int, *options: PrefixInformation) -> None:
    message = encode_icmpv6(MobilePrefixAdvertisement(identifier, options=options), HOME_AGENT, HOME_ADDRESS)
    mn.send(encode_packet(HOME_AGENT, care_of, message, NextHeader.ICMPV6, routing_home_address=HOME_ADDRESS))


def renumber(mn: Bed, care_of: IPv6Address) -> None:
    """Tell that the home prefix is given up, as a home agent does: unasked, then when asked."""
    mark = mn.wire.mark()
    advertise(mn, care_of, 1)
    frame = mn.wire.wait(icmp(MobilePrefixSolicitation), mark, 3.0, "a Mobile Prefix Solicitation")
    assert isinstance(frame.message, MobilePrefixSolicitation)
    advertise(mn, care_of, frame.message.identifier, GIVEN_UP, NEW)


def source(mn: Bed) -> str:
    """The address that new sessions of the mobile node have."""
    words = mn.node("ip", "-6", "route", "get", ELSEWHERE).split()
    return words[words.index("src") + 1]


def test_another_home_address_and_the_next_start_with_it(mn: Bed) -> None:
    care_of = mn.register()
    assert source(mn) == str(HOME_ADDRESS)
    renumber(mn, care_of)
    mn.until(lambda: mn.status().get("home_address") == str(NEW_ADDRESS), 5, "the new home address")
    mn.until(lambda: mn.status()["state"] == "registered", 5, "registered")
    assert mn.status()["former_home_address"] == str(HOME_ADDRESS)
    assert source(mn) == str(NEW_ADDRESS)
    # Both are reached and answer by the tunnel.
    assert mn.answers_ping(NEW_ADDRESS)
    assert mn.answers_ping(HOME_ADDRESS)
    assert "renumbered" in [event["event"] for event in mn.ask("events")]

    mn.stop()
    assert str(NEW_ADDRESS) not in mn.node("ip", "-6", "addr")
    mn.updates.clear()
    mn.start()
    mn.registered()
    assert mn.update()[1].packet.sender == NEW_ADDRESS
    assert source(mn) == str(NEW_ADDRESS)
    assert mn.answers_ping(NEW_ADDRESS)
    assert mn.answers_ping(HOME_ADDRESS)


def test_a_home_agent_that_refuses_is_told_to_the_operator(mn: Bed) -> None:
    care_of = mn.register()
    mn.answers = [Answer(fields={"status": 129})]
    renumber(mn, care_of)
    mn.until(lambda: "renumbering = true" in " ".join(mn.status().get("problems", [])), 5, "the mend")
    mn.until(lambda: mn.status()["state"] == "registered", 5, "registered")
    assert mn.status()["home_address"] == str(HOME_ADDRESS)
    assert source(mn) == str(HOME_ADDRESS)
    assert mn.answers_ping(HOME_ADDRESS)
    assert str(NEW_ADDRESS) not in mn.node("ip", "-6", "addr")
