"""`dsmip capture`: the signalling of a running daemon, into a file or as text."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from dsmip.cli.asking import add_instance, find
from dsmip.cli.pcap import PcapWriter
from dsmip.daemon.control import follow
from dsmip.wire.constants import HOST_MH_TYPES, MHType, NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.messages import (
    BindingAcknowledgement,
    BindingUpdate,
    UnknownMessage,
    decode_message,
)
from dsmip.wire.packet import decode_packet


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    capture = commands.add_parser(
        "capture", help="signalling as the daemon sees it, outer headers on: text, or a file for Wireshark"
    )
    add_instance(capture)
    capture.add_argument(
        "-w", "--write", type=Path, metavar="FILE", help='write a pcap file ("-": standard output)'
    )
    capture.add_argument("-c", "--count", type=int, metavar="N", help="stop after N packets")
    capture.set_defaults(call=_capture)


def _capture(options: argparse.Namespace) -> int:
    name, _ = find(options.instance, "status")
    packets = itertools.islice(_packets(follow(name, "capture")), options.count)
    with ExitStack() as stack:
        writer = None
        if options.write is not None:
            try:
                writer = PcapWriter(stack.enter_context(_open(options.write)))
            except OSError as error:
                print(f"dsmip: {options.write} cannot be written: {error.strerror}", file=sys.stderr)
                return 1
            print(f"capturing from {name}; Ctrl-C ends it", file=sys.stderr)
        for unix, direction, packet in packets:
            if writer is not None:
                writer.write(unix, packet)
            else:
                print(line(unix, direction, packet), flush=True)
    return 0


def _open(path: Path) -> BinaryIO:
    return sys.stdout.buffer if str(path) == "-" else path.open("wb")


def _packets(records: Iterator[dict[str, Any]]) -> Iterator[tuple[float, str, bytes]]:
    for record in records:
        if record["event"] == "skipped":
            print(f"dsmip: {record['count']} packets were missed: too slow", file=sys.stderr)
        else:
            yield record["unix"], record["direction"], bytes.fromhex(record["packet"])


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
