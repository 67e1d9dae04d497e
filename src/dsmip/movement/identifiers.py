"""Interface identifiers that stay the same in one network and say nothing in another (RFC 7217).

They are preferred to modified EUI-64 for two reasons: a network the node visits cannot follow its hardware
address to the next one, and after a duplicate there is a next identifier to try, where EUI-64 has only one.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv6Address, IPv6Network

#: Attempts to find an address that nobody else has (RFC 7217 section 7, IDGEN_RETRIES).
IDGEN_RETRIES = 3

#: Identifier length on every link type supported (RFC 4291 section 2.5.1).
IDENTIFIER_BITS = 64

#: Identifiers nobody may take (RFC 5453): subnet-router anycast, the IANA block, subnet anycast addresses.
_RESERVED = (
    range(1),
    range(0x0200_5EFF_FE00_0000, 0x0200_5EFF_FE00_5213),
    range(0xFDFF_FFFF_FFFF_FF80, 0xFDFF_FFFF_FFFF_FFFF + 1),
)


class StableIdentifiers:
    """Forms addresses from a prefix, an interface's name and a secret (RFC 7217 section 5).

    The same `secret` gives the same addresses again. It must not be shorter than 16 octets (ValueError).
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:
            raise ValueError("the secret for interface identifiers needs at least 16 octets")
        self._secret = secret

    def address(self, prefix: IPv6Network, interface: str, counter: int = 0) -> IPv6Address:
        """The address in a /64 `prefix` after `counter` duplicates were met there."""
        while True:
            digest = hashlib.sha256()
            for part in (
                prefix.network_address.packed[:8],
                interface.encode(),
                counter.to_bytes(4, "big"),
                self._secret,
            ):
                digest.update(len(part).to_bytes(2, "big"))
                digest.update(part)
            identifier = int.from_bytes(digest.digest()[:8], "big")
            if not any(identifier in block for block in _RESERVED):
                return IPv6Address(int(prefix.network_address) | identifier)
            counter += IDGEN_RETRIES + 1
