"""`dsmip capture`: the signalling of a running daemon, into a file or as text."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from dsmip.cli.asking import add_instance, find
from dsmip.cli.pcap import PcapWriter
from dsmip.daemon.control import follow


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
    # The codecs are of no use to the other commands, and a tenth of a second to import.
    from dsmip.cli.capture_text import line

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
