"""A captured packet as one line of text."""

from __future__ import annotations

import time

from dsmip.wire.constants import HOST_MH_TYPES, MHType, NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.messages import (
    BindingAcknowledgement,
    BindingUpdate,
    UnknownMessage,
    decode_message,
)
from dsmip.wire.packet import decode_packet


def line(unix: float, direction: str, packet: bytes) -> str:
    """One packet for people: when, which way, from where to where, what."""
    clock = time.strftime("%H:%M:%S", time.localtime(unix)) + f"{unix % 1:.6f}"[1:]
    return f"{clock} {direction:<3} {_what(packet)}"


def _what(data: bytes) -> str:
    try:
        packet = decode_packet(data)
    except DecodeError as error:
        return f"{len(data)} octets: {error}"
    udp = packet.udp
    around = ""
    if udp is not None:
        around = f"{udp.source}:{udp.source_port} > {udp.destination}:{udp.destination_port} | "
    between = f"{around}{packet.source} > {packet.destination}"
    if packet.home_address is not None:
        between += f" (home address {packet.home_address})"
    if packet.routing_home_address is not None:
        between += f" (for {packet.routing_home_address})"
    if packet.next_header != NextHeader.MOBILITY:
        return f"{between}: next header {packet.next_header}"
    try:
        message = decode_message(packet.payload, packet.sender, packet.recipient, known=HOST_MH_TYPES)
    except DecodeError as error:
        return f"{between}: mobility header: {error}"
    match message:
        case BindingUpdate():
            flags = "".join(flag.name or "" for flag in message.flags)
            told = f"sequence {message.sequence} lifetime {message.lifetime * 4} s flags {flags or 'none'}"
        case BindingAcknowledgement():
            told = f"sequence {message.sequence} status {message.status} lifetime {message.lifetime * 4} s"
        case UnknownMessage():
            told = ""
        case _:
            told = ""
    return f"{between}: {_type_name(packet.payload[2])} {told}".rstrip()


def _type_name(number: int) -> str:
    known = next((known.name for known in MHType if known == number), f"mobility header type {number}")
    return known.replace("_", " ").capitalize()
