"""What tshark calls the fields of ICMP, neighbour discovery and ARP."""

from __future__ import annotations

from ipaddress import IPv6Address

from dsmip.wire import (
    captiveportal,
    fastndoptions,
    homeagentdiscovery,
    icmpv4,
    icmpv6,
    ndoptions,
    neighbordiscovery,
)
from dsmip.wire.arp import ArpPacket
from dsmip.wire.icmpmessage import IcmpMessage
from dsmip.wire.ndoption import NDOption
from tests.oracles.tshark_fields import Readers, attribute


def _portal(option: captiveportal.CaptivePortal) -> str:
    return option.uri.decode()


_ECHO: Readers = {
    "icmpv6.echo.identifier": attribute("identifier"),
    "icmpv6.echo.sequence_number": attribute("sequence"),
}

ICMP_FIELDS: dict[type[IcmpMessage], Readers] = {
    icmpv6.EchoRequest: _ECHO,
    icmpv6.EchoReply: _ECHO,
    icmpv6.DestinationUnreachable: {"icmpv6.code": attribute("code")},
    icmpv6.TimeExceeded: {"icmpv6.code": attribute("code")},
    icmpv6.PacketTooBig: {"icmpv6.mtu": attribute("mtu")},
    icmpv6.ParameterProblem: {"icmpv6.code": attribute("code"), "icmpv6.pointer": attribute("pointer")},
    neighbordiscovery.RouterSolicitation: {},
    neighbordiscovery.RouterAdvertisement: {
        "icmpv6.nd.ra.cur_hop_limit": attribute("hop_limit"),
        "icmpv6.nd.ra.flag.m": attribute("managed"),
        "icmpv6.nd.ra.flag.o": attribute("other"),
        "icmpv6.nd.ra.flag.h": attribute("home_agent"),
        "icmpv6.nd.ra.flag.prf": attribute("preference"),
        "icmpv6.nd.ra.router_lifetime": attribute("router_lifetime"),
        "icmpv6.nd.ra.reachable_time": attribute("reachable_time"),
        "icmpv6.nd.ra.retrans_timer": attribute("retrans_timer"),
    },
    neighbordiscovery.NeighborSolicitation: {"icmpv6.nd.ns.target_address": attribute("target")},
    neighbordiscovery.NeighborAdvertisement: {
        "icmpv6.nd.na.target_address": attribute("target"),
        "icmpv6.nd.na.flag.r": attribute("router"),
        "icmpv6.nd.na.flag.s": attribute("solicited"),
        "icmpv6.nd.na.flag.o": attribute("override"),
    },
    homeagentdiscovery.HomeAgentAddressDiscoveryRequest: {"icmpv6.mip6.identifier": attribute("identifier")},
    homeagentdiscovery.HomeAgentAddressDiscoveryReply: {
        "icmpv6.mip6.identifier": attribute("identifier"),
        "icmpv6.mip6.home_agent_address": attribute("addresses"),
    },
    homeagentdiscovery.MobilePrefixSolicitation: {"icmpv6.mip6.identifier": attribute("identifier")},
    homeagentdiscovery.MobilePrefixAdvertisement: {
        "icmpv6.mip6.identifier": attribute("identifier"),
        "icmpv6.mip6.flag.m": attribute("managed"),
        "icmpv6.mip6.flag.o": attribute("other"),
    },
    icmpv6.RouterSolicitationForProxyAdvertisement: {
        "icmpv6.fmip6.subtype": lambda _: 2,
        "icmpv6.fmip6.identifier": attribute("identifier"),
    },
    icmpv6.ProxyRouterAdvertisement: {
        "icmpv6.fmip6.subtype": lambda _: 3,
        "icmpv6.fmip6.identifier": attribute("identifier"),
    },
    icmpv4.EchoRequest: {"icmp.ident": attribute("identifier"), "icmp.seq": attribute("sequence")},
    icmpv4.EchoReply: {"icmp.ident": attribute("identifier"), "icmp.seq": attribute("sequence")},
    icmpv4.DestinationUnreachable: {
        "icmp.code": attribute("code"),
        "icmp.mtu": lambda message: message.mtu if message.code == icmpv4.FRAGMENTATION_NEEDED else None,
    },
}


def _prefix(option: ndoptions.PrefixInformation) -> IPv6Address:
    return option.address or option.prefix.network_address


ND_OPTION_FIELDS: dict[type[NDOption], Readers] = {
    ndoptions.SourceLinkLayerAddress: {"icmpv6.opt.src_linkaddr": attribute("address")},
    ndoptions.TargetLinkLayerAddress: {"icmpv6.opt.target_linkaddr": attribute("address")},
    ndoptions.PrefixInformation: {
        "icmpv6.opt.prefix.length": lambda option: option.prefix.prefixlen,
        "icmpv6.opt.prefix.flag.l": attribute("on_link"),
        "icmpv6.opt.prefix.flag.a": attribute("autonomous"),
        "icmpv6.opt.prefix.flag.r": attribute("router_address"),
        "icmpv6.opt.prefix.valid_lifetime": attribute("valid_lifetime"),
        "icmpv6.opt.prefix.preferred_lifetime": attribute("preferred_lifetime"),
        "icmpv6.opt.prefix": _prefix,
    },
    ndoptions.Mtu: {"icmpv6.opt.mtu": attribute("mtu")},
    ndoptions.AdvertisementInterval: {"icmpv6.opt.advertisement_interval": attribute("interval")},
    ndoptions.HomeAgentInformation: {
        "icmpv6.opt.home_agent_preference": attribute("preference"),
        "icmpv6.opt.home_agent_lifetime": attribute("lifetime"),
    },
    captiveportal.CaptivePortal: {"icmpv6.opt.captive_portal": _portal},
    fastndoptions.IPAddressPrefix: {
        "icmpv6.opt.ipa.option_code": attribute("code"),
        "icmpv6.opt.ipa.prefix_len": attribute("prefix_length"),
        "icmpv6.opt.ipa.ipv6_address": attribute("address"),
    },
    fastndoptions.LinkLayerAddress: {
        "icmpv6.opt.lla.option_code": attribute("code"),
        "icmpv6.opt.lla.bytes": attribute("address"),
    },
    fastndoptions.NeighborAdvertisementAcknowledgment: {
        "icmpv6.opt.naack.status": attribute("status"),
    },
}

ARP_FIELDS: dict[type[ArpPacket], Readers] = {
    ArpPacket: {
        "arp.opcode": attribute("operation"),
        "arp.src.hw_mac": attribute("sender_mac"),
        "arp.src.proto_ipv4": attribute("sender"),
        "arp.dst.hw_mac": attribute("target_mac"),
        "arp.dst.proto_ipv4": attribute("target"),
    }
}
