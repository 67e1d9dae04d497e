"""One home agent daemon for (nearly) all rows; every test takes mobile nodes of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from dsmip.daemon.control import ask
from dsmip.wire.constants import BAStatus
from dsmip.wire.messages import BindingAcknowledgement
from dsmip.wire.packet import Packet
from tests.conformance.home_agent import mobiles, world
from tests.conformance.home_agent.mobiles import Mobile, Supply, acknowledgement
from tests.conformance.home_agent.world import Frame, World


class Registration(NamedTuple):
    """What came back for a Binding Update."""

    packet: Packet
    message: BindingAcknowledgement
    frames: list[Frame]


class HomeAgent:
    """The home agent under test, and who has not used it yet."""

    def __init__(self, cables: World) -> None:
        self.cables = cables
        self.mobiles = Supply()

    def send(self, update: bytes) -> Registration:
        """A Binding Update from a foreign link, which must be acknowledged exactly once."""
        frames = self.cables.ask_net(update)
        return Registration(*acknowledgement(frames), frames)

    def send_at_home(self, mobile: Mobile, update: bytes) -> Registration:
        """A Binding Update from the home link, where the mobile node answers for itself from now on."""
        self.cables.neighbours[mobile.home] = mobile.mac
        # The acknowledgement may have to wait for neighbour discovery.
        self.cables.from_home(update, source_mac=mobile.mac)
        frames = self.cables.wait_for(lambda frame: isinstance(frame.message, BindingAcknowledgement))
        return Registration(*acknowledgement(frames), frames)

    def bind(self, mobile: Mobile, **fields: object) -> Registration:
        """Register; must succeed."""
        answer = self.send(mobile.update(**fields))  # type: ignore[arg-type]
        assert answer.message.status in (
            BAStatus.ACCEPTED,
            BAStatus.ACCEPTED_PREFIX_DISCOVERY_NECESSARY,
        ), answer.message
        return answer

    def bindings(self) -> list[dict[str, Any]]:
        """What `dsmip bindings` shows."""
        found: list[dict[str, Any]] = ask(self.cables.instance, "bindings")
        return found

    def events(self) -> list[dict[str, Any]]:
        """What has happened lately."""
        found: list[dict[str, Any]] = ask(self.cables.instance, "events")
        return found

    def counters(self) -> dict[str, int]:
        """Packets refused, by reason."""
        found: dict[str, dict[str, int]] = ask(self.cables.instance, "stats")
        return {**found["signalling_refused"], **found["dataplane_dropped"]}

    def bound_node(self, **fields: object) -> Mobile:
        """A mobile node that is registered."""
        mobile = self.mobiles.node()
        self.bind(mobile, **fields)
        return mobile

    def bound_router(self, **fields: object) -> Mobile:
        """A mobile router that is registered."""
        mobile = self.mobiles.router()
        self.bind(mobile, **fields)
        return mobile


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HomeAgent]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    settings = "duplicate_address_detection = false\n" + mobiles.settings()
    with world.world("main", tmp_path_factory.mktemp("conformance"), settings) as cables:
        yield HomeAgent(cables)
        assert "Traceback" not in cables.log()


@pytest.fixture
def home_agent(running: HomeAgent) -> HomeAgent:
    """Nothing is left over from the test before."""
    running.cables.settle()
    running.cables.neighbours = {
        world.NEIGHBOUR: world.NEIGHBOUR_MAC,
        world.NEIGHBOUR_LINK_LOCAL: world.NEIGHBOUR_MAC,
    }
    return running


@pytest.fixture(scope="session")
def probing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HomeAgent]:
    """A home agent that probes its home link for duplicates: a second each."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with world.world("dad", tmp_path_factory.mktemp("conformance-dad"), mobiles.settings()) as cables:
        yield HomeAgent(cables)
        assert "Traceback" not in cables.log()


@pytest.fixture(scope="session")
def virtual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HomeAgent]:
    """A home agent whose home network is on no link."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    directory = tmp_path_factory.mktemp("conformance-virtual")
    with world.world("virtual", directory, mobiles.settings(), home_link=False) as cables:
        yield HomeAgent(cables)
        assert "Traceback" not in cables.log()
