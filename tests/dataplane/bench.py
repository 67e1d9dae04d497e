"""One node on a bench: a tunnel device, an Ethernet uplink whose far end is watched, and a raw-IP uplink."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path as FilePath

from dsmip.core.types import IPAddress, Path, TunnelFormat
from dsmip.dataplane import libbpf
from dsmip.dataplane.api import Role
from dsmip.dataplane.bpf import BpfDataPlane, kernel_version
from dsmip.dataplane.tun import TunDevice
from tests.dataplane.namespaces import Namespace, veth
from tests.dataplane.packets import HOME4, HOME6, PORT, care_of_bid, ends, in_udp

TC_OK, TC_SHOT, TC_REDIRECT = 0xFFFFFFFF, 2, 7
BINDING = 5

_ETH_P_ALL, _ETH_P_IP, _ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
_PACKET_OUTGOING = 4
_VNET_HEADER = bytes(10)
#: From then on the kernel checks what a program makes of a checksum that the network card has computed.
_SUMMED = kernel_version() >= (6, 11)
_CONTEXT_SIZE = 192
_MARK_OFFSET = 8
_IFINDEX_OFFSET = 40

NODE6, NODE4 = ip_address("2001:db8:f::2"), ip_address("198.18.0.2")
ROUTER6, ROUTER4 = ip_address("2001:db8:f::1"), ip_address("198.18.0.1")
NODE_MAC = bytes.fromhex("020000000002")
ROUTER_MAC = bytes.fromhex("020000000001")


class Bench:
    """Everything in two namespaces, `role` fixed. Use as a context manager."""

    def __init__(
        self,
        name: str,
        role: Role,
        pins: FilePath,
        *,
        decapsulate_by_flags: bool | None = None,
        signalling_rate: int = 1_000_000,
    ) -> None:
        self._stack = ExitStack()
        self.role = role
        self.node, self.far = Namespace(f"{name}-node"), Namespace(f"{name}-far")
        self._stack.callback(self.node.delete)
        self._stack.callback(self.far.delete)
        veth(self.node, "u0", self.far, "u1")
        self.far.ip(f"link set u1 address {ROUTER_MAC.hex(':')}")
        self.node.ip(f"link set u0 address {NODE_MAC.hex(':')}")
        self.node.ip(f"addr add {NODE6}/64 dev u0")
        self.node.ip(f"addr add {NODE4}/24 dev u0")
        for router in (ROUTER6, ROUTER4):
            self.node.ip(f"neigh add {router} lladdr {ROUTER_MAC.hex(':')} dev u0 nud permanent")
            self.node.ip(f"route add default via {router} dev u0")
        with self.node.inside():
            self.device = TunDevice.open("dsmip0")
            self.raw = TunDevice.open("raw0")
            self.node.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
            for device in ("dsmip0", "raw0"):  # no packets of the kernel's own there
                self.node.sysctl(**{f"net__ipv6__conf__{device}__addr_gen_mode": 1})
                self.node.ip(f"link set {device} multicast off up")
            self.device_index = socket.if_nametoindex("dsmip0")
            self.uplink, self.raw_uplink = socket.if_nametoindex("u0"), socket.if_nametoindex("raw0")
            self._open = partial(
                BpfDataPlane.open,
                role,
                self.device_index,
                pins / name,
                decapsulate_by_flags=decapsulate_by_flags,
                signalling_rate=signalling_rate,
            )
            self.plane = self._open()
            self.plane.attach("u0")
            self.plane.attach("raw0")
            self._inner = self._tap("dsmip0")
            self.sender = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        with self.far.inside():
            self._wire = self._tap("u1")
            self._injector = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        for opened in (self._wire, self._inner, self.sender, self._injector):
            self._stack.callback(opened.close)
        self._stack.callback(self.raw.destroy)
        self._stack.callback(self.device.destroy)
        self._stack.callback(self._close_plane)

    def _close_plane(self) -> None:
        with self.node.inside():
            self.plane.close(keep=False)

    def restart(self) -> None:
        """Another process takes over."""
        with self.node.inside():
            self.plane.close(keep=True)
            self.plane = self._open()

    @staticmethod
    def _tap(interface: str) -> socket.socket:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        tap.bind((interface, _ETH_P_ALL))
        tap.setblocking(False)
        return tap

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # State -------------------------------------------------------------------------------------------------

    def bind(self, tunnel: TunnelFormat, *, until: float | None = None, interface: int | None = None) -> Path:
        """A binding with both home addresses, reached and arriving in this format only. Returns the path."""
        self.plane.remove_binding(BINDING)
        local, remote = self.ends(tunnel)
        port = PORT if in_udp(tunnel) else 0
        path = Path(tunnel, local, remote, port, port, self.uplink if interface is None else interface)
        self.plane.set_path(BINDING, path)
        self.plane.set_networks(BINDING, [ip_network(HOME6), ip_network(HOME4)])
        self.plane.add_local(local)
        self.plane.allow_source(BINDING, remote, port, until)
        return path

    def bind_bids(self, *bids: int, tunnel: TunnelFormat = TunnelFormat.IPV6) -> dict[int, Path]:
        """A binding with both home addresses and several paths, preferred in this order. Each has an address
        of its own: the mobile node's, whose last octets are the BID."""
        self.plane.remove_binding(BINDING)
        port = PORT if in_udp(tunnel) else 0
        paths = {}
        for bid in bids:
            local, remote = self.ends(tunnel)
            care_of = care_of_bid(bid, tunnel)
            if self.role is Role.HOME_AGENT:
                remote = care_of
            else:
                local = care_of
            paths[bid] = Path(tunnel, local, remote, port, port, self.uplink)
            self.plane.set_path(BINDING, paths[bid], bid)
            self.plane.add_local(local, 0 if self.role is Role.HOME_AGENT else bid)
            self.plane.allow_source(BINDING, remote, port, None, bid if self.role is Role.HOME_AGENT else 0)
        self.plane.set_preference(BINDING, bids)
        self.plane.set_networks(BINDING, [ip_network(HOME6), ip_network(HOME4)])
        return paths

    def bids_on_wire(self, wanted: int = 1, patience: float = 0.5) -> list[int]:
        """Over which paths of `bind_bids` packets have left the uplink."""
        found = []
        for frame in self.on_wire(wanted, patience):
            start = 14 + (20 if frame[12:14] == b"\x08\x00" else 40)
            source, destination = frame[start - 8 : start - 4], frame[start - 4 : start]
            if frame[12:14] == b"\x86\xdd":
                source = frame[start - 20 : start - 16]
            care_of = destination if self.role is Role.HOME_AGENT else source
            found.append(int.from_bytes(care_of[-2:], "big"))
        return found

    def ends(self, tunnel: TunnelFormat) -> tuple[IPAddress, IPAddress]:
        """Own outer address and the other end's."""
        care_of, home_agent = ends(tunnel)
        return (home_agent, care_of) if self.role is Role.HOME_AGENT else (care_of, home_agent)

    def drops_of(self, action: Callable[[], object]) -> dict[str, int]:
        """Reasons counted while `action` ran, with how many."""
        before = dict(self.plane.drops())
        action()
        return {reason: n - before[reason] for reason, n in self.plane.drops().items() if n != before[reason]}

    # Packets -----------------------------------------------------------------------------------------------

    def receive(
        self, packet: bytes, program: str = "uplink_ethernet", mark: int = 0
    ) -> tuple[int, bytes, int]:
        """Run an uplink's program on a frame; verdict, frame and mark afterwards. Nothing is sent."""
        return self._run(packet, program, mark, 0)

    def receive_at_uplink(self, packet: bytes) -> tuple[int, bytes, int]:
        """The same with a frame that has arrived on the Ethernet uplink, for its link-layer address."""
        with self.node.inside():
            return self._run(packet, "uplink_ethernet", 0, self.uplink)

    def _run(self, packet: bytes, program: str, mark: int, ifindex: int) -> tuple[int, bytes, int]:
        context = bytearray(_CONTEXT_SIZE)
        context[_MARK_OFFSET : _MARK_OFFSET + 4] = mark.to_bytes(4, "little")
        context[_IFINDEX_OFFSET : _IFINDEX_OFFSET + 4] = ifindex.to_bytes(4, "little")
        verdict, out, after = libbpf.run_program(
            self.plane.program(program), packet, bytes(context), summed=_SUMMED
        )
        return verdict, out, int.from_bytes(after[_MARK_OFFSET : _MARK_OFFSET + 4], "little")

    def send(self, packet: bytes) -> None:
        """Let the node send this packet into its tunnel device."""
        protocol = _ETH_P_IPV6 if packet[0] >> 4 == 6 else _ETH_P_IP
        try:
            self.sender.sendto(packet, ("dsmip0", protocol))
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # the program's TC_ACT_SHOT
                raise

    def on_wire(self, wanted: int = 1, patience: float = 0.5) -> list[bytes]:
        """Frames that left the Ethernet uplink, without the kernel's own (ICMPv6, ARP), waiting for each
        `patience` seconds."""
        return _collect(
            self._wire, wanted, lambda f: f[12:14] == b"\x08\x00" or f[20] not in (0, 58), patience
        )

    def upcalls(self) -> list[bytes]:
        """What the daemon would read now."""
        return _drain(self.device)

    def on_raw_wire(self) -> list[bytes]:
        """Packets that left the raw-IP uplink."""
        return _drain(self.raw)

    def arrive_raw(self, packet: bytes) -> None:
        """Let an IP packet arrive on the raw-IP uplink."""
        os.write(self.raw.fileno(), _VNET_HEADER + packet)

    def arrive_decrypted(self, packet: bytes) -> None:
        """Let an IP packet arrive on the tunnel device, as the kernel gives back what it has decrypted."""
        self.device.write(packet)

    def arrive(self, frame: bytes) -> None:
        """Let a frame arrive on the Ethernet uplink, for the node."""
        self._injector.sendto(NODE_MAC + ROUTER_MAC + frame[12:], ("u1", 0))

    def unwrapped(self, wanted: int = 1) -> list[bytes]:
        """Packets that came out of a tunnel, as the kernel receives them on the tunnel device."""
        return _collect(self._inner, wanted, lambda _: True)


def _drain(device: TunDevice) -> list[bytes]:
    found = []
    while (packet := device.read()) is not None:
        found.append(packet)
    return found


def _collect(
    tap: socket.socket, wanted: int, keep: Callable[[bytes], bool], patience: float = 0.5
) -> list[bytes]:
    """What a tap saw come in, until `wanted` are there or nothing more comes for a moment."""
    found: list[bytes] = []
    while len(found) < wanted and select.select([tap], [], [], patience)[0]:
        data, address = tap.recvfrom(65536)
        if address[2] != _PACKET_OUTGOING and keep(data):
            found.append(data)
    return found
