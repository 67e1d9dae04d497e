"""The test vectors: packets that three independent programs built or read alike."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

_FILE = Path(__file__).parent.parent / "vectors" / "vectors.json"
_CONTENT = json.loads(_FILE.read_text())

VECTORS: dict[str, bytes] = {entry["name"]: bytes.fromhex(entry["hex"]) for entry in _CONTENT["vectors"]}
MATERIAL: dict[str, dict[str, object]] = {
    entry["name"]: entry["material"] for entry in _CONTENT["vectors"] if "material" in entry
}

HA = IPv6Address("2001:db8:100::1")
HA2 = IPv6Address("2001:db8:100::2")
HOA = IPv6Address("2001:db8:100::1234")
COA = IPv6Address("2001:db8:200::5678")
COA2 = IPv6Address("2001:db8:300::9abc")
CN = IPv6Address("2001:db8:400::cafe")
HA4 = IPv4Address("192.0.2.1")
HOA4 = IPv4Address("198.51.100.10")
COA4 = IPv4Address("10.1.2.3")
NAT4 = IPv4Address("203.0.113.77")
