"""A test bed for one mobile node: the real daemon on a cable, and everything beyond it played by the test.

The test plays routers, home agent and correspondent node at the other end of the cable. Visited networks
differ in router and prefix. The home agent accepts every Binding Update unless told otherwise.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from dsmip.core.actions import SendPacket
from dsmip.daemon.control import RUN_ROOT, ControlError, ask
from dsmip.lab import namespaces
from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import (
    EchoReply,
    EchoRequest,
    HomeAgentAddressDiscoveryReply,
    HomeAgentAddressDiscoveryRequest,
    MobilePrefixAdvertisement,
    NDOption,
    NeighborAdvertisement,
    NeighborSolicitation,
    PrefixInformation,
    RouterAdvertisement,
    RouterSolicitation,
    SourceLinkLayerAddress,
    TargetLinkLayerAddress,
    UnknownNDOption,
    encode_icmpv6,
)
from dsmip.wire.icmpv6message import Icmpv6Message
from dsmip.wire.messages import BindingUpdate
from dsmip.wire.options import MobilityOption
from dsmip.wire.packet import encode_packet
from tests.conformance.mobile_node_wire import ALL_NODES, Frame, Wire
from tests.core.mobile_node.mobile_node_bench import (
    CONFIG,
    HOME_ADDRESS,
    HOME_AGENT,
    HOME_PREFIX,
    KEY,
    MOBILE_PREFIX,
    SPI,
    Bench,
    Sent,
)

PREFIX = "dsmip-cfmn-"
CORRESPONDENT = IPv6Address("2001:db8:c0::1")
NODE_MAC = bytes.fromhex("0200005e2001")
LINK_LOCAL = IPv6Address("fe80::ff:fe5e:2001")
HOME_AGENT_MAC = bytes.fromhex("0200005e20aa")
LAN_NODE = IPv6Address("2001:db8:4::99")
LAN_NODE_MAC = bytes.fromhex("0200005e2099")
#: The mobile router's side of the mobile network.
LAN_ROUTER = MOBILE_PREFIX.network_address + 1
LAN_ROUTER_MAC = bytes.fromhex("0200005e3001")
UNSPECIFIED = IPv6Address(0)

_CONFIG = """role = "{role}"
name = "{name}"
identifier = "{identifier}"
home_agent = "{home_agent}"
home_address = "{home_address}"
home_prefix = "{home_prefix}"
spi = {spi}
key = "{key}"
state_directory = "{state}"
{more}
[[interface]]
name = "wan0"
"""


@dataclass(frozen=True)
class Router:
    """A router on the mobile node's link, and the network behind it."""

    number: int
    prefix: IPv6Network
    valid: int = 7200
    preferred: int = 3600
    lifetime: int = 1800
    home: bool = False

    @property
    def address(self) -> IPv6Address:
        return IPv6Address(f"fe80::{self.number:x}")

    @property
    def mac(self) -> bytes:
        return bytes.fromhex("0200005e10") + bytes((self.number,))

    def advertisement(self, **changes: Any) -> RouterAdvertisement:
        information = PrefixInformation(self.prefix, True, True, False, self.valid, self.preferred)
        message = RouterAdvertisement(self.lifetime, options=(information, SourceLinkLayerAddress(self.mac)))
        return replace(message, **changes)


HOME_ROUTER = Router(1, HOME_PREFIX, home=True)
_numbers = iter(range(2, 250))


def foreign(**settings: int) -> Router:
    """A visited network nobody has been to."""
    number = next(_numbers)
    return Router(number, IPv6Network(f"2001:db8:f{number:02x}::/64"), **settings)


@dataclass
class Answer:
    """What the home agent does with the next Binding Updates; `None` fields are as accepted."""

    silent: bool = False
    fields: dict[str, int] = field(default_factory=dict)
    options: tuple[MobilityOption, ...] = ()
    mangle: Callable[[bytes], bytes] | None = None


ACCEPT = Answer()
SILENCE = Answer(silent=True)


class Bed:
    """The daemon, its cable, and the world at the other end. `router` is the one on the link now."""

    def __init__(
        self,
        directory: Path,
        role: str,
        more: str = "",
        name: str = "conformance",
        home_agent: str = str(HOME_AGENT),
    ) -> None:
        # Two runs at a time do not meet: nothing they make has the same name.
        self.name = name = f"{name}-{os.getpid()}"
        self.directory = directory
        self.router: Router | None = None
        self.answers: list[Answer] = []  #: to the next Binding Updates; after them, `answer`
        self.answer = ACCEPT
        self.home_agents: dict[IPv6Address, Answer] = {}
        self.updates: list[tuple[Frame, Sent]] = []
        self.discovered: tuple[IPv6Address, ...] = ()  #: what a discovery is answered with, () = not at all
        self.requests: list[Frame] = []  #: discoveries since the last move
        self.resolves = True  #: the home agent answers neighbour solicitations on the home link
        self.deaf: set[IPv6Address] = set()  #: routers that do not answer
        self._scribe = Bench(CONFIG)
        self._process: subprocess.Popen[bytes] | None = None
        self._node, self._far = PREFIX + name, PREFIX + name + "-far"
        self._build(role == "mobile-router")
        self.wire = Wire(self._far, "far0", NODE_MAC)
        self.wire.handlers.append(self._react)
        self.lan: Wire | None = None
        if role == "mobile-router":
            self.lan = Wire(self._far, "lan1", LAN_ROUTER_MAC)
            self.lan.handlers.append(self._react_on_lan)
        self.config = directory / "node.toml"
        self.config.write_text(
            _CONFIG.format(
                role=role,
                name=name,
                identifier=CONFIG.identifier,
                home_agent=home_agent,
                home_address=HOME_ADDRESS,
                home_prefix=HOME_PREFIX,
                spi=SPI,
                key=KEY.hex(),
                state=directory / "state",
                more=more,
            )
        )
        self.wire.link.down()
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    # Life -------------------------------------------------------------------------------------------------

    def _build(self, router: bool) -> None:
        for namespace in (self._node, self._far):
            subprocess.run(["ip", "netns", "add", namespace], check=True)
        namespaces.set_sysctls(self._far, {"ipv6/conf/all/disable_ipv6": 1})
        # The kernel tells of a carrier at once only where the two indices differ (net/core/link_watch.c).
        lines = [
            f"link add wan0 index 101 netns {self._node} address {NODE_MAC.hex(':')}"
            f" type veth peer far0 index 201 netns {self._far}",
        ]
        if router:
            lines.append(
                f"link add lan0 index 102 netns {self._node} address {LAN_ROUTER_MAC.hex(':')}"
                f" type veth peer lan1 index 202 netns {self._far}"
            )
        namespaces.batch(lines)
        namespaces.batch(["link set lo up", "link set wan0 up"], self._node)
        namespaces.batch(["link set far0 up"], self._far)
        if router:
            namespaces.batch(["link set lan1 up"], self._far)
            namespaces.set_sysctls(self._node, {"ipv6/conf/lan0/accept_dad": 0})
            namespaces.batch(["link set lan0 up", f"addr add {LAN_ROUTER}/64 dev lan0 nodad"], self._node)

    def start(self) -> None:
        log = (self.directory / "node.log").open("ab")
        argv = [sys.executable, "-m", "dsmip", "run", str(self.config)]
        self._process = subprocess.Popen(
            namespaces.command(self._node, argv), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        log.close()
        self.until(lambda: bool(self.status()), 15, "the daemon answers")

    def close(self) -> None:
        self.stop()
        self.wire.close()
        if self.lan is not None:
            self.lan.close()
        for namespace in (self._node, self._far):
            subprocess.run(["ip", "netns", "del", namespace], check=False)
        for directory in (RUN_ROOT / "bpf" / self.name, RUN_ROOT / self.name):
            shutil.rmtree(directory, ignore_errors=True)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    # Looking ----------------------------------------------------------------------------------------------

    def ask(self, command: str) -> Any:
        try:
            return ask(self.name, command)
        except ControlError:
            return {}

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("status")
        return found

    def until(self, true: Callable[[], bool], seconds: float, what: str) -> None:
        """Play the world until something is the case."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"not within {seconds:g} s: {what}\n{self.log()}"
            self.play(0.02)

    def play(self, seconds: float) -> None:
        """Let the world go on for so long."""
        if self.lan is not None:
            self.lan.pump(0.0)
        self.wire.pump(seconds)
        if self.lan is not None:
            self.lan.pump(0.0)

    def log(self) -> str:
        lines = (self.directory / "node.log").read_text().splitlines()
        return "\n".join(lines[-30:])

    def node(self, *argv: str) -> str:
        """Run a command where the mobile node is."""
        command = namespaces.command(self._node, argv)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def start_beside(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start a program where the mobile node is."""
        return subprocess.Popen(
            namespaces.command(self._node, argv), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def inside(self, function: Callable[[], Any]) -> Any:
        """Call a function where the mobile node is."""
        return namespaces.call(self._node, function)

    # Moving -----------------------------------------------------------------------------------------------

    def unplug(self) -> None:
        """No carrier."""
        self.wire.link.down()
        self.until(self._is_nowhere, 5, "the mobile node sees that the carrier is gone")
        self.router = None

    def _is_nowhere(self) -> bool:
        found = self.ask("attachments")
        return bool(found) and found["interfaces"]["wan0"]["state"] == "down"

    def plug(self, router: Router) -> int:
        """Be at the end of another cable; returns the mark from which on everything happened there."""
        if self.router is not None or not self._is_nowhere():
            self.unplug()
        mark = self.wire.mark()
        self.updates.clear()
        self.requests.clear()
        self.router = router
        self.wire.link.up()
        return mark

    def register(self, router: Router | None = None) -> IPv6Address:
        """Be registered in a visited network; returns the care-of address."""
        self.answer, self.answers = ACCEPT, []
        self.plug(router or foreign())
        return self.registered()

    def registered(self) -> IPv6Address:
        """Wait until the binding is there."""
        self.until(lambda: self.status().get("state") == "registered", 5, "registered")
        return IPv6Address(self.status()["care_of"])

    def come_home(self, router: Router = HOME_ROUTER) -> int:
        """Back on the home link with the binding deleted."""
        self.answer, self.answers = ACCEPT, []
        mark = self.plug(router)
        self.until(lambda: self.status().get("state") == "at home", 5, "at home")
        return mark

    def update(self, number: int = 0, seconds: float = 5.0) -> tuple[Frame, Sent]:
        """A Binding Update sent since the last move (by default the first)."""
        self.until(lambda: len(self.updates) > number, seconds, f"Binding Update {number + 1}")
        return self.updates[number]

    def discovery(self) -> Frame:
        """The request of the one discovery since the last move, maybe repeated (RFC 6275 section 11.4.1)."""
        assert len({frame.packet.raw for frame in self.requests}) == 1, self.wire.tell(0)
        return self.requests[0]

    def fresh_update(self, seconds: float = 5.0) -> tuple[Frame, Sent]:
        """The next Binding Update from now on."""
        return self.update(len(self.updates), seconds)

    # The world --------------------------------------------------------------------------------------------

    def advertise(self, router: Router | None = None, **changes: Any) -> None:
        """An unsolicited Router Advertisement."""
        router = router or self.router
        assert router is not None
        self.wire.icmpv6(router.advertisement(**changes), router.address, ALL_NODES, router.mac)

    def send(self, packet: bytes) -> None:
        """A packet for the mobile node, by the router of its link."""
        assert self.router is not None
        self.wire.send(packet, self.router.mac)

    def acknowledge(self, sent: Sent, answer: Answer = ACCEPT) -> None:
        """Answer a Binding Update."""
        packet = self._scribe.acknowledgement(sent, answer.options, **answer.fields)
        self.send(answer.mangle(packet) if answer.mangle is not None else packet)

    def icmpv6(self, message: Icmpv6Message, care_of: IPv6Address) -> None:
        """An ICMPv6 message of the home agent to the care-of address."""
        octets = encode_icmpv6(message, HOME_AGENT, care_of)
        self.send(encode_packet(HOME_AGENT, care_of, octets, NextHeader.ICMPV6))

    def prefix_advertisement(
        self, care_of: IPv6Address, identifier: int, valid: int, *, reserved: bool = False
    ) -> None:
        """A mobile prefix advertisement; `reserved`: with reserved bits set and an option nobody knows."""
        information = PrefixInformation(HOME_PREFIX, True, True, False, valid, valid)
        options: tuple[NDOption, ...] = (information,)
        if reserved:
            options = (UnknownNDOption(250, bytes(6)), information)
        message = MobilePrefixAdvertisement(identifier, options=options)
        octets = bytearray(encode_icmpv6(message, HOME_AGENT, HOME_ADDRESS))
        if reserved:
            octets[7] |= 0x3F
            octets[2:4] = bytes(2)
            checksum = pseudo_checksum_v6(HOME_AGENT, HOME_ADDRESS, NextHeader.ICMPV6, bytes(octets))
            octets[2:4] = checksum.to_bytes(2, "big")
        packet = encode_packet(
            HOME_AGENT, care_of, bytes(octets), NextHeader.ICMPV6, routing_home_address=HOME_ADDRESS
        )
        self.send(packet)

    def tunnel(self, inner: bytes, care_of: IPv6Address, home_agent: IPv6Address = HOME_AGENT) -> None:
        """A packet for the mobile node, tunnelled by the home agent."""
        self.send(encode_packet(home_agent, care_of, inner, NextHeader.IPV6))

    def answers_ping(self, target: IPv6Address = HOME_ADDRESS, seconds: float = 1.0) -> bool:
        """Whether an Echo Request from the correspondent node, tunnelled, is answered by the tunnel."""
        mark = self.wire.mark()
        care_of = IPv6Address(self.status()["care_of"])
        self.tunnel(echo(CORRESPONDENT, target), care_of)
        try:
            frame = self.wire.wait(tunnelled_reply(target), mark, seconds)
        except AssertionError:
            return False
        assert frame.packet.source == care_of
        assert frame.packet.destination == HOME_AGENT
        assert frame.packet.home_address is None
        return True

    def _react(self, frame: Frame) -> None:
        match frame.message:
            case RouterSolicitation() if self._hears():
                self.advertise()
            case NeighborSolicitation(target=target):
                self._neighbour(frame, target)
            case HomeAgentAddressDiscoveryRequest(identifier, mobile_routers):
                self.requests.append(frame)
                if self.discovered and self.router is not None:
                    reply = HomeAgentAddressDiscoveryReply(identifier, self.discovered, mobile_routers)
                    self.icmpv6(reply, frame.packet.source)
            case BindingUpdate():
                action = SendPacket(b"")
                sent = Sent(frame.time, action, frame.packet, frame.message)
                self.updates.append((frame, sent))
                answer = self.home_agents.get(frame.packet.destination, self.answer)
                if self.answers:
                    answer = self.answers.pop(0)
                if not answer.silent and self.router is not None:
                    self.acknowledge(sent, answer)

    def _react_on_lan(self, frame: Frame) -> None:
        """A node of the mobile network answers for itself."""
        message = frame.message
        assert self.lan is not None
        if isinstance(message, NeighborSolicitation) and message.target == LAN_NODE:
            advertisement = NeighborAdvertisement(
                LAN_NODE, False, True, True, (TargetLinkLayerAddress(LAN_NODE_MAC),)
            )
            self.lan.icmpv6(advertisement, LAN_NODE, frame.packet.source, LAN_NODE_MAC, frame.source_mac)

    def _hears(self) -> bool:
        return self.router is not None and self.router.address not in self.deaf

    def _neighbour(self, frame: Frame, target: IPv6Address) -> None:
        router = self.router
        if router is None:
            return
        if target == router.address and self._hears():
            mac = router.mac
        elif router.home and self.resolves and target == HOME_AGENT:
            mac = HOME_AGENT_MAC
        elif router.home and target == CORRESPONDENT:
            mac = router.mac
        else:
            return
        solicited = frame.packet.source != UNSPECIFIED
        advertisement = NeighborAdvertisement(target, True, solicited, True, (TargetLinkLayerAddress(mac),))
        destination = frame.packet.source if solicited else ALL_NODES
        self.wire.icmpv6(advertisement, target, destination, mac, frame.source_mac if solicited else None)


def echo(source: IPv6Address, destination: IPv6Address, sequence: int = 1) -> bytes:
    """An Echo Request."""
    message = encode_icmpv6(EchoRequest(7, sequence, b"conformance"), source, destination)
    return encode_packet(source, destination, message, NextHeader.ICMPV6)


def tunnelled_reply(source: IPv6Address) -> Callable[[Frame], Frame | None]:
    """A tunnelled Echo Reply from this address."""

    def match(frame: Frame) -> Frame | None:
        inner = frame.inner
        found = inner is not None and isinstance(inner.message, EchoReply) and inner.packet.source == source
        return frame if found else None

    return match


@contextmanager
def bed(
    directory: Path,
    role: str,
    more: str = "",
    name: str = "conformance",
    home_agent: str = str(HOME_AGENT),
) -> Iterator[Bed]:
    """A bed for the tests of one module."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    made = Bed(directory, role, more, name, home_agent)
    try:
        yield made
    finally:
        made.close()
