"""A home agent daemon between two cables whose other ends the test holds: the Internet, and the home link.

The test is everybody else: visited networks, correspondents, neighbours on the home link. It writes frames
and reads what the home agent sends, with no other stack in between.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

from dsmip.daemon.control import RUN_ROOT, ControlError, ask
from dsmip.host.home_link import solicited_node
from dsmip.lab import namespaces
from dsmip.wire.constants import NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv6 import (
    Icmpv6Message,
    NeighborAdvertisement,
    NeighborSolicitation,
    TargetLinkLayerAddress,
    UnknownIcmpv6,
    decode_icmpv6,
    encode_icmpv6,
)
from dsmip.wire.message import Message
from dsmip.wire.messages import BindingError, UnknownMessage, decode_message, encode_message
from dsmip.wire.packet import Packet, decode_packet, encode_packet

ALL_NODES = IPv6Address("ff02::1")
UNSPECIFIED = IPv6Address("::")
HOME_PREFIX = IPv6Network("2001:db8:100::/64")
HOME_AGENT = IPv6Address("2001:db8:100::1")
HOME_AGENT_IPV4 = IPv4Address("192.0.2.1")
#: The home agent's link-local address on the home link, and its link-layer address there.
HOME_AGENT_LINK_LOCAL = IPv6Address("fe80::a2")
HOME_AGENT_MAC = bytes.fromhex("02000000a002")
UPLINK_MAC = bytes.fromhex("02000000a001")
ROUTER_MAC = bytes.fromhex("02000000b001")
#: A host on the home link, and one elsewhere.
NEIGHBOUR = IPv6Address("2001:db8:100::c1")
NEIGHBOUR_LINK_LOCAL = IPv6Address("fe80::c1")
NEIGHBOUR_MAC = bytes.fromhex("02000000c001")
CORRESPONDENT = IPv6Address("2001:db8:400::cafe")

#: An MH type nobody has assigned.
UNASSIGNED_MH_TYPE = 0xFF

NET, HOME = "net", "home"
_INTERFACES = {NET: "net0", HOME: "link0"}
_ETH_P_ALL, _ETH_P_IPV6, _ETH_P_IPV4 = 0x0003, 0x86DD, 0x0800
_PACKET_OUTGOING = 4
_MLD = (130, 131, 132, 143)
_PATIENCE = 5.0


@dataclass(frozen=True)
class Frame:
    """What the home agent sent on one of the cables."""

    link: str
    destination_mac: bytes
    source_mac: bytes
    ethertype: int
    data: bytes

    @cached_property
    def packet(self) -> Packet | None:
        """The IPv6 packet, None for anything else."""
        if self.ethertype != _ETH_P_IPV6:
            return None
        try:
            return decode_packet(self.data)
        except DecodeError:
            return None

    @cached_property
    def message(self) -> Message | Icmpv6Message | None:
        """The mobility or ICMPv6 message, with a checksum that is right."""
        packet = self.packet
        if packet is None:
            return None
        if packet.next_header == NextHeader.MOBILITY:
            return decode_message(packet.payload, packet.sender, packet.recipient)
        if packet.next_header == NextHeader.ICMPV6:
            return decode_icmpv6(packet.payload, packet.sender, packet.recipient)
        return None


@dataclass
class World:
    """One home agent; `settings` are further lines of its configuration file."""

    name: str
    directory: Path
    settings: str
    #: False: nobody is told of the home link, and the home prefix exists in the home agent only.
    has_home_link: bool = True
    #: Addresses on the home link that the test answers neighbour solicitations for.
    neighbours: dict[IPv6Address, bytes] = field(default_factory=dict)
    #: Senders of packets a neighbour may still be sought for: late errors to them are not shown.
    retired: set[IPv6Address] = field(default_factory=set)
    _strangers: int = 0

    def __post_init__(self) -> None:
        # Two runs at the same time do not meet.
        unique = f"{self.name}-{os.getpid()}"
        self.inside = f"dsmip-cf-{unique}-ha"
        self.outside = f"dsmip-cf-{unique}-out"
        self.instance = f"conformance-{unique}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._taps: dict[str, socket.socket] = {}
        self.neighbours.update({NEIGHBOUR: NEIGHBOUR_MAC, NEIGHBOUR_LINK_LOCAL: NEIGHBOUR_MAC})

    # Building ----------------------------------------------------------------------------------------------

    def up(self) -> None:
        namespaces.batch([f"netns add {self.inside}", f"netns add {self.outside}"])
        off = {"ipv6/conf/all/disable_ipv6": 1, "ipv6/conf/default/disable_ipv6": 1}
        namespaces.set_sysctls(self.outside, off)
        # The kernel asks for no routers in the time before the daemon makes it one.
        silent = {"ipv6/conf/default/accept_dad": 0, "ipv6/conf/default/router_solicitations": 0}
        namespaces.set_sysctls(self.inside, silent)
        namespaces.batch(
            [
                "link set lo up",
                f"link add up0 address {UPLINK_MAC.hex(':')} type veth peer net0 netns {self.outside}",
                f"link add home0 address {HOME_AGENT_MAC.hex(':')} type veth peer link0 netns {self.outside}",
                "link set up0 addrgenmode none",
                "link set home0 addrgenmode none",
                "addr add fe80::a1/64 dev up0",
                f"addr add {HOME_AGENT_LINK_LOCAL}/64 dev home0",
                f"addr add {HOME_AGENT}/64 dev home0",
                f"addr add {HOME_AGENT_IPV4}/24 dev up0",
                "link set up0 up",
                "link set home0 up",
            ],
            self.inside,
        )
        namespaces.batch(["link set net0 up promisc on", "link set link0 up promisc on"], self.outside)
        namespaces.batch(
            [
                f"neigh add fe80::b1 lladdr {ROUTER_MAC.hex(':')} dev up0 nud permanent",
                f"neigh add 192.0.2.254 lladdr {ROUTER_MAC.hex(':')} dev up0 nud permanent",
                "route add default via fe80::b1 dev up0",
                "route add default via 192.0.2.254 dev up0",
            ],
            self.inside,
        )
        self._taps = {link: self._tap(interface) for link, interface in _INTERFACES.items()}
        self._start()

    def _tap(self, interface: str) -> socket.socket:
        def opened() -> socket.socket:
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            tap.bind((interface, _ETH_P_ALL))
            tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
            tap.setblocking(False)
            return tap

        return namespaces.call(self.outside, opened)

    def _start(self) -> None:
        config = self.directory / "ha.toml"
        uplinks = 'uplinks = ["up0"]'
        if self.has_home_link:
            uplinks = 'uplinks = ["up0", "home0"]\nhome_link = "home0"'
        config.write_text(
            f'role = "home-agent"\nname = "{self.instance}"\naddress = "{HOME_AGENT}"\n'
            f'ipv4_address = "{HOME_AGENT_IPV4}"\nhome_prefixes = ["{HOME_PREFIX}"]\n'
            f"{uplinks}\nallow_unauthenticated = true\n"
            f'state_directory = "{self.directory / "state"}"\n{self.settings}'
        )
        self.run(sys.executable, "-m", "dsmip", "run", str(config))
        deadline = time.monotonic() + 30
        while True:
            try:
                ask(self.instance, "status")
                return
            except ControlError:
                assert time.monotonic() < deadline, self.log()
                assert self._processes[0].poll() is None, self.log()
                time.sleep(0.05)

    def run(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start a program beside the home agent; it goes away at the end."""
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(namespaces.command(self.inside, argv), stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def inside_output(self, *argv: str) -> str:
        """What a command says in the home agent's namespace."""
        done = subprocess.run(
            namespaces.command(self.inside, argv), capture_output=True, text=True, check=True
        )
        return done.stdout

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def down(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for tap in self._taps.values():
            tap.close()
        for name in (self.inside, self.outside):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        for directory in (RUN_ROOT / "bpf" / self.instance, RUN_ROOT / self.instance):
            shutil.rmtree(directory, ignore_errors=True)

    # Sending -----------------------------------------------------------------------------------------------

    def from_net(self, packet: bytes) -> None:
        """A packet arrives over the uplink."""
        self._taps[NET].send(UPLINK_MAC + ROUTER_MAC + _ethertype(packet).to_bytes(2) + packet)

    def from_home(
        self, packet: bytes, *, source_mac: bytes = NEIGHBOUR_MAC, destination_mac: bytes | None = None
    ) -> None:
        """A packet arrives over the home link; multicast groups have their own link-layer addresses."""
        destination = packet[24:40]
        if destination_mac is None:
            multicast = packet[0] >> 4 == 6 and destination[0] == 0xFF
            destination_mac = b"\x33\x33" + destination[12:] if multicast else HOME_AGENT_MAC
        self._taps[HOME].send(destination_mac + source_mac + _ethertype(packet).to_bytes(2) + packet)

    # Receiving ---------------------------------------------------------------------------------------------

    def frames(self, seconds: float) -> Iterator[Frame]:
        """What the home agent sends, until so much time has passed.

        Its own neighbour solicitations are answered and, like multicast listener reports, not shown.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select(list(self._taps.values()), [], [], left)
            if readable:
                net = list(_drain(NET, self._taps[NET]))
                # Read after the other cable, shown before it: what was sent on the home link before an answer
                # that is awaited on the other one is not missed.
                home = list(_drain(HOME, self._taps[HOME]))
                yield from [frame for frame in (*home, *net) if not self._is_housekeeping(frame)]

    def wait_for(self, wanted: Callable[[Frame], bool], seconds: float = _PATIENCE) -> list[Frame]:
        """Everything up to and including the first frame that is wanted; fails when it does not come."""
        seen: list[Frame] = []
        for frame in self.frames(seconds):
            seen.append(frame)
            if wanted(frame):
                return seen
        raise AssertionError(f"not within {seconds:g} s; seen instead: {describe(seen)}")

    def settle(self) -> list[Frame]:
        """Everything the home agent has to say to what it was sent so far.

        A message it must answer is sent after it: what did not come before that answer does not come at all.
        """
        stranger = self.stranger()
        message = UnknownMessage(UNASSIGNED_MH_TYPE, bytes(2))
        self.from_net(encode_packet(stranger, HOME_AGENT, encode_message(message, stranger, HOME_AGENT)))

        def answered(frame: Frame) -> bool:
            packet = frame.packet
            return packet is not None and packet.destination == stranger

        return self.wait_for(answered)[:-1]

    def stranger(self) -> IPv6Address:
        """An address somewhere in the Internet that was not used before."""
        self._strangers += 1
        return IPv6Address((0x20010DB8BAD0 << 80) + self._strangers)

    def ask_net(self, packet: bytes) -> list[Frame]:
        """Everything the home agent does about a packet from the uplink."""
        self.from_net(packet)
        return self.settle()

    def ask_home(self, packet: bytes, *, source_mac: bytes = NEIGHBOUR_MAC) -> list[Frame]:
        """Everything the home agent does about a packet from the home link."""
        self.from_home(packet, source_mac=source_mac)
        return self.settle()

    def _is_housekeeping(self, frame: Frame) -> bool:
        packet = frame.packet
        if packet is None:
            return frame.ethertype not in (_ETH_P_IPV6, _ETH_P_IPV4)
        if packet.destination in self.retired:
            return True
        if packet.next_header != NextHeader.ICMPV6:
            return False
        message = frame.message
        if isinstance(message, UnknownIcmpv6):
            return message.type in _MLD
        if not isinstance(message, NeighborSolicitation) or packet.source == UNSPECIFIED:
            return False
        mac = self.neighbours.get(message.target)
        if frame.link == HOME and mac is not None:
            answer = NeighborAdvertisement(
                message.target, solicited=True, override=True, options=(TargetLinkLayerAddress(mac),)
            )
            self.from_home(discovery(answer, message.target, packet.source), source_mac=mac)
        return True


@contextlib.contextmanager
def world(name: str, directory: Path, settings: str, *, home_link: bool = True) -> Iterator[World]:
    """A home agent for the time of the block."""
    made = World(name, directory, settings, home_link)
    try:
        made.up()
        yield made
    finally:
        made.down()


def discovery(message: Icmpv6Message, source: IPv6Address, destination: IPv6Address) -> bytes:
    """A neighbour discovery packet: its hop limit is 255."""
    payload = encode_icmpv6(message, source, destination)
    return encode_packet(source, destination, payload, NextHeader.ICMPV6, hop_limit=255)


def icmpv6(
    message: Icmpv6Message,
    source: IPv6Address,
    destination: IPv6Address,
    *,
    home_address: IPv6Address | None = None,
) -> bytes:
    """Any other ICMPv6 packet; the checksum is over the home address where there is one."""
    payload = encode_icmpv6(message, home_address or source, destination)
    return encode_packet(source, destination, payload, NextHeader.ICMPV6, home_address=home_address)


def solicitation(target: IPv6Address, source: IPv6Address, *options: TargetLinkLayerAddress) -> bytes:
    """A neighbour solicitation to the solicited-node group of its target."""
    return discovery(NeighborSolicitation(target, options), source, solicited_node(target))


def describe(frames: list[Frame]) -> str:
    """For failures."""
    shown = [f"{frame.link}: {frame.message or frame.data.hex()}" for frame in frames]
    return "\n".join(shown) or "nothing"


def binding_errors(frames: list[Frame]) -> list[tuple[Packet, BindingError]]:
    """Binding Errors, and the packets they were in."""
    return [
        (frame.packet, frame.message)
        for frame in frames
        if frame.packet is not None and isinstance(frame.message, BindingError)
    ]


def _ethertype(packet: bytes) -> int:
    return _ETH_P_IPV6 if packet[0] >> 4 == 6 else _ETH_P_IPV4


def _drain(link: str, tap: socket.socket) -> Iterator[Frame]:
    while True:
        try:
            data, address = tap.recvfrom(65536)
        except BlockingIOError:
            return
        if address[2] != _PACKET_OUTGOING:
            yield Frame(link, data[:6], data[6:12], int.from_bytes(data[12:14]), data[14:])
