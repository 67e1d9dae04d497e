"""`[ike]`: keys negotiated by IKEv2 (RFC 4877), with a shared secret or with certificates.

Either end is known by an identity; the mobile node's is bound to its home address at the home agent, so that
nobody's secret or certificate is good for another's home address (RFC 4877 section 4.1).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from dsmip.daemon.config.keys import Key
from dsmip.daemon.config.problems import Problems

#: Where strongSwan listens when nobody told it otherwise.
CHARON = Path("/run/charon.vici")
#: As for RFC 4285: a shorter one can be guessed by whoever poses as the home agent (RFC 7296 section 2.15).
MIN_SECRET_OCTETS = 16

_PEM = b"-----BEGIN "
_FILES = ("certificate", "private_key", "ca")
#: Characters with a meaning to strongSwan's parser of identities, and blanks that nobody sees.
_IDENTITY = re.compile(r"[^\x00-\x20\x7f%\"{}]([^\x00-\x1f\x7f\"{}]*[^\x00-\x20\x7f\"{}])?")


class IkeTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`[ike]` of a mobile node: with `psk`, or with the three files."""

    psk: Key | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    ca: Path | None = None
    identity: str = ""
    home_agent_identity: str = ""
    vici: Path = CHARON


class HomeAgentIkeTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`[ike]` of a home agent: what it shows mobile nodes that have certificates."""

    certificate: Path | None = None
    private_key: Path | None = None
    ca: Path | None = None
    identity: str = ""
    vici: Path = CHARON


class MobileNodeIkeTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, gc=False):
    """`[mobile_node.ike]` of a home agent: without `psk` it is known by its certificate."""

    psk: Key | None = None
    identity: str = ""


def check_mobile_node_ike(table: IkeTable, problems: Problems) -> None:
    """A secret or certificates, and not both."""
    _check_identity(table.identity, "ike.identity", problems)
    _check_identity(table.home_agent_identity, "ike.home_agent_identity", problems)
    given = [name for name in _FILES if getattr(table, name) is not None]
    if table.psk is not None:
        _check_secret(table.psk, "ike.psk", problems)
        for name in given:
            problems.add(f"ike.{name}", "is not used with psk")
    elif not given:
        problems.add("ike.psk", "is missing: that, or certificate, private_key and ca")
    else:
        _check_files(table, "ike", problems)


def check_home_agent_ike(table: HomeAgentIkeTable | None, certified: str | None, problems: Problems) -> None:
    """`certified` is a mobile node that shows a certificate, None = there is none."""
    if table is not None:
        _check_identity(table.identity, "ike.identity", problems)
    if any(table is not None and getattr(table, name) is not None for name in _FILES):
        assert table is not None
        _check_files(table, "ike", problems)
    elif certified is not None:
        problems.add(
            "ike", f"needs certificate, private_key and ca: {certified} has no psk and shows a certificate"
        )


def check_served_ike(table: MobileNodeIkeTable, where: str, problems: Problems) -> None:
    """One mobile node's."""
    _check_identity(table.identity, f"{where}ike.identity", problems)
    if table.psk is not None:
        _check_secret(table.psk, f"{where}ike.psk", problems)


def _check_secret(secret: bytes, where: str, problems: Problems) -> None:
    if len(secret) < MIN_SECRET_OCTETS:
        problems.add(where, f"is too short: {len(secret)} octets, at least {MIN_SECRET_OCTETS} are needed")


def _check_identity(identity: str, where: str, problems: Problems) -> None:
    if identity and not _IDENTITY.fullmatch(identity):
        text = "is no identity: a DNS name, name@domain, an address, or a distinguished name"
        problems.add(where, text)


def _check_files(table: IkeTable | HomeAgentIkeTable, where: str, problems: Problems) -> None:
    for name in _FILES:
        path = getattr(table, name)
        if path is None:
            problems.add(f"{where}.{name}", "is missing: certificate, private_key and ca belong together")
            continue
        try:
            with open(path, "rb") as file:
                begin = file.read(4096)
                exposed = name == "private_key" and os.fstat(file.fileno()).st_mode & 0o004
        except OSError as error:
            problems.add(f"{where}.{name}", f"cannot be read: {path}: {error.strerror}")
            continue
        if _PEM not in begin:
            problems.add(f"{where}.{name}", f"is not PEM: {path} has no line that starts with -----BEGIN")
        elif exposed:
            problems.add(f"{where}.{name}", f"can be read by everybody: chmod o-r {path}")
