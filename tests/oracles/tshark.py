"""Asking tshark what it sees in packets, all of them in one run."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

#: What a field held, for each time it stood in the packet.
Fields = dict[str, list[str]]

_LINKTYPE_ETHERNET = 1
_ADDRESSES = bytes.fromhex("020000000002 020000000001")
_ETHERTYPES = {4: 0x0800, 6: 0x86DD}
_ETHERTYPE_ARP = 0x0806


def ethernet(packet: bytes, *, arp: bool = False) -> bytes:
    """A frame with an IPv4 or IPv6 packet, or with the body of an ARP packet."""
    ethertype = _ETHERTYPE_ARP if arp else _ETHERTYPES[packet[0] >> 4]
    return _ADDRESSES + ethertype.to_bytes(2, "big") + packet


def dissect(frames: Sequence[bytes], names: Iterable[str], directory: Path) -> list[Fields]:
    """The named fields of each frame; skips the test where there is no tshark."""
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not installed")
    file = directory / "frames.pcap"
    file.write_bytes(_pcap(frames))
    command = [tshark, "-n", "-r", str(file), "-T", "json", "-d", "udp.port==4191,ipv6"]
    for preference in ("udp.check_checksum", "ip.check_checksum", "ip.defragment", "ipv6.defragment"):
        command += ["-o", f"{preference}:{'FALSE' if 'defragment' in preference else 'TRUE'}"]
    for name in sorted({*names, "_ws.malformed"}):
        command += ["-e", name]
    result = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    found: list[Fields] = [packet["_source"].get("layers", {}) for packet in json.loads(result.stdout)]
    assert len(found) == len(frames)
    return found


def _pcap(frames: Sequence[bytes]) -> bytes:
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, _LINKTYPE_ETHERNET)
    return header + b"".join(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames)
