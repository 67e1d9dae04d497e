"""A Binding Update as a home agent reads it: who asks for what, and whether it may be had.

`read_request` makes a `Request` of a packet, or says why nothing is to be done about it. `refusal` goes
through the tests that need no more than the request, the configured mobile node and its present binding, in
the order of RFC 6275 sections 9.5.1 and 10.3.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import msgspec

from dsmip.core.lifetime import LIFETIME_UNIT
from dsmip.core.sequence import is_newer
from dsmip.core.types import Binding, IPAddress, MobileNodeEntry
from dsmip.wire.constants import BAStatus, BUFlag, OptionType
from dsmip.wire.experimental import ExperimentalOption
from dsmip.wire.extensions import Extensions, read_extensions
from dsmip.wire.fasthandoveroptions import MHLinkLayerAddress
from dsmip.wire.flows import FlowIdentification, FlowSummary
from dsmip.wire.ip import is_unicast_routable
from dsmip.wire.messages import BindingUpdate
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.option import MalformedOption
from dsmip.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    IPv4CareOfAddress,
    IPv4HomeAddress,
    MessageIdentifier,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    NonceIndices,
)
from dsmip.wire.packet import Packet, UdpOuter

#: Flags as plain integers: the arithmetic of IntFlag takes a microsecond an operation.
_H = int(BUFlag.H)
_L = int(BUFlag.L)
_R = int(BUFlag.R)
_F = int(BUFlag.F)
_O = int(BUFlag.O)

#: Option code of a mobile node's own link-layer address (RFC 5568 section 6.4.4), and octets of one.
_OF_THE_MOBILE_NODE = 2
ETHERNET_ADDRESS_SIZE = 6

#: Binding Identifier options of one Binding Update that are looked at: more of them are no mistake but an
#: attempt to make work.
MAXIMUM_BIDS = 32

#: The same of IPv4 Home Address options: each of these is answered, too.
MAXIMUM_IPV4_HOME_ADDRESSES = 64


class UpdateOptions(msgspec.Struct, gc=False):
    """The mobility options of a Binding Update that a home agent acts upon, sorted in one pass."""

    alternate_care_of: IPv6Address | None = None
    ipv4_care_of: IPv4Address | None = None
    identifier: str | None = None
    timestamp: int | None = None
    nonce_indices: bool = False
    authentications: tuple[Authentication, ...] = ()
    prefixes: tuple[MobileNetworkPrefix, ...] = ()
    ipv4_home_addresses: tuple[IPv4HomeAddress, ...] = ()
    #: Binding identifiers and flows, of which wrong ones are answered, too.
    bids: tuple[BindingIdentifier, ...] = ()
    malformed_bids: tuple[MalformedOption, ...] = ()
    flows: tuple[FlowIdentification | MalformedOption, ...] = ()
    kept_flows: tuple[int, ...] = ()
    extensions: Extensions | None = None
    #: The mobile node's own, on its home link (RFC 5648 section 5.6.3); empty = not given.
    link_layer: bytes = b""


class Request(msgspec.Struct, gc=False):
    """One Binding Update.

    `care_of` is the address it asks to register, as the mobile node sees it: it goes into authenticators (see
    `core.authentication` for updates with binding identifiers). `tunnel_end` is where packets have to be
    sent: the same, or the outer source of a Binding Update in UDP. `inside` is what the mobile node takes
    that outer source for, the home address when it does not say. `flags` are those of the update as a
    plain integer. `refused` is a status that was clear from the packet alone but may only be told to the
    authentic sender.
    """

    update: BindingUpdate
    options: UpdateOptions
    flags: int
    source: IPv6Address
    home_address: IPv6Address
    care_of: IPAddress
    tunnel_end: IPAddress
    inside: IPAddress
    udp: UdpOuter | None
    refused: BAStatus | None = None
    #: Lifetime 0, or the home address as care-of address (RFC 6275 section 10.3.2). The latter not in UDP: a
    #: missing IPv4 Care-of Address option does not mean that the node is at home.
    deregistration: bool = False
    #: The outer source differs from what the mobile node takes for its address (RFC 5555 section 4.2).
    nat: bool = False

    def __post_init__(self) -> None:
        """What follows from the rest and is asked for more than once."""
        self.deregistration = self.update.lifetime == 0 or (
            self.udp is None and not self.options.bids and self.care_of == self.home_address
        )
        self.nat = self.udp is not None and self.tunnel_end != self.inside

    @property
    def multiple(self) -> bool:
        """With binding identifiers (RFC 5648)."""
        return bool(self.options.bids)

    @property
    def from_home_address(self) -> bool:
        """The IPv6 source was the home address: no type 2 routing header in the answer (RFC 6275 9.5.4)."""
        return self.source is self.home_address or self.source == self.home_address

    @property
    def at_home(self) -> bool:
        """The mobile node sent this from its home link."""
        return self.udp is None and self.from_home_address

    @property
    def overwrite(self) -> bool:
        """The O flag: nothing stays of what was bound before (RFC 5648 section 4.2)."""
        return self.flags & _O != 0

    @property
    def mobile_router(self) -> bool:
        """The R flag (RFC 3963 section 4.1)."""
        return self.flags & _R != 0

    @property
    def home_registration(self) -> bool:
        """The H flag (RFC 6275 section 6.1.7)."""
        return self.flags & _H != 0

    @property
    def link_local(self) -> bool:
        """The L flag: the link-local address belongs to the mobile node too (RFC 6275 section 6.1.7)."""
        return self.flags & _L != 0

    @property
    def forces_udp(self) -> bool:
        """The F flag (RFC 5555 section 3.1.3)."""
        return self.flags & _F != 0


def read_request(packet: Packet, update: BindingUpdate, home_address: IPv6Address) -> Request | str:
    """The request in a packet, or the reason (a slug) to drop it silently. `home_address` is its sender.

    A Binding Update without a unicast routable home address, care-of address or source is not answered
    (RFC 6275 sections 9.3.1, 9.5.1, 9.5.4, 6.1.7), nor is one with the H flag and Nonce Indices (9.5.1).
    """
    options = sort_options(update)
    if not is_unicast_routable(packet.source):
        return "source-not-routable"
    # Without a home address option it is the source.
    if packet.home_address is not None and not is_unicast_routable(home_address):
        return "home-address-not-routable"
    flags = int(update.flags)
    if options.nonce_indices and flags & _H:
        return "nonce-indices"
    if len(options.ipv4_home_addresses) > MAXIMUM_IPV4_HOME_ADDRESSES:
        return "too-many-ipv4-home-addresses"
    if options.bids or options.malformed_bids:
        return _read_multiple(packet, update, home_address, options, flags)
    if packet.udp is not None:
        return _read_in_udp(packet, packet.udp, update, home_address, options, flags)
    care_of = options.alternate_care_of or packet.source
    if not is_unicast_routable(care_of):
        return "care-of-address-not-routable"
    request = Request(update, options, flags, packet.source, home_address, care_of, care_of, care_of, None)
    if packet.home_address is None and not request.deregistration:
        return "home-address-option-missing"
    return request


def _read_in_udp(
    packet: Packet,
    udp: UdpOuter,
    update: BindingUpdate,
    home_address: IPv6Address,
    options: UpdateOptions,
    flags: int,
) -> Request | str:
    """A Binding Update from an IPv4 network: its source is the home address (RFC 5555 section 4.4.2)."""
    if packet.home_address is not None:
        return "home-address-option-in-udp"
    if not is_unicast_ipv4(udp.source) or not udp.source_port:
        return "outer-source-not-routable"
    care_of: IPAddress = options.ipv4_care_of or options.alternate_care_of or home_address
    usable = options.ipv4_care_of is not None and is_unicast_ipv4(options.ipv4_care_of)
    refused = None
    if options.alternate_care_of is not None or (not usable and update.lifetime):
        refused = BAStatus.INVALID_CARE_OF_ADDRESS
    source = home_address
    return Request(update, options, flags, source, source, care_of, udp.source, care_of, udp, refused)


def _read_multiple(
    packet: Packet, update: BindingUpdate, home_address: IPv6Address, options: UpdateOptions, flags: int
) -> Request | str:
    """A Binding Update with binding identifiers (RFC 5648 sections 6.2 and 8.1).

    Alternate and IPv4 Care-of Address options must not come with them, and are passed over if they do.
    """
    if len(options.bids) + len(options.malformed_bids) > MAXIMUM_BIDS:
        return "too-many-binding-identifiers"
    source, udp = packet.source, packet.udp
    # A wrong length refuses the whole update.
    refused = BAStatus.MCOA_MALFORMED if options.malformed_bids else None
    if udp is None:
        from_home_link = update.lifetime == 0 or any(option.home for option in options.bids)
        if packet.home_address is None and not (refused or from_home_link):
            return "home-address-option-missing"
        return Request(update, options, flags, source, home_address, source, source, source, None, refused)
    if packet.home_address is not None:
        return "home-address-option-in-udp"
    if not is_unicast_ipv4(udp.source) or not udp.source_port:
        return "outer-source-not-routable"
    ipv4 = [option.care_of for option in options.bids if isinstance(option.care_of, IPv4Address)]
    care_of: IPAddress = ipv4[0] if ipv4 else source
    inside: IPAddress = udp.source if udp.source in ipv4 else care_of
    return Request(update, options, flags, source, source, care_of, udp.source, inside, udp, refused)


def sort_options(update: BindingUpdate) -> UpdateOptions:
    """One pass over the options; of those that may come only once the first counts."""
    # `type` is a quarter of `isinstance` here: the options have an abstract base class, and such a class asks
    # its registry for everything that is not exactly its own.
    found = UpdateOptions()
    for option in update.options:
        if type(option) is Authentication:
            found.authentications += (option,)
        elif type(option) is MessageIdentifier:
            if found.timestamp is None:
                found.timestamp = option.timestamp
        elif type(option) is MobileNodeIdentifier:
            if found.identifier is None:
                found.identifier = option.nai or None
        elif type(option) is AlternateCareOfAddress:
            found.alternate_care_of = found.alternate_care_of or option.address
        elif type(option) is IPv4CareOfAddress:
            found.ipv4_care_of = found.ipv4_care_of or option.address
        elif type(option) is MobileNetworkPrefix:
            found.prefixes += (option,)
        elif type(option) is IPv4HomeAddress:
            found.ipv4_home_addresses += (option,)
        elif type(option) is NonceIndices:
            found.nonce_indices = True
        elif type(option) is BindingIdentifier:
            found.bids += (option,)
        elif type(option) is FlowIdentification:
            found.flows += (option,)
        elif type(option) is FlowSummary:
            found.kept_flows += option.fids
        elif type(option) is MalformedOption:
            if option.type == OptionType.BINDING_IDENTIFIER:
                found.malformed_bids += (option,)
            else:
                found.flows += (option,)
        elif type(option) is ExperimentalOption and found.extensions is None:
            found.extensions = read_extensions((option,))
        elif (
            type(option) is MHLinkLayerAddress
            and option.code == _OF_THE_MOBILE_NODE
            and len(option.address) == ETHERNET_ADDRESS_SIZE
        ):
            found.link_layer = option.address
    return found


class Policy(msgspec.Struct, frozen=True, gc=False):
    """What `refusal` needs of the home agent's own configuration."""

    address: IPv6Address
    home_prefixes: tuple[IPv6Network, ...]
    refuse_udp: bool
    min_lifetime: float
    multiple_care_of_addresses: bool = True
    bulk_registration: bool = True


def refusal(
    request: Request,
    entry: MobileNodeEntry,
    binding: Binding | None,
    last_sequence: int | None,
    policy: Policy,
    *,
    permitted: bool,
) -> BAStatus | str | None:
    """The status that refuses an authentic Binding Update, a reason to drop it, or None.

    `last_sequence` is the one to compare with, None when any will do (RFC 6275 section 9.5.1). `permitted`:
    it may have this home address, the configured one or another.
    """
    if not request.home_registration:
        if request.mobile_router:
            return BAStatus.MOBILE_ROUTER_OPERATION_NOT_PERMITTED
        return "not-a-correspondent" if binding is None else BAStatus.REGISTRATION_TYPE_CHANGE_DISALLOWED
    home_address, mobile_router = request.home_address, request.mobile_router
    if not (_within(home_address, policy.home_prefixes) or _within(home_address, entry.prefixes)):
        return BAStatus.NOT_HOME_SUBNET
    if not permitted:
        return BAStatus.ADMINISTRATIVELY_PROHIBITED
    deregistration = request.deregistration
    if binding is not None and binding.mobile_router != mobile_router and not deregistration:
        return BAStatus.REGISTRATION_TYPE_CHANGE_DISALLOWED
    if last_sequence is not None and not is_newer(request.update.sequence, last_sequence):
        return BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW
    if request.multiple and not policy.multiple_care_of_addresses:
        return BAStatus.MCOA_PROHIBITED
    if deregistration and binding is None:
        return BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE
    if request.refused is not None and (request.options.malformed_bids or not deregistration):
        return request.refused
    if deregistration:
        return None
    if request.multiple:
        status = _refused_multiple(request, binding, policy)
        if status is not None:
            return status
    elif is_loop(request.tunnel_end, entry, policy.address):
        return BAStatus.INVALID_CARE_OF_ADDRESS
    return _refused_by_policy(request, entry, policy)


def _refused_multiple(request: Request, binding: Binding | None, policy: Policy) -> BAStatus | None:
    """What refuses all binding identifiers of a registration at once (RFC 5648 section 6.2)."""
    if len(request.options.bids) > 1 and not policy.bulk_registration:
        return BAStatus.MCOA_BULK_REGISTRATION_PROHIBITED
    if binding is not None and not binding.multiple and not request.overwrite:
        return BAStatus.MCOA_NON_MCOA_BINDING_EXISTS
    return None


def is_loop(care_of: IPAddress, entry: MobileNodeEntry, home_agent: IPv6Address) -> bool:
    """Whether packets to such a care-of address would be tunnelled to it again and again."""
    return care_of == home_agent or _within(care_of, entry.prefixes)


def _refused_by_policy(request: Request, entry: MobileNodeEntry, policy: Policy) -> BAStatus | None:
    if request.forces_udp and policy.refuse_udp and not request.nat:
        # 144 means something else to a mobile node that uses RFC 4285: MIPV6-ID-MISMATCH.
        return (
            BAStatus.ADMINISTRATIVELY_PROHIBITED
            if request.options.authentications
            else BAStatus.MIPV6_ID_MISMATCH
        )
    if request.mobile_router and not entry.mobile_router:
        return BAStatus.MOBILE_ROUTER_OPERATION_NOT_PERMITTED
    if request.update.lifetime * LIFETIME_UNIT < policy.min_lifetime:
        return BAStatus.ADMINISTRATIVELY_PROHIBITED
    return None


def _within(address: IPAddress, prefixes: Iterable[IPv6Network]) -> bool:
    # As numbers: `in` takes three times as long, `any` and its generator as long again.
    if not isinstance(address, IPv6Address):
        return False
    number = int(address)
    for prefix in prefixes:
        length = 128 - prefix.prefixlen
        if number >> length == int(prefix.network_address) >> length:
            return True
    return False


def is_unicast_ipv4(address: IPv4Address) -> bool:
    """True for an IPv4 address a single node elsewhere can have: private ones too, link-local ones not."""
    bits = int(address)
    return bits >> 24 not in (0, 127) and bits >> 28 < 0xE and bits >> 16 != 0xA9FE
