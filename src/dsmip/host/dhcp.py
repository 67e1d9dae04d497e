"""DHCPv4 on one link: pyroute2's client, made quick to retransmit, quiet on disk and safe to stop at any time.

The client's socket is replaced by one that needs no netlink dump and no watcher task of its own (the caller
knows index and hardware address), and that discards what does not parse instead of ending the receiver.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import Any

from pyroute2.dhcp import client as dhcp_client
from pyroute2.dhcp import hooks, leases
from pyroute2.dhcp.dhcp4msg import dhcp4msg
from pyroute2.dhcp.dhcp4socket import AsyncDHCP4Socket
from pyroute2.dhcp.enums.dhcp import Option
from pyroute2.dhcp.fsm import State
from pyroute2.dhcp.messages import ReceivedDHCPMessage

from dsmip.movement.actions import DhcpLease

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
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, ifindex: int, mac: bytes, known: DhcpLease | None) -> None:
        """Begin afresh: INIT-REBOOT with a known lease, otherwise INIT."""
        self.stop()
        task = asyncio.create_task(self._run(ifindex, mac, known), name=f"DHCP on {self._interface}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._current = task

    def stop(self) -> None:
        """Send and receive no more; the tasks end in their own time (`finished`)."""
        if self._current is not None:
            self._current.cancel()
            self._current = None

    async def finished(self) -> None:
        """Wait until everything that was stopped has ended."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, ifindex: int, mac: bytes, known: DhcpLease | None) -> None:
        while True:
            try:
                async with _Client(self._config(known, asyncio.current_task()), ifindex, mac) as client:
                    await client.bootstrap()
                    await client.failed()
            except OSError as error:
                LOG.info("DHCP on %s: %s", self._interface, error)
            await asyncio.sleep(RESTART_DELAY)

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
            lease_type=_lease_type(known),
            hooks=(granted, lost),
            requested_parameters=(
                Option.SUBNET_MASK,
                Option.ROUTER,
                Option.INTERFACE_MTU,
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


def _lease_type(known: DhcpLease | None) -> type:
    """A lease class that keeps nothing on disk; the one lease it can load is `known`."""

    class MemoryLease(leases.Lease):  # type: ignore[misc]
        def dump(self) -> None:
            """The engine remembers."""

        @classmethod
        def load(cls, interface: str) -> leases.Lease | None:
            """The lease to ask for again."""
            if known is None:
                return None
            return cls(dhcp4msg({"yiaddr": str(known.address)}), interface, known.server_mac.hex(":"))

    return MemoryLease


def _understood(lease: leases.Lease) -> DhcpLease:
    """What the engine needs of an acknowledgement. Without a subnet mask nothing but the router is on-link."""
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
    )


class _Socket(AsyncDHCP4Socket):  # type: ignore[misc]
    """The packet socket, for an interface whose index and address are known."""

    def __init__(self, interface: str, ifindex: int, mac: bytes) -> None:
        super().__init__(interface)
        self.ifindex = ifindex
        self.l2addr = mac.hex(":")

    async def __aenter__(self) -> _Socket:
        socket.socket.__init__(self, socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.setblocking(False)
        try:
            program, self.fprog = _compile(self.bpf)
            self.setsockopt(socket.SOL_SOCKET, 26, program)
            self.bind((self.ifname, _ETH_P_IP))
        except OSError:
            self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def get(self) -> ReceivedDHCPMessage:
        """The next message that is a well-formed reply to this client."""
        while True:
            frame = await self.loop.sock_recv(self, 4096)
            try:
                message = self._decode_msg(frame)
                reply = message.dhcp["op"] == _BOOTREPLY and message.dhcp["chaddr"] == self.l2addr
                message.message_type  # noqa: B018: raises if there is none
            except (ValueError, KeyError, IndexError, TypeError, struct.error) as error:
                LOG.debug("DHCP on %s: discarded a malformed message: %r", self.ifname, error)
                continue
            if reply:
                return message


def _compile(program: list[list[int]]) -> tuple[bytes, object]:
    from pyroute2.ext.bpf import compile as compile_filter

    code, keep = compile_filter(program)
    return code, keep


class _Client(dhcp_client.AsyncDHCPClient):  # type: ignore[misc]
    """The client with our socket and an exit that leaves nothing behind, whatever state it is in."""

    def __init__(self, config: Any, ifindex: int, mac: bytes) -> None:
        super().__init__(config)
        self._sock = _Socket(config.interface, ifindex, mac)
        self.last_state_change = time.time()

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
        await self._sock.__aexit__()
        self._xid = None
