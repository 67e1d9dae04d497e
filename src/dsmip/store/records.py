"""Bindings as compact octets and back.

The layout is spelt out field by field instead of being derived from `Binding`, so that a change of that class
is a decision about the files of running home agents too: it raises `SCHEMA_VERSION`.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec

from dsmip.core.types import Binding, IPAddress, IPv4Grant, Nat, TunnelFormat, UdpEndpoint

#: Version of the whole file: tables, columns and records.
SCHEMA_VERSION = 1

_IPV4_LENGTH = 4


class BindingRecord(msgspec.Struct, array_like=True, frozen=True):
    """One binding in MessagePack: addresses in network byte order, networks as (address, prefix length)."""

    home_address: bytes
    index: int
    care_of: bytes
    sequence: int
    lifetime: float
    created: float
    updated: float
    expires: float
    format: str
    identifier: str
    nat_source: tuple[bytes, int] | None
    nat: str
    home_agent_ipv4: bytes | None
    mobile_router: bool
    link_local: bool
    prefixes: list[tuple[bytes, int]]
    ipv4: list[tuple[bytes, int, bool]]
    authentication: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(BindingRecord)


def encode_binding(binding: Binding) -> bytes:
    """The record of a binding."""
    source = binding.nat_source
    home_agent_ipv4 = binding.home_agent_ipv4
    return _encoder.encode(
        BindingRecord(
            home_address=binding.home_address.packed,
            index=binding.index,
            care_of=binding.care_of.packed,
            sequence=binding.sequence,
            lifetime=binding.lifetime,
            created=binding.created,
            updated=binding.updated,
            expires=binding.expires,
            format=binding.format.value,
            identifier=binding.identifier,
            nat_source=None if source is None else (source.address.packed, source.port),
            nat=binding.nat.value,
            home_agent_ipv4=None if home_agent_ipv4 is None else home_agent_ipv4.packed,
            mobile_router=binding.mobile_router,
            link_local=binding.link_local,
            prefixes=[(prefix.network_address.packed, prefix.prefixlen) for prefix in binding.prefixes],
            ipv4=[
                (grant.network.network_address.packed, grant.network.prefixlen, grant.dynamic)
                for grant in binding.ipv4
            ],
            authentication=binding.authentication,
        )
    )


def decode_binding(record: bytes) -> Binding:
    """The binding of a record. Raises ValueError when it is not one."""
    row = _decoder.decode(record)
    source = row.nat_source
    return Binding(
        home_address=IPv6Address(row.home_address),
        index=row.index,
        care_of=_address(row.care_of),
        sequence=row.sequence,
        lifetime=row.lifetime,
        created=row.created,
        updated=row.updated,
        expires=row.expires,
        format=TunnelFormat(row.format),
        identifier=row.identifier,
        nat_source=None if source is None else UdpEndpoint(IPv4Address(source[0]), source[1]),
        nat=Nat(row.nat),
        home_agent_ipv4=None if row.home_agent_ipv4 is None else IPv4Address(row.home_agent_ipv4),
        mobile_router=row.mobile_router,
        link_local=row.link_local,
        prefixes=tuple(IPv6Network(prefix) for prefix in row.prefixes),
        ipv4=tuple(
            IPv4Grant(IPv4Network((address, length)), dynamic) for address, length, dynamic in row.ipv4
        ),
        authentication=row.authentication,
    )


def _address(packed: bytes) -> IPAddress:
    return IPv4Address(packed) if len(packed) == _IPV4_LENGTH else IPv6Address(packed)
