"""What of a lab's traffic is under ESP, and how a witness outside recognises it.

The keys are drawn for each lab; the SPIs are always these, so that ESP can be told apart from outside.
"""

from __future__ import annotations

import secrets
from typing import Final

from dsmip.lab.streams import PACKET_OCTETS

#: Nothing, signalling (Binding Updates and Acknowledgements, prefix discovery), or this and all payload.
NOTHING, SIGNALLING, ALL = "", "signalling", "all"
CHOICES: Final = (SIGNALLING, ALL)

#: To the home agent, and from it.
SIGNALLING_SPIS: Final = (0x1001, 0x2001)
PAYLOAD_SPIS: Final = (0x3001, 0x4001)

_UDP_HEADER = 8
_HEADERS: Final = {"v6": 40, "v4": 20}


def _octets_under_esp(inner: int) -> int:
    """Of ESP with AES-GCM around a packet of `inner` octets (RFC 4303 section 2, RFC 4106): SPI and sequence
    number, IV, padding to 4 with the two octets behind it, check value."""
    return 8 + 8 + (inner + 2 + 3) // 4 * 4 + 16


#: How long ESP is, its header included, that has a packet of the streams in it: the only thing that tells the
#: family from outside.
FAMILIES: Final = {
    _octets_under_esp(header + _UDP_HEADER + PACKET_OCTETS): family for family, header in _HEADERS.items()
}


def tables(protect: str) -> tuple[str, str]:
    """What both configuration files say of it, the home agent's (in its mobile node's table) first."""
    home_agent, mobile_router = "", ""
    associations = [("ipsec", SIGNALLING_SPIS)] if protect else []
    if protect == ALL:
        associations.append(("payload", PAYLOAD_SPIS))
    for name, spis in associations:
        for direction, spi in zip(("to_home_agent", "from_home_agent"), spis, strict=True):
            if name == "ipsec":
                keys = f'cipher_key = "{secrets.token_hex(16)}"\nmac_key = "{secrets.token_hex(32)}"\n'
            else:
                keys = f'key = "{secrets.token_hex(20)}"\n'
            text = f"spi = {spi:#x}\n{keys}"
            home_agent += f"\n[mobile_node.{name}.{direction}]\n{text}"
            mobile_router += f"\n[{name}.{direction}]\n{text}"
    return home_agent, mobile_router
