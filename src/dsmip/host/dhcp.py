"""DHCPv4 on one link: pyroute2's client, quick to retransmit, quiet on disk and safe to stop at any time.

The client's socket is replaced by one that needs no netlink dump and no watcher task of its own (the caller
knows index and hardware address), that discards what does not parse instead of ending the receiver, and that
stays open from one client to the next: closing a packet socket makes the kernel wait for all processors,
about 10 ms, which is more than a lease takes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import Any

from pyroute2.dhcp import client as dhcp_client
from pyroute2.dhcp import hooks, leases
from pyroute2.dhcp.dhcp4msg import dhcp4msg
from pyroute2.dhcp.dhcp4socket import AsyncDHCP4Socket
from pyroute2.dhcp.enums.dhcp import MessageType, Option
from pyroute2.dhcp.fsm import State
from pyroute2.dhcp.messages import ReceivedDHCPMessage
from pyroute2.ext import bpf

from dsmip.movement.actions import DhcpLease
from dsmip.wire.captiveportal import portal_url

LOG = logging.getLogger(__name__)

#: First wait for an answer and the longest, s. RFC 2131 section 4.1 begins with 4 s "for example", for a 10
#: Mb/s Ethernet; a node in motion cannot wait that long for a frame lost while the link came up.
FIRST_RETRANSMISSION = 0.25
LAST_RETRANSMISSION = 32.0

#: After so long without an answer INIT-REBOOT gives way to INIT, and REQUESTING begins again, s.
REBOOTING_TIMEOUT = 2
REQUESTING_TIMEOUT = 4

#: Wait before a client that failed (interface down, socket error) starts again, s.
RESTART_DELAY = 1.0

_SO_ATTACH_FILTER = 26
_ETH_P_IP = 0x0800
_BOOTREPLY = 2

OnLease = Callable[[DhcpLease], None]
OnLost = Callable[[IPv4Address], None]


def retransmission() -> Iterator[float]:
    """Seconds to wait before each retransmission: doubled each time, spread by a tenth (RFC 2131 4.1)."""
    delay = FIRST_RETRANSMISSION
    while True:
        yield delay * random.uniform(0.9, 1.1)
        delay = min(2 * delay, LAST_RETRANSMISSION)


class DhcpClient:
    """DHCPv4 on one interface. `start` and `stop` may be called in any order and as often as one likes.

    `on_lease` is called with each lease granted or renewed, `on_lost` when the server refuses one or it ends;
    neither after `stop`. Nothing is released: the lease is good when the node comes back.
    """

    def __init__(self, interface: str, on_lease: OnLease, on_lost: OnLost) -> None:
        self._interface = interface
        self._on_lease = on_lease
        self._on_lost = on_lost
        self._current: asyncio.Task[None] | None = None
        self._last: asyncio.Task[None] | None = None
        self._socket: _Socket | None = None

    def start(self, ifindex: int, mac: bytes, known: DhcpLease | None) -> None:
        """Begin afresh: INIT-REBOOT with a known lease, otherwise INIT."""
        self.stop()
        run = self._run(self._last, ifindex, mac, known)
        self._current = self._last = asyncio.create_task(run, name=f"DHCP on {self._interface}")

    def stop(self) -> None:
        """Send no more and report no more; what is left ends in its own time."""
        if self._current is not None:
            self._current.cancel()
            self._current = None

    async def close(self) -> None:
        """Stop, wait for the end and close the socket."""
        self.stop()
        if self._last is not None:
            await asyncio.wait((self._last,))
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _run(
        self, previous: asyncio.Task[None] | None, ifindex: int, mac: bytes, known: DhcpLease | None
    ) -> None:
        if previous is not None:
            await asyncio.wait((previous,))
            previous = None  # a chain of all tasks there ever were would stay in memory
        while True:
            try:
                sock = self._open(ifindex, mac)
                async with _Client(self._config(known, asyncio.current_task()), sock) as client:
                    await client.bootstrap()
                    await client.failed()
            except OSError as error:
                LOG.info("DHCP on %s: %s", self._interface, error)
            await asyncio.sleep(RESTART_DELAY)

    def _open(self, ifindex: int, mac: bytes) -> _Socket:
        """The socket of this interface; one of an interface that had its name before is closed."""
        if self._socket is not None and self._socket.ifindex != ifindex:
            self._socket.close()
            self._socket = None
        if self._socket is None:
            self._socket = _Socket(self._interface, ifindex)
        self._socket.l2addr = mac.hex(":")
        return self._socket

    def _config(self, known: DhcpLease | None, owner: asyncio.Task[None] | None) -> Any:
        @hooks.hook(hooks.Trigger.BOUND, hooks.Trigger.RENEWED, hooks.Trigger.REBOUND)  # type: ignore[untyped-decorator]
        async def granted(lease: leases.Lease) -> None:
            if self._current is owner:
                self._on_lease(_understood(lease))

        @hooks.hook(hooks.Trigger.UNBOUND, hooks.Trigger.EXPIRED)  # type: ignore[untyped-decorator]
        async def lost(lease: leases.Lease) -> None:
            if self._current is owner:
                self._on_lost(IPv4Address(lease.ip))

        return dhcp_client.ClientConfig(
            interface=self._interface,
            lease_type=_Leases(known),
            hooks=(granted, lost),
            requested_parameters=(
                Option.SUBNET_MASK,
                Option.ROUTER,
                Option.INTERFACE_MTU,
                Option.DHCP_CAPTIVE_PORTAL,
                Option.LEASE_TIME,
                Option.RENEWAL_TIME,
                Option.REBINDING_TIME,
                Option.SERVER_ID,
            ),
            timeouts={State.REBOOTING: REBOOTING_TIMEOUT, State.REQUESTING: REQUESTING_TIMEOUT},
            retransmission=retransmission,
            release=False,
            handle_signals=False,
            vendor_id=None,
            host_name=None,
        )


class _MemoryLease(leases.Lease):  # type: ignore[misc]
    """A lease that is not written anywhere: the engine remembers."""

    def dump(self) -> None:
        """Nothing to write."""

    @classmethod
    def load(cls, interface: str) -> None:
        """Nothing to read."""


class _Leases:
    """Stands for the lease class in the client's configuration: the one lease it can load is `known`."""

    def __init__(self, known: DhcpLease | None) -> None:
        self._known = known

    def __call__(self, ack: dhcp4msg, interface: str, server_mac: str) -> leases.Lease:
        return _MemoryLease(ack, interface, server_mac)

    def load(self, interface: str) -> leases.Lease | None:
        """The lease to ask for again."""
        known = self._known
        if known is None:
            return None
        return self(dhcp4msg({"yiaddr": str(known.address)}), interface, known.server_mac.hex(":"))


def _understood(lease: leases.Lease) -> DhcpLease:
    """What the engine needs of an acknowledgement. Without a subnet mask only the router is on-link."""
    options = lease.ack["options"]
    routers = options.get("router") or ()
    server = options.get("server_id")
    lifetime = options["lease_time"]
    mask = options.get("subnet_mask")
    return DhcpLease(
        address=IPv4Address(lease.ip),
        prefix_length=32 if mask is None else int(IPv4Address(mask)).bit_count(),
        obtained=lease.obtained,
        lifetime=None if lifetime == -1 else float(lifetime),
        gateway=IPv4Address(routers[0]) if routers else None,
        server=None if server is None else IPv4Address(server),
        server_mac=bytes.fromhex(lease.server_mac.replace(":", "")),
        mtu=options.get("interface_mtu"),
        portal=portal_url(bytes(options.get("dhcp_captive_portal") or b"")),
    )


class _Socket(AsyncDHCP4Socket):  # type: ignore[misc]
    """A packet socket opened in the constructor (OSError when that fails), for one client after another."""

    def __init__(self, interface: str, ifindex: int) -> None:
        super().__init__(interface)
        self.ifindex = ifindex
        self.l2addr = ""
        socket.socket.__init__(self, socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            program, self.fprog = bpf.compile(self.bpf)
            self.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
            self.bind((interface, _ETH_P_IP))
        except OSError:
            self.close()
            raise

    async def __aenter__(self) -> _Socket:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stay open."""

    async def get(self) -> ReceivedDHCPMessage:
        """The next message that is a well-formed reply to this client."""
        while True:
            frame = await self.loop.sock_recv(self, 4096)
            try:
                message = self._decode_msg(frame)
                reply = message.dhcp["op"] == _BOOTREPLY and message.dhcp["chaddr"] == self.l2addr
                kind = MessageType(message.message_type)
            except (ValueError, KeyError, IndexError, TypeError, struct.error) as error:
                LOG.debug("DHCP on %s: discarded a malformed message: %r", self.ifname, error)
                continue
            if reply:
                LOG.debug("DHCP on %s: %s", self.ifname, kind.name)
                return message


class _Client(dhcp_client.AsyncDHCPClient):  # type: ignore[misc]
    """The client with our socket and an exit that leaves nothing behind, whatever state it is in."""

    def __init__(self, config: Any, sock: _Socket) -> None:
        super().__init__(config)
        self._sock = sock

    async def failed(self) -> None:
        """Return when sending or receiving has ended: they go on for ever unless something is wrong."""
        await asyncio.wait((self._sender_task, self._receiver_task), return_when=asyncio.FIRST_COMPLETED)

    async def __aexit__(self, *_: object) -> None:
        self.lease_timers.cancel()
        self.state = State.OFF
        tasks = [task for task in (self._sender_task, self._receiver_task) if task is not None]
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, BaseException):
                LOG.info("DHCP on %s: %s", self.config.interface, outcome)
        self._xid = None
