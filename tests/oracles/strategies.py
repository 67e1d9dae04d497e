"""Hypothesis strategies for everything the wire layer can say."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network

from hypothesis import strategies as st

from dsmip.wire import (
    captiveportal,
    cgaoptions,
    experimental,
    fasthandover,
    fasthandoveroptions,
    fastndoptions,
    flowbinding,
    flows,
    heartbeat,
    homeagentswitch,
    icmpv4,
    icmpv6,
    localizedrouting,
    messages,
    multicastsubscription,
    multihoming,
    ndoptioncodec,
    optioncodec,
    options,
    otheroptions,
    proxyoptions,
    returnroutability,
    revocation,
    trafficselectors,
    updatenotification,
)
from dsmip.wire.arp import ArpPacket
from dsmip.wire.constants import BAFlag, BUFlag, MHType, OptionType
from dsmip.wire.ip import is_unicast_routable
from dsmip.wire.message import Message
from dsmip.wire.option import MobilityOption

U8 = st.integers(0, 0xFF)
U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFF_FFFF)
U64 = st.integers(0, 0xFFFF_FFFF_FFFF_FFFF)
IPV4 = U32.map(IPv4Address)
IPV6 = st.integers(0, (1 << 128) - 1).map(IPv6Address)
ROUTABLE = IPV6.filter(is_unicast_routable)
PREFIX = st.builds(
    lambda address, length: IPv6Network((address, length), strict=False), IPV6, st.integers(0, 128)
)


def octets(size: int) -> st.SearchStrategy[bytes]:
    """Exactly so many octets."""
    return st.binary(min_size=size, max_size=size)


MAC = octets(6)
COOKIE = octets(8)
AUTHENTICATOR = st.sampled_from([1, 12, 16, 20, 32]).flatmap(octets)


def span(values: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, int] | None]:
    """A range of a traffic selector, or none."""
    return st.none() | st.tuples(values, values)


SELECTOR: st.SearchStrategy[trafficselectors.TrafficSelector] = st.one_of(
    st.builds(
        trafficselectors.IPv4TrafficSelector,
        st.none() | st.tuples(IPV4, IPV4),
        st.none() | st.tuples(IPV4, IPV4),
        *(span(U32), span(U16), span(U16), span(U8), span(U8)),
    ),
    st.builds(
        trafficselectors.IPv6TrafficSelector,
        st.none() | st.tuples(IPV6, IPV6),
        st.none() | st.tuples(IPV6, IPV6),
        *(span(U32), span(U32), span(U16), span(U16), span(U8), span(U8)),
    ),
    st.builds(trafficselectors.UnknownTrafficSelector, st.integers(3, 255), st.binary(max_size=40)),
)

#: Types whose octets an UnknownOption cannot carry: padding, and what has a class of its own.
_KNOWN_OPTIONS = frozenset(
    {OptionType.PAD1, OptionType.PADN, *(option.TYPE for option in optioncodec.OPTION_CLASSES)}
)

PLAIN_OPTION: st.SearchStrategy[MobilityOption] = st.one_of(
    st.builds(options.BindingRefreshAdvice, U16),
    st.builds(options.AlternateCareOfAddress, IPV6),
    st.builds(options.NonceIndices, U16, U16),
    st.builds(options.MobileNetworkPrefix.of, PREFIX),
    st.builds(options.MobileNodeIdentifier, st.binary(max_size=60), U8),
    st.builds(options.MessageIdentifier, U64),
    st.builds(options.IPv4HomeAddress, IPV4, st.integers(0, 63), st.booleans()),
    st.builds(options.IPv4AddressAcknowledgement, U8, IPV4, st.integers(0, 63)),
    st.builds(options.NatDetection, st.booleans(), U32),
    st.builds(options.IPv4CareOfAddress, IPV4),
    st.builds(
        multihoming.BindingIdentifier, U16, U8, st.booleans(), st.integers(0, 127), st.none() | IPV4 | IPV6
    ),
    st.builds(flows.FlowSummary, st.lists(U16, min_size=1, max_size=20).map(tuple)),
    st.builds(
        flows.FlowIdentification,
        U16,
        U16,
        U8,
        st.lists(U16, max_size=8).map(tuple),
        st.none() | SELECTOR,
        st.lists(st.tuples(st.integers(4, 255), st.binary(max_size=8)), max_size=2).map(tuple),
    ),
    st.builds(fasthandoveroptions.MHLinkLayerAddress, U8, st.binary(max_size=8)),
    st.builds(fasthandoveroptions.MHIPv6AddressPrefix, U8, U8, IPV6),
    st.builds(otheroptions.VendorSpecific, U32, U8, st.binary(max_size=30)),
    st.builds(otheroptions.ServiceSelection, st.binary(min_size=1, max_size=30)),
    st.builds(otheroptions.RestartCounter, U32),
    st.builds(otheroptions.DnsUpdate, st.binary(max_size=30), U8, st.booleans()),
    st.builds(experimental.ExperimentalOption, st.binary(max_size=30)),
    st.builds(cgaoptions.CgaParametersRequest),
    st.builds(cgaoptions.CgaParameters, st.binary(min_size=1, max_size=255)),
    st.builds(cgaoptions.Signature, st.binary(min_size=1, max_size=60)),
    st.builds(cgaoptions.PermanentHomeKeygenToken, st.binary(min_size=8, max_size=60)),
    st.builds(cgaoptions.CareOfTestInitOption),
    st.builds(cgaoptions.CareOfTestOption, COOKIE),
    st.builds(proxyoptions.HomeNetworkPrefix.of, PREFIX),
    st.builds(proxyoptions.HandoffIndicator, U8),
    st.builds(proxyoptions.AccessTechnologyType, U8),
    st.builds(proxyoptions.LinkLocalAddress, IPV6),
    st.builds(proxyoptions.Timestamp, U64),
    st.builds(proxyoptions.GreKey, st.none() | U32),
    st.builds(proxyoptions.MagIPv6Address, IPV6),
    st.builds(
        options.UnknownOption,
        U8.filter(lambda number: number not in _KNOWN_OPTIONS),
        st.binary(max_size=40),
    ),
)

AUTHENTICATING_OPTION: st.SearchStrategy[options.AuthenticatingOption] = st.one_of(
    st.builds(options.Authentication, U32, AUTHENTICATOR, U8),
    st.builds(options.BindingAuthorizationData, AUTHENTICATOR),
    st.builds(
        fasthandoveroptions.FastBindingAuthorizationData,
        U32,
        AUTHENTICATOR.filter(lambda octets: len(octets) >= fasthandoveroptions.AUTHENTICATOR_SIZE),
    ),
)

OPTIONS = st.lists(PLAIN_OPTION | AUTHENTICATING_OPTION, max_size=5).map(tuple)
SIGNED_OPTIONS = st.builds(
    lambda front, last: (*front, last), st.lists(PLAIN_OPTION, max_size=4), AUTHENTICATING_OPTION
)

BU_FLAGS = st.integers(0, 0xFFF).map(lambda value: BUFlag(value << 4))
BA_FLAGS = st.integers(0, 0x7F).map(lambda value: BAFlag(value << 1))
FAST_FLAGS = st.integers(0, 0xF).map(lambda value: BUFlag(value << 12))
REVOCATION_FLAGS = st.integers(0, 7).map(lambda value: revocation.RevocationFlag(value << 13))

# Behind the six octets that all mobility headers share: whole units of 8 in the end.
_BODY = st.integers(0, 20).flatmap(lambda units: octets(8 * units + 2))
UNKNOWN_MESSAGE = st.builds(
    messages.UnknownMessage,
    st.integers(len(MHType), 255),
    _BODY,
)
EXPERIMENTAL_MESSAGE = st.builds(experimental.ExperimentalMessage, _BODY)


def message(with_options: st.SearchStrategy[tuple[MobilityOption, ...]]) -> st.SearchStrategy[Message]:
    """Any message with these options."""
    return st.one_of(*each_message(with_options))


def each_message(
    with_options: st.SearchStrategy[tuple[MobilityOption, ...]],
) -> list[st.SearchStrategy[Message]]:
    """One strategy for every kind of message, with these options."""
    return [
        st.builds(messages.BindingRefreshRequest, with_options),
        st.builds(messages.BindingUpdate, U16, BU_FLAGS, U16, with_options),
        st.builds(messages.BindingAcknowledgement, U8, BA_FLAGS, U16, U16, with_options),
        st.builds(messages.BindingError, U8, IPV6, with_options),
        st.builds(returnroutability.HomeTestInit, COOKIE, with_options),
        st.builds(returnroutability.CareOfTestInit, COOKIE, with_options),
        st.builds(returnroutability.HomeTest, U16, COOKIE, COOKIE, with_options),
        st.builds(returnroutability.CareOfTest, U16, COOKIE, COOKIE, with_options),
        st.builds(fasthandover.FastBindingUpdate, U16, FAST_FLAGS, U16, with_options),
        st.builds(
            fasthandover.FastBindingAcknowledgement,
            U8,
            st.sampled_from([BAFlag(0), BAFlag.K]),
            U16,
            U16,
            with_options,
        ),
        st.builds(fasthandover.FastNeighborAdvertisement, with_options),
        st.builds(fasthandover.HandoverInitiate, U16, U8, st.booleans(), st.booleans(), with_options),
        st.builds(fasthandover.HandoverAcknowledge, U16, U8, with_options),
        st.builds(homeagentswitch.HomeAgentSwitch, st.lists(IPV6, max_size=4).map(tuple), with_options),
        st.builds(heartbeat.Heartbeat, U32, st.booleans(), st.booleans(), with_options),
        st.builds(revocation.BindingRevocationIndication, U8, U16, REVOCATION_FLAGS, with_options),
        st.builds(revocation.BindingRevocationAcknowledgement, U8, U16, REVOCATION_FLAGS, with_options),
        st.builds(localizedrouting.LocalizedRoutingInitiation, U16, U16, with_options),
        st.builds(localizedrouting.LocalizedRoutingAcknowledgment, U16, U8, U16, st.booleans(), with_options),
        st.builds(
            updatenotification.UpdateNotification, U16, U16, st.booleans(), st.booleans(), with_options
        ),
        st.builds(updatenotification.UpdateNotificationAcknowledgement, U16, U8, with_options),
        st.builds(flowbinding.FlowBindingIndication, U16, U8, with_options, st.booleans()),
        st.builds(flowbinding.FlowBindingAcknowledgement, U16, U8, with_options),
        st.builds(multicastsubscription.SubscriptionQuery, U8, with_options),
        st.builds(multicastsubscription.SubscriptionResponse, U8, st.booleans(), with_options),
    ]


def _prefix_information(
    prefix: IPv6Network, on_link: bool, autonomous: bool, host: int | None, valid: int, preferred: int
) -> icmpv6.PrefixInformation:
    address = None
    if host is not None:
        address = IPv6Address(int(prefix.network_address) | (host & int(prefix.hostmask)))
    router_address = address is not None
    return icmpv6.PrefixInformation(prefix, on_link, autonomous, router_address, valid, preferred, address)


# Behind the two octets of type and length come 6, 14, 22 ... octets.
_ND_DATA = st.integers(0, 4).flatmap(lambda units: octets(8 * units + 6))

#: As much as to leave no padding, which is taken away.
_URI = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=6, max_size=30).map(
    lambda text: text[: 6 + (len(text) - 6) // 8 * 8].encode()
)

_KNOWN_ND_OPTIONS = frozenset(option.TYPE for option in ndoptioncodec.ND_OPTION_CLASSES)

ND_OPTION: st.SearchStrategy[icmpv6.NDOption] = st.one_of(
    st.builds(icmpv6.SourceLinkLayerAddress, MAC),
    st.builds(icmpv6.TargetLinkLayerAddress, MAC),
    st.builds(
        _prefix_information,
        PREFIX,
        st.booleans(),
        st.booleans(),
        st.none() | st.integers(0, (1 << 128) - 1),
        U32,
        U32,
    ),
    st.builds(icmpv6.Mtu, U32),
    st.builds(icmpv6.AdvertisementInterval, U32),
    st.builds(icmpv6.HomeAgentInformation, U16, U16, st.booleans()),
    st.builds(captiveportal.CaptivePortal, _URI),
    st.builds(fastndoptions.IPAddressPrefix, U8, st.integers(0, 128), IPV6),
    # As long as to leave no padding, which could not be told from the address.
    st.builds(fastndoptions.LinkLayerAddress, U8, octets(5) | octets(13)),
    st.builds(fastndoptions.NeighborAdvertisementAcknowledgment, U8, st.none() | IPV6),
    st.builds(icmpv6.UnknownNDOption, U8.filter(lambda number: number not in _KNOWN_ND_OPTIONS), _ND_DATA),
)
ND_OPTIONS = st.lists(ND_OPTION, max_size=5).map(tuple)
TARGET = IPV6.filter(lambda address: not address.is_multicast)
INVOKING = st.binary(max_size=200)

#: One for every kind of message.
EACH_ICMPV6: list[st.SearchStrategy[icmpv6.Icmpv6Message]] = [
    st.builds(icmpv6.EchoRequest, U16, U16, st.binary(max_size=64)),
    st.builds(icmpv6.EchoReply, U16, U16, st.binary(max_size=64)),
    st.builds(icmpv6.DestinationUnreachable, U8, INVOKING),
    st.builds(icmpv6.PacketTooBig, U32, INVOKING),
    st.builds(icmpv6.TimeExceeded, U8, INVOKING),
    st.builds(icmpv6.ParameterProblem, U8, U32, INVOKING),
    st.builds(icmpv6.RouterSolicitation, ND_OPTIONS),
    st.builds(
        icmpv6.RouterAdvertisement,
        *(U16, U8, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 3), U32, U32, ND_OPTIONS),
    ),
    st.builds(icmpv6.NeighborSolicitation, TARGET, ND_OPTIONS),
    st.builds(icmpv6.NeighborAdvertisement, TARGET, st.booleans(), st.booleans(), st.booleans(), ND_OPTIONS),
    st.builds(icmpv6.HomeAgentAddressDiscoveryRequest, U16, st.booleans()),
    st.builds(
        icmpv6.HomeAgentAddressDiscoveryReply, U16, st.lists(IPV6, max_size=6).map(tuple), st.booleans()
    ),
    st.builds(icmpv6.MobilePrefixSolicitation, U16),
    st.builds(icmpv6.MobilePrefixAdvertisement, U16, st.booleans(), st.booleans(), ND_OPTIONS),
    st.builds(icmpv6.RouterSolicitationForProxyAdvertisement, U16, ND_OPTIONS),
    st.builds(icmpv6.ProxyRouterAdvertisement, U16, ND_OPTIONS, st.integers(0, 5)),
    st.builds(icmpv6.UnknownIcmpv6, st.integers(200, 255), U8, st.binary(max_size=40)),
]
ICMPV6 = st.one_of(*EACH_ICMPV6)

ICMPV4: st.SearchStrategy[icmpv4.Icmpv4Message] = st.one_of(
    st.builds(icmpv4.EchoRequest, U16, U16, st.binary(max_size=40)),
    st.builds(icmpv4.EchoReply, U16, U16, st.binary(max_size=40)),
    st.builds(icmpv4.DestinationUnreachable, st.just(icmpv4.FRAGMENTATION_NEEDED), U16, INVOKING),
    st.builds(icmpv4.DestinationUnreachable, st.integers(0, 3), st.just(0), INVOKING),
    st.builds(icmpv4.UnknownIcmpv4, st.integers(9, 255), U8, st.binary(max_size=40)),
)

ARP = st.builds(ArpPacket, U16, MAC, IPV4, MAC, IPV4)
ARP_REQUESTS_AND_REPLIES = st.builds(ArpPacket, st.sampled_from((1, 2)), MAC, IPV4, MAC, IPV4)
