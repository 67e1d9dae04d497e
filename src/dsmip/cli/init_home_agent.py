"""The first configuration of a home agent, from three questions or as many options."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import TypeVar

from dsmip.daemon import durable
from dsmip.daemon.config.first import FirstConfig, UnfitError
from dsmip.daemon.config.loading import parse
from dsmip.daemon.config.problems import ConfigError
from dsmip.host.uplink import Uplink, default_uplink, uplink

FAILED = 1
BAD_USAGE = 2

#: Who may read the file besides root: the group the daemon runs in, if there is one.
_GROUP = "dsmip"

_T = TypeVar("_T")


class _MissingError(ValueError):
    """An answer that nobody is there to give."""


def init(options: argparse.Namespace) -> int:
    """Write it, unless an answer is missing or unfit."""
    if options.out.exists() and not options.force:
        print(f"dsmip: {options.out} is there already: --force replaces it", file=sys.stderr)
        return FAILED
    try:
        text = _answers(options).text()
        parse(text, options.out)
    except (_MissingError, UnfitError) as error:
        print(f"dsmip: {error}", file=sys.stderr)
        return BAD_USAGE
    except ConfigError as error:
        print(error, file=sys.stderr)
        return BAD_USAGE
    try:
        _write(options.out, text)
    except OSError as error:
        print(f"dsmip: {options.out}: {error.strerror}; run this as root", file=sys.stderr)
        return FAILED
    print(f"wrote {options.out}")
    print(f"next: dsmip run {options.out}, and dsmip provision add NAME for each vehicle")
    return 0


def _answers(options: argparse.Namespace) -> FirstConfig:
    """From options, from this machine, and from who sits at the terminal, who is asked unless `--prefix` is
    given. Raises UnfitError, _MissingError."""
    found = uplink(options.uplink) if options.uplink else default_uplink()
    asks = options.prefix is None and sys.stdin.isatty()
    if options.uplink is None and asks:
        likely = found.interface if found else ""
        found = _ask("interface that mobile nodes come in by", uplink, likely)
    if found is None:
        raise _MissingError("there is no default route to find the uplink by: name it with --uplink")
    address = _read(options.address, IPv6Address, "--address") or _own_address(found)
    ipv4_address = _read(options.ipv4_address, IPv4Address, "--ipv4-address") or found.ipv4_address
    prefix = _read(options.prefix, IPv6Network, "--prefix")
    ipv4_network = _read(options.ipv4_network, IPv4Network, "--ipv4-network")
    if prefix is None:
        if not asks:
            raise _MissingError("--prefix is missing: the IPv6 prefix that is routed to this machine")
        prefix = _ask("IPv6 prefix routed to this machine, such as 2001:db8:100::/48", IPv6Network)
        if ipv4_network is None and ipv4_address is not None:
            question = "IPv4 network routed to this machine, - for none"
            ipv4_network = _ask(question, lambda word: None if word == "-" else IPv4Network(word), "-")
    made = FirstConfig(
        uplink=found.interface,
        address=address,
        prefix=prefix,
        ipv4_address=ipv4_address,
        ipv4_network=ipv4_network,
        ipv4_prefixes=_read(options.ipv4_prefixes, IPv4Network, "--ipv4-prefixes"),
        name=options.name,
    )
    made.check()
    return made


def _own_address(found: Uplink) -> IPv6Address:
    if found.address is None:
        raise UnfitError(
            f"{found.interface} has no global IPv6 address; a home agent needs one: name it with --address"
        )
    return found.address


def _read(word: str | None, kind: Callable[[str], _T], option: str) -> _T | None:
    if word is None:
        return None
    try:
        return kind(word)
    except ValueError as error:
        raise _MissingError(f"{option}: {error}") from error


def _ask(question: str, kind: Callable[[str], _T], default: str = "") -> _T:
    """Ask until the answer makes sense. Raises _MissingError at the end of input."""
    while True:
        try:
            word = input(f"{question}{f' [{default}]' if default else ''}: ").strip() or default
        except EOFError:
            raise _MissingError("no answer, nothing is written") from None
        try:
            return kind(word)
        except ValueError as error:
            print(error)


def _write(path: Path, text: str) -> None:
    """For root, and the daemon's group if there is one: keys may be written into it one day."""
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write(path, text.encode(), keep_owner=True)
    if os.geteuid() == 0:
        try:
            shutil.chown(path, group=_GROUP)
        except LookupError:
            return
        path.chmod(0o640)
