"""The home agent engine (RFC 6275 sections 9 and 10, RFC 3963 section 6, RFC 5555 section 4.5).

Packets and time go in, actions come out. For an accepted Binding Update they are, in this order: store the
binding, install it in the data plane, send the acknowledgement, tell. Nothing that fails its checks leaves a
trace but a counted `Drop`.

This room takes packets apart as far as the Binding Update in them; `registrar` has the state and
decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from random import Random

from dsmip.core.actions import (
    Action,
    Drop,
    SendDatagram,
    SendError,
    SendIPv4,
    SendPacket,
    StoreBinding,
    StoreReplay,
    TooBig,
)
from dsmip.core.authentication import clock_difference
from dsmip.core.binding_cache import BindingCache
from dsmip.core.frozen_entries import number_of
from dsmip.core.home_agent.authentication import authenticate
from dsmip.core.home_agent.changes import compare
from dsmip.core.home_agent.clock import TimestampClock
from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.home_agent.icmp import HomeAgentIcmp
from dsmip.core.home_agent.nodes import ServedNode, ServedNodes
from dsmip.core.home_agent.registrar import Registrar
from dsmip.core.home_agent.replies import Answer, Replies
from dsmip.core.home_agent.too_big import too_big
from dsmip.core.home_agent.unreachable import unreachable
from dsmip.core.rate_limit import RateLimit
from dsmip.core.registration import Request, read_request
from dsmip.core.standing import Standing, claim_of, is_proven, standing_at_home_agent
from dsmip.core.types import Binding, Instant, IPAddress, ReplayState
from dsmip.wire.constants import HOST_MH_TYPES, BAStatus, BEStatus, NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv6 import EchoRequest, MobilePrefixSolicitation, decode_icmpv6
from dsmip.wire.ip import IPV4_HEADER_SIZE, IPV6_HEADER_SIZE, is_unicast_routable
from dsmip.wire.messages import BindingUpdate, UnknownMessage, decode_message
from dsmip.wire.packet import Packet, decode_packet

__all__ = ["HomeAgent", "HomeAgentConfig"]

#: Answers at once to packets of unknown origin, whatever the rate: Binding Errors and ICMP.
ERROR_BURST = 10

#: The same for status 146: that also answers somebody who only knows the mobile node's addresses.
AUTHENTICATION_FAILURE_RATE = 100.0
AUTHENTICATION_FAILURE_BURST = 100

_ADDRESS_SIZE = 16

_REASONS = {
    BAStatus.MIPV6_AUTH_FAIL: "authentication-failed",
    BAStatus.MIPV6_ID_MISMATCH: "replay",
    BAStatus.MIPV6_MESG_ID_REQD: "timestamp-missing",
}


class HomeAgent:
    """One home agent. Times are `Instant`s; drain `actions` and ask `timeout` anew after every call."""

    def __init__(self, config: HomeAgentConfig, randomness: Random | None = None) -> None:
        """`randomness` decides about order and delay where the RFCs want chance."""
        self._config = config
        self._actions: list[Action] = []
        self._nodes = ServedNodes(config.mobile_nodes, config.home_prefixes if config.renumbering else ())
        self._replies = Replies(
            config.address, force_udp=config.udp == "force", nat_keepalive=config.nat_keepalive
        )
        self._registrar = Registrar(config, self._nodes, self._replies, self._actions.append)
        self._icmp = HomeAgentIcmp(
            config,
            self._registrar.bindings,
            self._actions.append,
            randomness or Random(),
            self._demands_ipsec,
        )
        self._registrar.watch(self._icmp.bound)
        self._registrar.bindings.watch(self._icmp.unbound)
        self._clock = TimestampClock(config.timestamp_tolerance)
        self._errors = _error_limit(config)
        self._failures = RateLimit(AUTHENTICATION_FAILURE_RATE, AUTHENTICATION_FAILURE_BURST)
        self._address = config.address.packed
        self._ipv4_address = config.ipv4_address.packed if config.ipv4_address is not None else None

    # Outside view ------------------------------------------------------------------------------------------

    @property
    def bindings(self) -> BindingCache:
        """The binding cache, by home address; not to be changed."""
        return self._registrar.bindings.cache

    def binding_of(self, address: IPAddress) -> Binding | None:
        """The binding that an inner address belongs to: of a mobile node or of a network behind one."""
        return self._registrar.bindings.binding_of(address)

    def actions(self) -> list[Action]:
        """What is to be done since the last call, in order."""
        self._registrar.undoing.hand_over()
        actions = self._actions[:]
        self._actions.clear()
        return actions

    def timeout(self) -> float | None:
        """CLOCK_MONOTONIC seconds at which `tick` should be called, None = not needed."""
        deadlines = (self._registrar.timeout(), self._icmp.timeout())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def index_of(self, home_address: IPv6Address) -> int:
        """The data plane's number for this configured mobile node, bound or not: it never changes.

        Ask after `resume`. A new number is written to the store. Raises KeyError for an unknown home
        address.
        """
        node = self._nodes.get(home_address)
        if node is None:
            raise KeyError(home_address)
        if self._nodes.give_index(node):
            self._actions.append(StoreReplay(node.replay))
        return node.index

    def record_of(self, home_address: IPv6Address) -> bytes | None:
        """What the mobile node with this configured home address is configured with, as octets."""
        node = self._nodes.configured(int(home_address))
        return None if node is None else node.record

    def unbound(self) -> Iterator[tuple[IPv6Address, int]]:
        """Configured home address and index (0 = none yet) of the mobile nodes without a binding."""
        for node in self._nodes:
            if not self.bindings.has(node.number):
                yield IPv6Address(number_of(node.record)), node.index

    def bound_indexes(self) -> set[int]:
        """Indexes of the mobile nodes that have one."""
        return {node.index for node in self._nodes if self.bindings.has(node.number)}

    def binding_of_node(self, home_address: IPv6Address) -> Binding | None:
        """The binding of the mobile node configured with this home address, which may be using another."""
        node = self._nodes.get(home_address)
        return None if node is None else self._registrar.bindings.of(node)

    def configured_address(self, home_address: IPv6Address) -> IPv6Address:
        """The home address that the mobile node using this one is configured with."""
        node = self._nodes.get(home_address)
        return home_address if node is None else node.entry.home_address

    def standing(self, packet: bytes) -> tuple[Standing, bytes]:
        """Whose signalling this seems to be, at a glance, and of which home address: see `standing`."""
        claim = claim_of(packet)
        node = None
        if len(claim.home_address) == _ADDRESS_SIZE:
            node = self._nodes.get(IPv6Address(claim.home_address))
        if node is None:
            return Standing.STRANGER, b""
        if is_proven(claim, packet, node):
            return Standing.PROVEN, claim.home_address
        return standing_at_home_agent(claim, self.bindings.peek(node.number)), claim.home_address

    # Time --------------------------------------------------------------------------------------------------

    def clock_behind(self, now: Instant) -> float:
        """Seconds by which the time of day is behind what it has been: see `clock`."""
        return self._clock.ahead(now)

    def resume(self, records: Iterable[bytes], replays: Iterable[ReplayState], now: Instant) -> list[int]:
        """Take over what the store has, before anything else is asked of the engine. Of bindings it is their
        records (`binding_record`), of which most need not be read.

        Bindings that ended meanwhile and those of mobile nodes that are configured no more are removed; what
        the configuration no longer grants is taken out of others. There are no actions for bindings that are
        what they were; their home addresses come back, as numbers. Raises ValueError for a record that cannot
        be read.
        """
        self._clock.restore(self._take_over(replays), now)
        return self._registrar.bindings.resume(records, now)

    def _take_over(self, replays: Iterable[ReplayState]) -> Iterator[int]:
        """Give each mobile node what is known of it; the timestamps that were accepted."""
        for replay in replays:
            self._nodes.restore(replay)
            yield replay.timestamp

    def reconfigure(self, config: HomeAgentConfig) -> None:
        """Go on with another configuration: of addresses, home prefixes, renumbering it must be the same.

        Mobile nodes that differ are added, removed or told anew; nobody else notices.
        """
        changes = compare(self._config.mobile_nodes, config.mobile_nodes)
        self._config = config
        self._nodes.change(changes)
        self._replies.reconfigure(force_udp=config.udp == "force", nat_keepalive=config.nat_keepalive)
        self._registrar.reconfigure(config, changes)
        self._icmp.reconfigure(config)
        self._clock.tolerance = config.timestamp_tolerance
        self._errors = _error_limit(config)

    def tick(self, now: Instant) -> None:
        """End what has come to its end by `now`."""
        self._registrar.tick(now)
        self._icmp.tick(now)

    def dad_finished(self, home_address: IPv6Address, duplicate: bool, now: Instant) -> None:
        """The result of a `StartDad` (RFC 6275 section 10.3.1)."""
        self._registrar.dad_finished(home_address, duplicate, now)

    def not_installed(self, tried: Sequence[Binding], kept: Binding | None, now: Instant) -> list[Action]:
        """The data plane had no room for these bindings of one mobile node, which were among the actions
        handed over last, and has `kept` instead, None = nothing. See `undoing`; the next actions do the rest.

        Returns the acknowledgements among those actions that must not leave.
        """
        return self._registrar.undoing.undo(tried, kept, now)

    def stored(self) -> Iterator[StoreBinding | StoreReplay]:
        """Everything that has to be in the store now."""
        for node in self._nodes:
            binding = self._registrar.bindings.of(node)
            if binding is not None:
                yield StoreBinding(binding, node.replay)
            elif node.index:
                yield StoreReplay(node.replay)

    # Packets -----------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: Instant, *, protected: bool = False) -> None:
        """One packet of the data plane's upcalls: IPv6, or IPv6 in UDP in IPv4, with all outer headers.

        A packet to another address than ours is data, for a mobile node that has no binding, or that is too
        big for the path to where it is bound. `protected`: it was under the IPsec of its home address, and
        has been decrypted.
        """
        version = data[0] >> 4 if data else 0
        if (version == 6 and data[24:40] == self._address) or (version == 4 and self._is_ours(data[16:20])):
            self._signalling(data, now, protected)
        elif (binding := self._bound_destination(data, version)) is not None:
            if self._errors.allow(now.monotonic):
                self._actions.append(TooBig(data, binding))
        else:
            self.unreachable(data, now)

    def receive_icmpv6(
        self,
        data: bytes,
        source: IPv6Address,
        destination: IPv6Address,
        *,
        hop_limit: int,
        home_link: bool,
        own: bool = False,
        now: Instant,
    ) -> None:
        """One ICMPv6 message that reached a socket: see `HomeAgentIcmp.receive`."""
        self._icmp.receive(
            data, source, destination, hop_limit=hop_limit, home_link=home_link, own=own, now=now
        )

    def receive_icmpv4(self, data: bytes, now: Instant) -> None:
        """One ICMP message that reached a socket, without its IPv4 header."""
        self._icmp.receive_icmpv4(data, now)

    def unreachable(self, packet: bytes, now: Instant) -> None:
        """Answer a data packet to a mobile node without a binding: address or host unreachable."""
        answer = unreachable(packet, self._config)
        if answer is None:
            self._drop("no-binding")
        else:
            self._answer_error(answer, "no-binding", now)

    def too_big(self, packet: bytes, mtu: int) -> list[SendError | SendIPv4]:
        """What to send because of a `TooBig` packet, now that the MTU of its path is known, in octets."""
        return too_big(packet, mtu, self._config)

    def _bound_destination(self, data: bytes, version: int) -> Binding | None:
        if version == 6 and len(data) >= IPV6_HEADER_SIZE:
            return self.binding_of(IPv6Address(data[24:40]))
        if version == 4 and len(data) >= IPV4_HEADER_SIZE:
            return self.binding_of(IPv4Address(data[16:20]))
        return None

    def _is_ours(self, ipv4_destination: bytes) -> bool:
        return self._ipv4_address is not None and ipv4_destination == self._ipv4_address

    def _signalling(self, data: bytes, now: Instant, protected: bool) -> None:
        self._registrar.undoing.packet = data
        try:
            packet = decode_packet(data)
        except DecodeError as error:
            self._drop(error.reason, error.detail)
            return
        if packet.raw[24:40] != self._address or packet.routing_home_address is not None:
            self._drop("not-for-us")
        elif packet.next_header == NextHeader.MOBILITY:
            self._mobility_header(packet, now, protected)
        elif packet.home_address is not None and packet.next_header not in (NextHeader.ESP, NextHeader.AH):
            self._home_address_option(packet, now, protected)
        elif protected and packet.next_header == NextHeader.ICMPV6:
            self._icmp.decrypted(packet, now)
        else:
            self._drop("not-signalling", f"next header {packet.next_header}")

    def _mobility_header(self, packet: Packet, now: Instant, protected: bool) -> None:
        """RFC 6275 section 9.2."""
        try:
            message = decode_message(packet.payload, packet.sender, packet.recipient, known=HOST_MH_TYPES)
        except DecodeError as error:
            if error.pointer is None or not is_unicast_routable(packet.source):
                self._drop(error.reason, error.detail)
            else:
                self._answer_error(self._replies.parameter_problem(packet, error.pointer), error.reason, now)
            return
        match message:
            case BindingUpdate():
                self._binding_update(packet, message, now, protected)
            case UnknownMessage():
                self._binding_error(packet, BEStatus.UNRECOGNIZED_MH_TYPE, "unrecognized-mh-type", now)
            case _:
                self._drop("unexpected-message", type(message).__name__)

    def _home_address_option(self, packet: Packet, now: Instant, protected: bool) -> None:
        """A packet with a home address option needs a binding with its source (RFC 6275 section 9.3.1)."""
        binding = self._registrar.bindings.cache.get(packet.sender)
        if binding is None or packet.udp is not None or not binding.is_at(packet.source):
            self._binding_error(packet, BEStatus.UNKNOWN_BINDING, "unknown-binding", now)
            return
        if packet.next_header == NextHeader.ICMPV6:
            try:
                message = decode_icmpv6(packet.payload, packet.sender, packet.recipient)
            except DecodeError as error:
                self._drop(error.reason, error.detail)
                return
            match message:
                case EchoRequest():
                    self._actions.append(self._replies.echo_reply(packet, message))
                    return
                case MobilePrefixSolicitation():
                    self._icmp.solicitation(packet, message, now, protected=protected)
                    return
                case _:
                    pass
        self._drop("not-signalling", f"next header {packet.next_header}")

    def _demands_ipsec(self, home_address: IPv6Address) -> bool:
        node = self._nodes.get(home_address)
        return node is not None and node.entry.authentication == "ipsec"

    def _binding_error(self, packet: Packet, status: BEStatus, reason: str, now: Instant) -> None:
        if is_unicast_routable(packet.source):
            self._answer_error(self._replies.binding_error(packet, status), reason, now)
        else:
            self._drop(reason, f"from {packet.source}")

    def _answer_error(self, answer: SendPacket | SendDatagram | SendError, reason: str, now: Instant) -> None:
        """Count the packet, and answer it if that is not too often."""
        if self._errors.allow(now.monotonic):
            self._actions.append(answer)
        self._drop(reason)

    # Binding Updates ---------------------------------------------------------------------------------------

    def _binding_update(self, packet: Packet, update: BindingUpdate, now: Instant, protected: bool) -> None:
        """RFC 6275 sections 9.5.1, 10.3.1 and 10.3.2. Nothing happens before authentication."""
        home_address = packet.sender
        node = self._nodes.get(home_address)
        if node is not None and node.number == int(home_address):
            home_address = node.home_address  # the same object everywhere is compared in no time
        request = read_request(packet, update, home_address)
        if isinstance(request, str):
            self._drop(request, f"from {packet.source}", node)
            return
        if node is None and request.options.identifier is not None:
            # Tells a mobile node that got its home address wrong, once it has proved who it is.
            node = self._nodes.identified(request.options.identifier)
            if node is not None and node.association is None:
                node = None
        if node is None:
            self._drop("unknown-mobile-node", f"{request.home_address} from {request.tunnel_end}")
            return
        time_of_day = self._clock.read(now)
        verdict = authenticate(
            request, node, packet.payload, time_of_day, self._config.timestamp_tolerance, protected=protected
        )
        if isinstance(verdict, BAStatus):
            self._refuse_unauthentic(request, node, verdict, now)
        elif verdict is not None:
            self._drop(verdict, f"{node.name} from {request.tunnel_end}", node)
        else:
            self._registrar.process(request, node, now)

    def _refuse_unauthentic(self, request: Request, node: ServedNode, status: BAStatus, now: Instant) -> None:
        """Statuses 144 to 146 (RFC 4285). They change no state, replay state included."""
        answers = self._failures if status is BAStatus.MIPV6_AUTH_FAIL else node.corrections
        if answers.allow(now.monotonic):
            answer = Answer(status, request.update.sequence)
            time_of_day = self._clock.read(now)
            self._actions.append(self._replies.acknowledge(request, answer, node.association, time_of_day))
        detail = f"{node.name} from {request.tunnel_end}"
        if status is BAStatus.MIPV6_ID_MISMATCH and request.options.timestamp is not None:
            tolerance, time_of_day = self._config.timestamp_tolerance, self._clock.read(now)
            detail += f": {clock_difference(request.options.timestamp, time_of_day, tolerance)}"
        self._drop(_REASONS[status], detail, node)

    def _drop(self, reason: str, detail: str = "", node: ServedNode | None = None) -> None:
        self._actions.append(Drop(reason, detail, node.name if node is not None else ""))


def _error_limit(config: HomeAgentConfig) -> RateLimit:
    return RateLimit(config.error_rate, max(ERROR_BURST, int(config.error_rate)))
