"""`[ipsec]`: manual keys for signalling under IPsec (RFC 3776 section 4.3), the same at both ends."""

from __future__ import annotations

from typing import Annotated

import msgspec

from dsmip.daemon.config.keys import Key
from dsmip.daemon.config.problems import Problems
from dsmip.daemon.protection import StaticAssociation
from dsmip.host.xfrm import CipherAndMac

#: SPIs up to 255 are reserved (RFC 4303 section 2.1).
MIN_ESP_SPI = 256
#: Octets of an AES key, and of one for HMAC-SHA-256-128 (RFC 4868 section 2.1.1).
CIPHER_KEY_SIZES = (16, 24, 32)
MAC_KEY_SIZE = 32


class AssociationTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """One direction: AES-CBC with HMAC-SHA-256-128."""

    spi: Annotated[int, msgspec.Meta(ge=MIN_ESP_SPI, le=0xFFFFFFFF)]
    cipher_key: Key
    mac_key: Key

    def association(self) -> StaticAssociation:
        """For the kernel."""
        return StaticAssociation(self.spi, CipherAndMac(bytes(self.cipher_key), bytes(self.mac_key)))


class IpsecTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Both directions of one mobile node's signalling."""

    to_home_agent: AssociationTable
    from_home_agent: AssociationTable


def check_ipsec(
    authentication: str, table: IpsecTable | None, ike: msgspec.Struct | None, where: str, problems: Problems
) -> None:
    """Keys come from the table or from IKE, when they are needed, and have the right lengths."""
    if authentication != "ipsec":
        for name, present in (("ipsec", table), ("ike", ike)):
            if present is not None:
                problems.add(f"{where}{name}", f'is not used with authentication = "{authentication}"')
        return
    if table is None:
        if ike is None:
            text = 'is missing: authentication = "ipsec" needs keys for both directions, or a table "ike"'
            problems.add(f"{where}ipsec", text)
        return
    if ike is not None:
        problems.add(f"{where}ipsec", 'is not used with a table "ike", which negotiates the keys')
    for name, one_way in (("to_home_agent", table.to_home_agent), ("from_home_agent", table.from_home_agent)):
        place = f"{where}ipsec.{name}"
        if len(one_way.cipher_key) not in CIPHER_KEY_SIZES:
            problems.add(f"{place}.cipher_key", f"has {len(one_way.cipher_key)} octets, not 16, 24 or 32")
        if len(one_way.mac_key) != MAC_KEY_SIZE:
            problems.add(f"{place}.mac_key", f"has {len(one_way.mac_key)} octets, not {MAC_KEY_SIZE}")
    if table.to_home_agent.cipher_key == table.from_home_agent.cipher_key:
        problems.add(f"{where}ipsec.from_home_agent.cipher_key", "is the same as that of to_home_agent")
