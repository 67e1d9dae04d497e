"""What a mobile node hears about the sizes of its packets: padded probes that came back, and ICMP errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dsmip.core.actions import Action, Drop
from dsmip.core.mobile_node.tunnel import Tunnel
from dsmip.core.types import Instant
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv4 import FRAGMENTATION_NEEDED, DestinationUnreachable, decode_icmpv4
from dsmip.wire.icmpv6 import PacketTooBig
from dsmip.wire.pathprobe import PROBE_MAGIC, ProbePayload


def read_probe(data: bytes, emit: Callable[[Action], None]) -> ProbePayload | None:
    """The probe in an echo; None when it is an echo of another kind, or a broken one, which is told."""
    if not data.startswith(PROBE_MAGIC):
        return None
    try:
        return ProbePayload.decode(data)
    except DecodeError as error:
        emit(Drop(error.reason, str(error)))
        return None


def size_answered(tunnels: Iterable[Tunnel], payload: ProbePayload, length: int, now: Instant) -> None:
    """A padded probe came back, in an echo with `length` octets of data."""
    for tunnel in tunnels:
        if tunnel.bid == payload.bid:
            tunnel.size_answered(payload, length, now)


def told_by_icmpv6(tunnels: Iterable[Tunnel], message: PacketTooBig, now: Instant) -> None:
    """Packet Too Big (RFC 4443 section 3.2), about one of our tunnel packets or something else."""
    outer = message.invoking
    for tunnel in tunnels:
        tunnel.told_too_big(outer[8:24], outer[24:40], message.mtu, now)


def told_by_icmpv4(tunnels: Iterable[Tunnel], data: bytes, now: Instant) -> None:
    """An ICMP message: of interest if it is Fragmentation Needed about one of our tunnel packets (RFC 1191).

    A router older than that tells no MTU, which is no use here. Raises DecodeError.
    """
    message = decode_icmpv4(data)
    if not isinstance(message, DestinationUnreachable) or message.code != FRAGMENTATION_NEEDED:
        return
    outer = message.invoking
    for tunnel in tunnels:
        tunnel.told_too_big(outer[12:16], outer[16:20], message.mtu, now)
