"""Bindings as octets, for this process alone: what a home agent keeps of those it has not heard of lately.

A third shorter than the records in the store, and read in less time: numbers at fixed places, first those of
the binding, then those of each care-of address, then what is of any length. The home address is not in it:
whoever keeps the octets keeps them under that.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from struct import Struct
from struct import error as StructError
from typing import Final

import msgspec

from dsmip.core.binding_record import BindingRecord, CareOfRecord, FlowRecord, flow_of, flow_row
from dsmip.core.types import (
    Binding,
    CareOfBinding,
    IPAddress,
    IPv4Grant,
    MobileNodeEntry,
    Nat,
    TunnelFormat,
    UdpEndpoint,
)
from dsmip.wire.extensions import Extensions

#: Index, created, sequence, flags, extensions; how many care-of addresses, prefixes and IPv4 grants, and
#: octets of the identifier.
_HEAD: Final = Struct("=IdHBBBHHH")
#: Where it says how many care-of addresses there are.
_COUNT: Final = 16
#: End on the clock of this process, updated, lifetime, BID, priority, and what kind it is.
_CARE_OF: Final = Struct("=dddHBH")
_END: Final = Struct("=d")
_PORT: Final = Struct("=H")
_IPV4_SIZE, _IPV6_SIZE = 4, 16

# Flags of a binding.
_ROUTER, _LINK_LOCAL, _FORMER = 1, 2, 4
_AUTHENTICATION_SHIFT: Final = 3
_AUTHENTICATION_NAMES: Final = ("mn-ha", "ipsec", "none")
_AUTHENTICATIONS: Final = {
    name: number << _AUTHENTICATION_SHIFT for number, name in enumerate(_AUTHENTICATION_NAMES)
}

# The kind of a care-of address: tunnel format in 3 bits, NAT in 2, then flags.
_FORMAT_MASK, _NAT_SHIFT, _NAT_MASK = 7, 3, 3
_IPV6, _AT_HOME, _HAS_HOME_AGENT, _HAS_SOURCE = 1 << 5, 1 << 6, 1 << 7, 1 << 8
#: The outer source is the care-of address itself, as of most that are behind a NAT.
_SAME: Final = 1 << 9
#: It does not end just a lifetime after it was updated.
_OWN_END: Final = 1 << 10
_TUNNELS: Final = tuple(TunnelFormat)
_FORMATS: Final = {one.value: number for number, one in enumerate(_TUNNELS)}
_NAT_STATES: Final = tuple(Nat)
_NATS: Final = {one.value: number << _NAT_SHIFT for number, one in enumerate(_NAT_STATES)}

_OCTETS: Final = tuple(bytes((number,)) for number in range(256))
_flows_encoder = msgspec.msgpack.Encoder()
_flows_decoder = msgspec.msgpack.Decoder(list[FlowRecord])


def freeze(binding: Binding) -> bytes:
    """The octets of a binding."""
    numbers, addresses = b"", b""
    for entry in binding.care_ofs:
        source, home_agent, care_of = entry.nat_source, entry.home_agent_ipv4, entry.care_of.packed
        outside = None
        if source is not None:
            outside = (care_of if source.address is entry.care_of else source.address.packed, source.port)
        more = _care_of_octets(
            entry,
            entry.ends,
            # As `value`, in a tenth of the time.
            _FORMATS[entry.format._value_] | _NATS[entry.nat._value_],
            care_of,
            outside,
            None if home_agent is None else home_agent.packed,
        )
        # All that stands at fixed places comes before all that does not.
        numbers += more[0]
        addresses += more[1]
    for prefix in binding.prefixes:
        addresses += prefix.network_address.packed + _OCTETS[prefix.prefixlen]
    for grant in binding.ipv4:
        addresses += grant.address.packed + _OCTETS[grant.prefixlen] + _OCTETS[grant.dynamic]
    former = b"" if binding.former is None else binding.former.packed
    flows = _flows_encoder.encode(list(map(flow_row, binding.flows))) if binding.flows else b""
    return _join(binding, numbers + addresses, former, flows)


def freeze_row(row: BindingRecord, end: float) -> bytes:
    """The same of a row of the store with a single care-of address, which ends then (CLOCK_MONOTONIC).

    Raises ValueError for what no binding can have.
    """
    (entry,) = row.care_ofs
    outside = [
        address for address in (entry.nat_source and entry.nat_source[0], entry.home_agent_ipv4) if address
    ]
    if len(entry.care_of) not in (_IPV4_SIZE, _IPV6_SIZE) or any(len(one) != _IPV4_SIZE for one in outside):
        raise ValueError("an address of a wrong length")
    try:
        kind = _FORMATS[entry.format] | _NATS[entry.nat]
        octets, addresses = _care_of_octets(
            entry, end, kind, entry.care_of, entry.nat_source, entry.home_agent_ipv4
        )
        octets += addresses
        for address, length in row.prefixes:
            octets += address + _OCTETS[length]
        for address, length, dynamic in row.ipv4:
            octets += address + _OCTETS[length] + _OCTETS[dynamic]
        flows = _flows_encoder.encode(row.flows) if row.flows else b""
        return _join(row, octets, row.former or b"", flows)
    except (LookupError, StructError) as error:
        raise ValueError(str(error)) from error


def _care_of_octets(
    entry: CareOfBinding | CareOfRecord,
    end: float,
    kind: int,
    care_of: bytes,
    source: tuple[bytes, int] | None,
    home_agent: bytes | None,
) -> tuple[bytes, bytes]:
    """The numbers of a care-of address, and its addresses. `kind` says tunnel and NAT."""
    octets = care_of
    if len(care_of) == _IPV6_SIZE:
        kind |= _IPV6
    if entry.at_home:
        kind |= _AT_HOME
    if home_agent is not None:
        kind |= _HAS_HOME_AGENT
        octets += home_agent
    if source is not None:
        kind |= _HAS_SOURCE
        octets += _PORT.pack(source[1])
        if source[0] == care_of:
            kind |= _SAME
        else:
            octets += source[0]
    if entry.updated + entry.lifetime != entry.expires:
        kind |= _OWN_END
        octets += _END.pack(entry.expires)
    return _CARE_OF.pack(end, entry.updated, entry.lifetime, entry.bid, entry.priority, kind), octets


def _join(binding: Binding | BindingRecord, octets: bytes, former: bytes, flows: bytes) -> bytes:
    """All of it; `octets` are those of care-of addresses, prefixes and grants."""
    flags = _AUTHENTICATIONS[binding.authentication]
    if binding.mobile_router:
        flags |= _ROUTER
    if binding.link_local:
        flags |= _LINK_LOCAL
    if former:
        flags |= _FORMER
    identifier = binding.identifier.encode()
    head = _HEAD.pack(
        binding.index,
        binding.created,
        binding.sequence,
        flags,
        binding.extensions,
        len(binding.care_ofs),
        len(binding.prefixes),
        len(binding.ipv4),
        len(identifier),
    )
    return head + octets + identifier + former + flows


def next_end(frozen: bytes) -> float:
    """When the first care-of address ends, in CLOCK_MONOTONIC seconds."""
    ends = [_END.unpack_from(frozen, place)[0] for place in _places(frozen)]
    return float(min(ends))


def formats_of(frozen: bytes) -> list[TunnelFormat]:
    """The tunnels of the care-of addresses, the preferred one first."""
    kinds = (_CARE_OF.unpack_from(frozen, place)[-1] for place in _places(frozen))
    return [_TUNNELS[kind & _FORMAT_MASK] for kind in kinds]


def _places(frozen: bytes) -> range:
    """Where the numbers of its care-of addresses stand."""
    return range(_HEAD.size, _HEAD.size + _CARE_OF.size * frozen[_COUNT], _CARE_OF.size)


def thaw(frozen: bytes, home_address: int, entry: MobileNodeEntry | None = None) -> Binding:
    """The binding of this home address, a number.

    What its mobile node is configured with, if that is given, is in it as the very objects of the entry:
    they are neither made again nor compared for long.
    """
    index, created, sequence, flags, extensions, *lengths = _HEAD.unpack_from(frozen)
    care_of_count, prefix_count, ipv4_count, identifier_length = lengths
    place = _HEAD.size + care_of_count * _CARE_OF.size
    care_ofs = []
    for numbers in _places(frozen):
        care_of, place = _care_of(frozen, numbers, place)
        care_ofs.append(care_of)
    end = place + prefix_count * (_IPV6_SIZE + 1)
    prefixes = _prefixes(frozen[place:end], () if entry is None else entry.prefixes)
    place = end
    ipv4 = []
    own = None if entry is None else entry.ipv4_home_address
    for _ in range(ipv4_count):
        end = place + _IPV4_SIZE
        octets = frozen[place:end]
        address = own if own is not None and own.packed == octets else IPv4Address(octets)
        ipv4.append(IPv4Grant(address, frozen[end], bool(frozen[end + 1])))
        place = end + 2
    end = place + identifier_length
    identifier = frozen[place:end].decode()
    former = None
    if flags & _FORMER:
        former = IPv6Address(frozen[end : end + _IPV6_SIZE])
        end += _IPV6_SIZE
    flows = _flows_decoder.decode(memoryview(frozen)[end:]) if end < len(frozen) else ()
    own_address = None if entry is None else entry.home_address
    if own_address is None or int(own_address) != home_address:
        own_address = IPv6Address(home_address)
    return Binding(
        home_address=own_address,
        index=index,
        care_ofs=tuple(care_ofs),
        sequence=sequence,
        created=created,
        identifier=identifier,
        mobile_router=bool(flags & _ROUTER),
        link_local=bool(flags & _LINK_LOCAL),
        prefixes=prefixes,
        ipv4=tuple(ipv4),
        authentication=_AUTHENTICATION_NAMES[flags >> _AUTHENTICATION_SHIFT],
        flows=tuple(map(flow_of, flows)),
        extensions=Extensions(extensions) if extensions else Extensions.NONE,
        former=former,
    )


def _prefixes(octets: bytes, own: tuple[IPv6Network, ...]) -> tuple[IPv6Network, ...]:
    """Mobile network prefixes; `own` if these are they."""
    if octets == b"".join([prefix.network_address.packed + _OCTETS[prefix.prefixlen] for prefix in own]):
        return own
    # From numbers: a network made of octets goes by way of its text.
    return tuple(
        IPv6Network((int.from_bytes(octets[place : place + _IPV6_SIZE]), octets[place + _IPV6_SIZE]))
        for place in range(0, len(octets), _IPV6_SIZE + 1)
    )


def _care_of(frozen: bytes, numbers: int, place: int) -> tuple[CareOfBinding, int]:
    """The care-of address with its numbers and its addresses at these places, and where the latter end."""
    ends, updated, lifetime, bid, priority, kind = _CARE_OF.unpack_from(frozen, numbers)
    end = place + (_IPV6_SIZE if kind & _IPV6 else _IPV4_SIZE)
    octets, place = frozen[place:end], end
    care_of: IPAddress = IPv6Address(octets) if kind & _IPV6 else IPv4Address(octets)
    home_agent = source = None
    if kind & _HAS_HOME_AGENT:
        home_agent = IPv4Address(frozen[place : place + _IPV4_SIZE])
        place += _IPV4_SIZE
    if kind & _HAS_SOURCE:
        (port,) = _PORT.unpack_from(frozen, place)
        place += _PORT.size
        if kind & _SAME and isinstance(care_of, IPv4Address):
            source = UdpEndpoint(care_of, port)
        else:
            source = UdpEndpoint(IPv4Address(frozen[place : place + _IPV4_SIZE]), port)
            place += _IPV4_SIZE
    expires = updated + lifetime
    if kind & _OWN_END:
        (expires,) = _END.unpack_from(frozen, place)
        place += _END.size
    return CareOfBinding(
        bid=bid,
        care_of=care_of,
        format=_TUNNELS[kind & _FORMAT_MASK],
        lifetime=lifetime,
        updated=updated,
        expires=expires,
        priority=priority,
        nat_source=source,
        nat=_NAT_STATES[kind >> _NAT_SHIFT & _NAT_MASK],
        home_agent_ipv4=home_agent,
        at_home=bool(kind & _AT_HOME),
        ends=ends,
    ), place
