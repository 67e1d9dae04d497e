"""Bindings as compact octets and back.

The layout is spelt out field by field instead of being derived from `Binding`, so that a change of that class
is a decision about the files of running home agents too: it raises `SCHEMA_VERSION`.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network

import msgspec

from dsmip.core.types import (
    Binding,
    CareOfBinding,
    FlowBinding,
    IPAddress,
    IPv4Grant,
    Nat,
    TunnelFormat,
    UdpEndpoint,
)
from dsmip.wire.extensions import Extensions
from dsmip.wire.trafficselectors import UnknownTrafficSelector, decode_traffic_selector

#: Version of the whole file: tables, columns and records.
SCHEMA_VERSION = 4

_IPV4_LENGTH = 4


class CareOfRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One care-of address of a binding."""

    bid: int
    care_of: bytes
    format: str
    lifetime: float
    updated: float
    expires: float
    priority: int
    nat_source: tuple[bytes, int] | None
    nat: str
    home_agent_ipv4: bytes | None
    at_home: bool


class FlowRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One flow binding; the selector as a mobility option carries it (RFC 6088)."""

    fid: int
    priority: int
    selector: bytes
    bids: list[int]


class BindingRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One binding in MessagePack: addresses in network byte order, networks as (address, prefix length)."""

    home_address: bytes
    index: int
    care_ofs: list[CareOfRecord]
    sequence: int
    created: float
    identifier: str
    mobile_router: bool
    link_local: bool
    prefixes: list[tuple[bytes, int]]
    ipv4: list[tuple[bytes, int, bool]]
    authentication: str
    flows: list[FlowRecord]
    extensions: int
    former: bytes | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(BindingRecord)


def row_of(record: bytes) -> BindingRecord:
    """What a record says. Raises ValueError when it is not one."""
    return _decoder.decode(record)


def encode_binding(binding: Binding) -> bytes:
    """The record of a binding."""
    return _encoder.encode(
        BindingRecord(
            home_address=binding.home_address.packed,
            index=binding.index,
            care_ofs=[_care_of_record(entry) for entry in binding.care_ofs],
            sequence=binding.sequence,
            created=binding.created,
            identifier=binding.identifier,
            mobile_router=binding.mobile_router,
            link_local=binding.link_local,
            prefixes=[(prefix.network_address.packed, prefix.prefixlen) for prefix in binding.prefixes],
            ipv4=[(grant.address.packed, grant.prefixlen, grant.dynamic) for grant in binding.ipv4],
            authentication=binding.authentication,
            flows=list(map(flow_row, binding.flows)),
            extensions=binding.extensions._value_,
            former=None if binding.former is None else binding.former.packed,
        )
    )


def decode_binding(record: bytes | memoryview) -> Binding:
    """The binding of a record. Raises ValueError when it is not one."""
    row = _decoder.decode(record)
    if not row.care_ofs:
        raise ValueError("a binding without a care-of address")
    return Binding(
        home_address=IPv6Address(row.home_address),
        index=row.index,
        care_ofs=tuple(_care_of(entry) for entry in row.care_ofs),
        sequence=row.sequence,
        created=row.created,
        identifier=row.identifier,
        mobile_router=row.mobile_router,
        link_local=row.link_local,
        prefixes=tuple(IPv6Network(prefix) for prefix in row.prefixes),
        ipv4=tuple(IPv4Grant(IPv4Address(address), length, dynamic) for address, length, dynamic in row.ipv4),
        authentication=row.authentication,
        flows=tuple(flow_of(flow) for flow in row.flows),
        extensions=Extensions(row.extensions),
        former=None if row.former is None else IPv6Address(row.former),
    )


def _care_of_record(entry: CareOfBinding) -> CareOfRecord:
    source, home_agent_ipv4 = entry.nat_source, entry.home_agent_ipv4
    return CareOfRecord(
        bid=entry.bid,
        care_of=entry.care_of.packed,
        # As `value`, in a tenth of the time.
        format=entry.format._value_,
        lifetime=entry.lifetime,
        updated=entry.updated,
        expires=entry.expires,
        priority=entry.priority,
        nat_source=None if source is None else (source.address.packed, source.port),
        nat=entry.nat._value_,
        home_agent_ipv4=None if home_agent_ipv4 is None else home_agent_ipv4.packed,
        at_home=entry.at_home,
    )


def _care_of(row: CareOfRecord) -> CareOfBinding:
    source = row.nat_source
    return CareOfBinding(
        bid=row.bid,
        care_of=_address(row.care_of),
        format=TunnelFormat(row.format),
        lifetime=row.lifetime,
        updated=row.updated,
        expires=row.expires,
        priority=row.priority,
        nat_source=None if source is None else UdpEndpoint(IPv4Address(source[0]), source[1]),
        nat=Nat(row.nat),
        home_agent_ipv4=None if row.home_agent_ipv4 is None else IPv4Address(row.home_agent_ipv4),
        at_home=row.at_home,
    )


def flow_row(flow: FlowBinding) -> FlowRecord:
    """The row of a flow binding."""
    return FlowRecord(flow.fid, flow.priority, flow.selector.encode(), list(flow.bids))


def flow_of(row: FlowRecord) -> FlowBinding:
    """The flow binding of a row. Raises ValueError for a selector that nothing is known of."""
    selector = decode_traffic_selector(row.selector)
    if isinstance(selector, UnknownTrafficSelector):
        raise ValueError(f"a traffic selector of format {selector.format}")
    return FlowBinding(row.fid, row.priority, selector, tuple(row.bids))


def _address(packed: bytes) -> IPAddress:
    return IPv4Address(packed) if len(packed) == _IPV4_LENGTH else IPv6Address(packed)
