"""Whose signalling an upcall claims to be, by a glance at it: for the order in which many are looked at.

Nothing is decided by this but whose turn it is. It is quick, takes nothing apart that it need not, and may be
wrong about packets that are not laid out as ours are: those wait a little longer.
"""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from dsmip.core.authentication import is_later
from dsmip.core.home_agent.nodes import ServedNode
from dsmip.core.types import Binding, IPAddress
from dsmip.wire.constants import NextHeader
from dsmip.wire.messages import covered_octets

_IPV6_HEADER = 40
_UDP_HEADER = 8
_HOME_ADDRESS_OPTION = b"\xc9\x10"  #: type and length
#: Where the option is looked for: behind the header of the destination options and some padding.
_OPTION_FROM, _OPTION_TO = _IPV6_HEADER + 2, _IPV6_HEADER + 26


#: Type and length of mobility options, and what of them is wanted.
_ALTERNATE_CARE_OF_ADDRESS, _IPV4_CARE_OF_ADDRESS = b"\x03\x10", b"\x20\x06"
_MESSAGE_IDENTIFIER = b"\x0a\x08"
_AUTHENTICATOR = 12
_FIRST_OPTION = 12  #: in a Binding Update


class Standing(enum.IntEnum):
    """What is known of an alleged sender."""

    PROVEN = 0  #: it has the key, and this is new
    EXPECTED = 1  #: it is registered, and there
    KNOWN = 2  #: it is served, but registered elsewhere or not at all
    STRANGER = 3  #: nobody


class Claim(NamedTuple):
    """Who sent a packet, as it says itself. `source` is the outermost address, `port` 0 without UDP.

    `header` is where the mobility header begins, if it is one.
    """

    home_address: bytes
    source: bytes
    port: int
    header: int


def claim_of(data: bytes) -> Claim:
    """What is claimed by a packet with all its outer headers; zero octets where it says nothing."""
    if data and data[0] >> 4 == 4:
        udp = 4 * (data[0] & 0x0F)
        inner = udp + _UDP_HEADER
        port = int.from_bytes(data[udp : udp + 2])
        return Claim(data[inner + 8 : inner + 24], data[12:16], port, inner + _IPV6_HEADER)
    source = data[8:24]
    if len(data) > _OPTION_FROM and data[6] == NextHeader.DESTINATION:
        option = data.find(_HOME_ADDRESS_OPTION, _OPTION_FROM, _OPTION_TO)
        if option >= 0:
            end = _IPV6_HEADER + 8 * (data[_IPV6_HEADER + 1] + 1)
            return Claim(data[option + 2 : option + 18], source, 0, end)
    return Claim(source, source, 0, _IPV6_HEADER)


def standing_at_home_agent(claim: Claim, binding: Binding | None) -> Standing:
    """The standing of a packet that claims, without proof, to be from a mobile node with this binding."""
    if binding is None:
        return Standing.KNOWN
    for entry in binding.care_ofs:
        outside = entry.nat_source
        address, port = (outside.address, outside.port) if outside is not None else (entry.care_of, 0)
        if claim.port == port and claim.source == address.packed:
            return Standing.EXPECTED
    return Standing.KNOWN


def standing_at_mobile_node(data: bytes, *home_agent: IPAddress | None) -> Standing:
    """The standing of a packet at a mobile node: what comes from the home agent is looked at first."""
    source = claim_of(data).source
    expected = any(address is not None and address.packed == source for address in home_agent)
    return Standing.EXPECTED if expected else Standing.STRANGER


def is_proven(claim: Claim, data: bytes, node: ServedNode) -> bool:
    """Whether this has the right authenticator and a new timestamp (RFC 4285 sections 5.1 and 6)."""
    header = data[claim.header :]
    covered = covered_octets(header)
    if covered is None or node.association is None:
        return False
    timestamp = header.rfind(_MESSAGE_IDENTIFIER, _FIRST_OPTION, len(covered))
    care_of = _care_of(header, len(covered))
    if timestamp < 0 or care_of is None:
        return False
    said = int.from_bytes(header[timestamp + 2 : timestamp + 10])
    if node.timestamp and not is_later(said, node.timestamp):
        return False
    authenticator = header[len(covered) : len(covered) + _AUTHENTICATOR]
    return node.association.verify(authenticator, care_of, IPv6Address(claim.home_address), covered)


def _care_of(header: bytes, end: int) -> IPAddress | None:
    """The care-of address that the authenticator covers, by the option that carries it."""
    place = header.find(_ALTERNATE_CARE_OF_ADDRESS, _FIRST_OPTION, end - 18)
    if place >= 0:
        return IPv6Address(header[place + 2 : place + 18])
    place = header.find(_IPV4_CARE_OF_ADDRESS, _FIRST_OPTION, end - 8)
    return IPv4Address(header[place + 4 : place + 8]) if place >= 0 else None
