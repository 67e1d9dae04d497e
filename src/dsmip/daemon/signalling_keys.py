"""What both ends of negotiated keys have in common: from the configuration to a connection, and in words."""

from __future__ import annotations

import zlib
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

from dsmip.daemon.config.ike import HomeAgentIkeTable, IkeTable
from dsmip.daemon.config.ipsec import IpsecTable
from dsmip.daemon.ike.connection import Certificates, Negotiated
from dsmip.host.routing import HostError

#: Numbers for security associations begin here, far from those that charon gives by itself.
_REQUESTS: Final = 1 << 30
_OF_PAYLOAD: Final = 1 << 29


def request_of(home_address: IPv6Address) -> int:
    """The number that ties policies and states of a mobile node together. Should two share one, the addresses
    in both still keep them apart."""
    return _REQUESTS | zlib.crc32(home_address.packed) & (_OF_PAYLOAD - 1)


def payload_request_of(home_address: IPv6Address) -> int:
    """The same of payload."""
    return request_of(home_address) | _OF_PAYLOAD


def connection_prefix(instance: str) -> str:
    """How the names of all connections of a daemon begin; no name of an instance has the colon in it."""
    return f"dsmip:{instance}:"


def certificates(table: IkeTable | HomeAgentIkeTable) -> Certificates:
    """The files that the configuration names. Raises HostError."""
    contents = []
    for path in (table.certificate, table.private_key, table.ca):
        assert path is not None, "checked with the configuration"
        contents.append(_read(path))
    return Certificates(*contents)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from error


def signalling_in_words(
    authentication: str, manual: IpsecTable | None, state: Negotiated | None = None
) -> str:
    """How signalling is protected; `state` is what IKE has negotiated."""
    if authentication == "mn-ha":
        return "RFC 4285"
    if authentication == "none":
        return "none"
    if manual is not None:
        return f"ESP, manual keys, AES-CBC-{len(manual.to_home_agent.cipher_key) * 8}"
    return f"ESP, IKEv2, {state.cipher}" if state is not None and state.established else "ESP, IKEv2"
