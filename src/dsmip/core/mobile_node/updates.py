"""Building the Binding Updates of a mobile node, with everything around them.

RFC 6275 section 11.7.1, RFC 3963 section 5.2, RFC 4285 section 5, RFC 5555 sections 4.2 and 4.4.2.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from dsmip.core.actions import SendDatagram, SendPacket
from dsmip.core.binding_update_list import NOTHING_CARRIED, Carried, SentUpdate
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.types import DSMIP_PORT, CareOfAddress, HomeAttachment, IPAddress, UdpEndpoint
from dsmip.wire.constants import BUFlag
from dsmip.wire.extensions import extensions_option
from dsmip.wire.fasthandoveroptions import MHLinkLayerAddress
from dsmip.wire.messages import BindingUpdate, encode_message
from dsmip.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    IPv4CareOfAddress,
    IPv4HomeAddress,
    MessageIdentifier,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    MobilityOption,
)
from dsmip.wire.packet import encode_packet

_AUTHENTICATOR_PLACE = bytes(12)

#: Option code of the mobile node's own link-layer address (RFC 5568 section 6.4.4, RFC 5648 section 5.6.3).
_OF_THE_MOBILE_NODE = 2


class Purpose(enum.Enum):
    """What a Binding Update is for."""

    REGISTER = "register"  #: make the care-of address the primary one, or renew it
    RETURN_HOME = "return home"  #: de-register from the home link (RFC 6275 section 11.5.5)
    CLEAR = "clear"  #: de-register from the care-of address: the home agent cannot do what we need
    ARRANGE = "arrange"  #: other priorities of registered care-of addresses, other flows
    REMOVE = "remove"  #: de-register some of several care-of addresses


_WITH_LIFETIME = (Purpose.REGISTER, Purpose.ARRANGE)


@dataclass(frozen=True, slots=True)
class Request:
    """What to tell the home agent, from where: stays the same over all retransmissions.

    `router` sets the R flag, `force_udp` the F flag (which has a meaning in IPv4 networks only).
    """

    purpose: Purpose
    place: CareOfAddress | HomeAttachment
    router: bool = False
    force_udp: bool = False

    @property
    def care_of(self) -> CareOfAddress | None:
        """The care-of address it is about, None on the home link."""
        return self.place if isinstance(self.place, CareOfAddress) else None


def build_update(
    config: MobileNodeConfig,
    request: Request,
    *,
    sequence: int,
    timestamp: int,
    lifetime: int,
    ipv4: tuple[IPv4HomeAddress, ...],
    sent_at: float,
    carried: Carried = NOTHING_CARRIED,
) -> tuple[SentUpdate, SendPacket | SendDatagram]:
    """The Binding Update of `request` ready to leave, and the note of it to keep.

    `lifetime` is in units of 4 seconds and ignored for de-registrations (which say 0). `timestamp` is used
    with RFC 4285 authentication only.
    """
    registering = request.purpose in _WITH_LIFETIME
    care_of: IPAddress = request.care_of.address if request.care_of is not None else config.home_address
    association = config.security_association
    update = SentUpdate(
        sequence=sequence,
        flags=_flags(config, request, carried),
        lifetime=lifetime if registering else 0,
        sent_at=sent_at,
        care_of=care_of,
        timestamp=timestamp if association else 0,
        ipv4=ipv4 if registering else (),
        carried=carried,
        covered=_covered(config, care_of, carried),
    )
    message = BindingUpdate(
        sequence=sequence,
        flags=update.flags,
        lifetime=update.lifetime,
        options=_options(config, request, update),
    )
    source = config.home_address  # of the pseudo-header; also the identity (RFC 6275 section 6.1.1)
    sign = association.signer(update.covered or care_of, config.home_address) if association else None
    octets = encode_message(message, source, config.home_agent, sign)
    return replace(update, octets=octets), _send(config, request, octets)


def _covered(config: MobileNodeConfig, care_of: IPAddress, carried: Carried) -> IPAddress | None:
    """What the authenticator covers beside binding identifiers, None = the care-of address.

    In UDP the home agent knows only those care-of addresses that the message names (see `authentication`).
    """
    if not carried.bids or not isinstance(care_of, IPv4Address):
        return None
    named = (bid.care_of for bid in carried.bids if isinstance(bid.care_of, IPv4Address))
    return next(named, config.home_address)


def _flags(config: MobileNodeConfig, request: Request, carried: Carried) -> BUFlag:
    flags = BUFlag.A | BUFlag.H
    if config.link_local:
        flags |= BUFlag.L
    if config.key_mobility:
        flags |= BUFlag.K
    if request.router:
        flags |= BUFlag.R
    if request.force_udp and _is_ipv4(request):
        flags |= BUFlag.F
    if carried.overwrite:
        flags |= BUFlag.O
    return flags


def _options(config: MobileNodeConfig, request: Request, update: SentUpdate) -> tuple[MobilityOption, ...]:
    options: list[MobilityOption] = []
    carried = update.carried
    if carried.bids:
        # These take the place of both of the options below, which must not be there (RFC 5648 sections 4.1
        # and 8.1).
        options += carried.bids
        if carried.link_layer:
            options.append(MHLinkLayerAddress(_OF_THE_MOBILE_NODE, carried.link_layer))
    elif isinstance(update.care_of, IPv4Address):
        # Stands in for the Alternate Care-of Address option (RFC 5555 section 3.1.2).
        options.append(IPv4CareOfAddress(update.care_of))
    else:
        # MUST be in all home registrations (RFC 6275 section 11.7.1).
        options.append(AlternateCareOfAddress(update.care_of))
    explicit = request.router and config.nemo_mode == "explicit"
    if explicit and request.purpose in _WITH_LIFETIME:
        options += [MobileNetworkPrefix.of(prefix) for prefix in config.prefixes]
    options += update.ipv4
    options += carried.flows.mobility_options
    if carried.extensions:
        options.append(extensions_option(carried.extensions))
    association = config.security_association
    if association is not None:
        options.append(MobileNodeIdentifier(association.identifier.encode()))
        options.append(MessageIdentifier(update.timestamp))
        options.append(Authentication(association.spi, _AUTHENTICATOR_PLACE))
    return tuple(options)


def _send(config: MobileNodeConfig, request: Request, message: bytes) -> SendPacket | SendDatagram:
    """Headers and route: RFC 6275 section 11.7.1 for IPv6, RFC 5555 section 4.2 for IPv4."""
    care_of = request.care_of
    if care_of is None or care_of.at_home:
        packet = encode_packet(config.home_address, config.home_agent, message)
        return SendPacket(packet, request.place.interface)
    if isinstance(care_of.address, IPv4Address):
        if config.home_agent_ipv4 is None:
            raise ValueError("an IPv4 care-of address needs a home agent with an IPv4 address")
        packet = encode_packet(config.home_address, config.home_agent, message)
        return SendDatagram(
            packet,
            local=UdpEndpoint(care_of.address, config.udp_port),
            remote=UdpEndpoint(config.home_agent_ipv4, DSMIP_PORT),
            interface=care_of.interface,
        )
    packet = encode_packet(care_of.address, config.home_agent, message, home_address=config.home_address)
    return SendPacket(packet, care_of.interface)


def _is_ipv4(request: Request) -> bool:
    return request.care_of is not None and isinstance(request.care_of.address, IPv4Address)
