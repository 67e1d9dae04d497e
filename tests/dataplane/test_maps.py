"""maps.py says the same as maps.h, and what goes in comes out."""

from __future__ import annotations

import re
import struct
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from dsmip.core import types
from dsmip.dataplane import api, bpf, maps
from dsmip.dataplane.api import Role, Traffic

HEADER = Path(bpf.__file__).with_name("maps.h").read_text()
SIZES = {"__u8": 1, "__u16": 2, "__be16": 2, "__u32": 4, "__be32": 4, "__u64": 8, "__be64": 8}
#: What only the programs and the wire know.
NOT_MIRRORED = {"dsmip_rules", "dsmip_window", "dsmip_probe", "dsmip_sequenced"}

LAYOUTS = {
    "dsmip_network6": maps.NETWORK6,
    "dsmip_network4": maps.NETWORK4,
    "dsmip_path_key": maps.PATH_KEY,
    "dsmip_path": maps.PATH,
    "dsmip_choice": maps.CHOICE,
    "dsmip_rule": maps.RULE,
    "dsmip_protected": maps.PROTECTED,
    "dsmip_source_key": maps.SOURCE_KEY,
    "dsmip_source": maps.SOURCE,
    "dsmip_traffic": maps.TRAFFIC,
    "dsmip_local": maps.LOCAL,
    "dsmip_settings": maps.SETTINGS,
    "dsmip_bucket": maps.BUCKET,
}


def fields(name: str) -> list[tuple[int, int]]:
    """Offset and size of every field, as a C compiler lays them out; the last is the end of the structure."""
    found = re.search(rf"struct {name} {{(.*?)\n}};", HEADER, re.DOTALL)
    assert found is not None
    body = re.sub(r"/\*.*?\*/", "", found.group(1), flags=re.DOTALL)
    offset, widest, result = 0, 1, []
    for kind, _, count in re.findall(r"(__\w+) (\w+)(?:\[(\d+)\])?;", body):
        size = SIZES[kind]
        widest = max(widest, size)
        offset = (offset + size - 1) // size * size
        result.append((offset, size * int(count or 1)))
        offset += size * int(count or 1)
    return [*result, ((offset + widest - 1) // widest * widest, 0)]


def python_fields(layout: struct.Struct) -> list[tuple[int, int]]:
    offset, result = 0, []
    for count, code in re.findall(r"(\d*)(\w)", layout.format.lstrip("=")):
        size = struct.calcsize("=" + count + code)
        result.append((offset, size))
        offset += size
    return [*result, (offset, 0)]


def enumeration(name: str) -> list[str]:
    found = re.search(rf"enum {name} {{(.*?)}};", HEADER, re.DOTALL)
    assert found is not None
    return re.findall(r"DSMIP_\w+", found.group(1))


def constant(name: str) -> int:
    found = re.search(rf"#define {name} (\w+)", HEADER)
    assert found is not None
    return int(found.group(1), 0)


def test_every_structure_is_mirrored() -> None:
    assert set(re.findall(r"^struct (\w+) {", HEADER, re.MULTILINE)) == set(LAYOUTS) | NOT_MIRRORED


@pytest.mark.parametrize("name", LAYOUTS)
def test_offsets_and_sizes(name: str) -> None:
    assert python_fields(LAYOUTS[name]) == fields(name)


def test_enumerations_have_the_same_order() -> None:
    reasons = [r.removeprefix("DSMIP_DROP_").lower().replace("_", "-") for r in enumeration("dsmip_drop")]
    assert reasons == [*maps.drop_reasons, "reasons"]
    formats = [f"DSMIP_FORMAT_{tunnel.name}" for tunnel in sorted(maps.formats, key=maps.formats.__getitem__)]
    assert formats == enumeration("dsmip_format")
    roles = [f"DSMIP_{role.name}" for role in sorted(maps.roles, key=maps.roles.__getitem__)]
    assert roles == enumeration("dsmip_role")


def test_constants() -> None:
    assert constant("DSMIP_LAYOUT") == maps.LAYOUT
    assert constant("DSMIP_UPCALL_MARK") == maps.UPCALL_MARK
    assert constant("DSMIP_SEEN_MARK") == maps.SEEN_MARK
    assert constant("DSMIP_PATH_RAW") == maps.PATH_RAW
    assert constant("DSMIP_MAX_BIDS") == api.MAX_BIDS
    assert constant("DSMIP_MAX_FLOWS") == api.MAX_FLOWS
    assert constant("DSMIP_MAX_COPIES") == api.MAX_COPIES
    assert constant("DSMIP_LENGTHS6") == maps.LENGTHS[6] == 128 + 2
    assert constant("DSMIP_LENGTHS4") == maps.LENGTHS[4] == 32 + 2
    for need in ("PORTS", "SPI", "SOURCE", "DESTINATION", "NEVER"):
        assert constant(f"DSMIP_RULE_{need}") == getattr(maps, f"RULE_{need}")
    assert constant("DSMIP_LOCAL_CAPACITY") == maps.LOCAL_CAPACITY


def test_a_path_in_octets() -> None:
    path = types.Path(
        types.TunnelFormat.UDP4,
        ip_address("192.0.2.1"),
        ip_address("203.0.113.77"),
        4191,
        40123,
        7,
        ip_address("2001:db8::1"),
        1.5,
        1400,
    )
    assert maps.PATH.unpack(maps.encode_path(path, raw=True)) == (
        1_500_000_000,
        0,
        0,
        bytes([192, 0, 2, 1]) + bytes(12),
        bytes([203, 0, 113, 77]) + bytes(12),
        ip_address("2001:db8::1").packed,
        7,
        b"\x10\x5f",
        b"\x9c\xbb",
        10,
        2,
        1,
        1400,
        0,
    )


def test_never_is_zero_and_the_past_is_not_never() -> None:
    assert maps.SOURCE.unpack(maps.encode_source(None, 0)) == (0, 0)
    assert maps.SOURCE.unpack(maps.encode_source(0.0, 7)) == (1, 7)
    assert maps.SOURCE.unpack(maps.encode_source(-5.0, 0)) == (1, 0)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_local_addresses_come_back(address: str) -> None:
    for interface in (0, 7):
        entry = (ip_address(address), interface)
        assert maps.decode_local(maps.encode_local(*entry)) == entry


def test_networks_and_keys() -> None:
    four, six = ip_network("198.51.100.0/24"), ip_network("2001:db8::/32")
    assert maps.encode_network(four) == bytes([198, 51, 100, 0]) + struct.pack("=I", 24)
    assert maps.encode_network(six) == six.network_address.packed + struct.pack("=II", 32, 0)
    for network in (four, six):
        length = maps.version_and_length(maps.encode_network(network))
        assert length == (network.version, network.prefixlen)
    assert maps.decode_path_key(maps.encode_path_key(2**32 - 1, 2**16 - 1)) == (2**32 - 1, 2**16 - 1)
    assert maps.source_index(maps.encode_source_key(77, ip_address("10.0.0.1"), 4191)) == 77
    assert maps.decode_traffic(struct.pack("=QQQQ", 1, 2, 3, 4)) == Traffic(1, 2, 3, 4)
    assert maps.decode_counter(struct.pack("=QQ", 3, 2**40)) == 2**40 + 3


def test_settings_of_another_layout_are_not_understood() -> None:
    settings = maps.Settings(Role.MOBILE_NODE, 3, 0, 4191, 50000, 200)
    data = settings.encode()
    assert maps.Settings.decode(data) == settings
    assert maps.Settings.decode(b"\xff" + data[1:]) is None
    assert maps.Settings.decode(data + b"\0") is None
