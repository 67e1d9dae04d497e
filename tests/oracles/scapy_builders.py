"""Our messages as scapy would build them: its classes, its lengths, its padding, its checksums.

Lengths of options are set where scapy's defaults are wrong (nonce indices, binding authorization data), and a
MHLinkLayerAddress goes as octets: scapy puts an octet in front of the address that RFC 5568 does not have.
"""

from __future__ import annotations

from typing import Any

from scapy.layers import inet6

from dsmip.wire import (
    binding,
    captiveportal,
    cgaoptions,
    fastndoptions,
    icmpv6,
    ndoptions,
    options,
    returnroutability,
)
from dsmip.wire.fastrouterdiscovery import FastRouterDiscovery
from dsmip.wire.icmpv6 import Icmpv6Message
from dsmip.wire.message import Message
from dsmip.wire.ndoption import NDOption
from dsmip.wire.option import MobilityOption

#: What scapy has a class for.
MESSAGES: tuple[type[Message], ...] = (
    binding.BindingRefreshRequest,
    binding.BindingUpdate,
    binding.BindingAcknowledgement,
    binding.BindingError,
    returnroutability.HomeTestInit,
    returnroutability.CareOfTestInit,
    returnroutability.HomeTest,
    returnroutability.CareOfTest,
)

# scapy names the flags of RFC 6275 and RFC 3963; the rest are reserved bits for it.
_BU_RESERVED_BITS = 9
_BA_RESERVED_BITS = 5


def build_message(message: Message) -> Any:
    """A scapy packet with its options, checksum still to be computed."""
    opts = [build_option(option) for option in message.options]
    match message:
        case binding.BindingRefreshRequest():
            return inet6.MIP6MH_BRR(options=opts)
        case binding.BindingUpdate(sequence=sequence, flags=flags, lifetime=lifetime):
            named, reserved = divmod(int(flags), 1 << _BU_RESERVED_BITS)
            return inet6.MIP6MH_BU(
                seq=sequence, flags=named, reserved=reserved, mhtime=lifetime, options=opts
            )
        case binding.BindingAcknowledgement(status=status, flags=flags, sequence=sequence, lifetime=lifetime):
            named, reserved = divmod(int(flags), 1 << _BA_RESERVED_BITS)
            return inet6.MIP6MH_BA(
                status=status, flags=named, res2=reserved, seq=sequence, mhtime=lifetime, options=opts
            )
        case binding.BindingError(status=status, home_address=home_address):
            return inet6.MIP6MH_BE(status=status, ha=str(home_address), options=opts)
        case returnroutability.HomeTestInit(cookie=cookie):
            return inet6.MIP6MH_HoTI(cookie=cookie, options=opts)
        case returnroutability.CareOfTestInit(cookie=cookie):
            return inet6.MIP6MH_CoTI(cookie=cookie, options=opts)
        case returnroutability.HomeTest(nonce_index=index, cookie=cookie, token=token):
            return inet6.MIP6MH_HoT(index=index, cookie=cookie, token=token, options=opts)
        case returnroutability.CareOfTest(nonce_index=index, cookie=cookie, token=token):
            return inet6.MIP6MH_CoT(index=index, cookie=cookie, token=token, options=opts)
    raise AssertionError(f"scapy has no class for {message}")


def build_option(option: MobilityOption) -> Any:
    """scapy's option, or the octets under its type where it has none."""
    match option:
        case options.BindingRefreshAdvice(interval=interval):
            return inet6.MIP6OptBRAdvice(rinter=interval)
        case options.AlternateCareOfAddress(address=address):
            return inet6.MIP6OptAltCoA(acoa=str(address))
        case options.NonceIndices(home=home, care_of=care_of):
            return inet6.MIP6OptNonceIndices(olen=4, hni=home, coni=care_of)
        case options.MobileNetworkPrefix(prefix=prefix):
            return inet6.MIP6OptMobNetPrefix(plen=prefix.prefixlen, prefix=str(prefix.network_address))
        case options.MobileNodeIdentifier(identifier=identifier, subtype=subtype):
            return inet6.MIP6OptMNID(subtype=subtype, id=identifier)
        case options.Authentication(spi=spi, authenticator=authenticator, subtype=subtype):
            return inet6.MIP6OptMsgAuth(subtype=subtype, mspi=spi, authdata=authenticator)
        case options.MessageIdentifier(timestamp=timestamp):
            return inet6.MIP6OptReplayProtection(timestamp=timestamp)
        case cgaoptions.CgaParametersRequest():
            return inet6.MIP6OptCGAParamsReq()
        case cgaoptions.CgaParameters(data=data):
            return inet6.MIP6OptCGAParams(cgaparams=data)
        case cgaoptions.Signature(data=data):
            return inet6.MIP6OptSignature(sig=data)
        case cgaoptions.PermanentHomeKeygenToken(data=data):
            return inet6.MIP6OptHomeKeygenToken(hkt=data)
        case cgaoptions.CareOfTestInitOption():
            return inet6.MIP6OptCareOfTestInit()
        case cgaoptions.CareOfTestOption(data=data):
            return inet6.MIP6OptCareOfTest(cokt=data)
    return inet6.MIP6OptUnknown(otype=option.type_code, odata=option.encode_data())


def build_icmpv6(message: Icmpv6Message) -> Any:
    """A scapy packet with its options, checksum still to be computed."""
    packet = _icmpv6(message)
    for option in getattr(message, "options", ()):
        packet = packet / build_nd_option(option)
    return packet


def _icmpv6(message: Icmpv6Message) -> Any:
    match message:
        case icmpv6.EchoRequest():
            return inet6.ICMPv6EchoRequest(id=message.identifier, seq=message.sequence, data=message.data)
        case icmpv6.EchoReply():
            return inet6.ICMPv6EchoReply(id=message.identifier, seq=message.sequence, data=message.data)
        case icmpv6.DestinationUnreachable():
            return inet6.ICMPv6DestUnreach(code=message.code) / message.invoking
        case icmpv6.PacketTooBig():
            return inet6.ICMPv6PacketTooBig(mtu=message.mtu) / message.invoking
        case icmpv6.TimeExceeded():
            return inet6.ICMPv6TimeExceeded(code=message.code) / message.invoking
        case icmpv6.ParameterProblem():
            return inet6.ICMPv6ParamProblem(code=message.code, ptr=message.pointer) / message.invoking
        case icmpv6.RouterSolicitation():
            return inet6.ICMPv6ND_RS()
        case icmpv6.RouterAdvertisement():
            return inet6.ICMPv6ND_RA(
                chlim=message.hop_limit,
                M=message.managed,
                O=message.other,
                H=message.home_agent,
                prf=message.preference,
                routerlifetime=message.router_lifetime,
                reachabletime=message.reachable_time,
                retranstimer=message.retrans_timer,
            )
        case icmpv6.NeighborSolicitation():
            return inet6.ICMPv6ND_NS(tgt=str(message.target))
        case icmpv6.NeighborAdvertisement():
            return inet6.ICMPv6ND_NA(
                tgt=str(message.target), R=message.router, S=message.solicited, O=message.override
            )
        case icmpv6.HomeAgentAddressDiscoveryRequest():
            return inet6.ICMPv6HAADRequest(id=message.identifier, R=message.mobile_routers)
        case icmpv6.HomeAgentAddressDiscoveryReply():
            return inet6.ICMPv6HAADReply(
                id=message.identifier,
                R=message.mobile_routers,
                addresses=[str(one) for one in message.addresses],
            )
        case icmpv6.MobilePrefixSolicitation():
            return inet6.ICMPv6MPSol(id=message.identifier)
        case icmpv6.MobilePrefixAdvertisement():
            return inet6.ICMPv6MPAdv(id=message.identifier, flags=message.managed * 2 + message.other)
        case FastRouterDiscovery():
            body = bytes((message.SUBTYPE, 0)) + message.identifier.to_bytes(2, "big")
            return inet6.ICMPv6Unknown(type=154, code=message.type_code[1], msgbody=body)
        case icmpv6.UnknownIcmpv6():
            return inet6.ICMPv6Unknown(type=message.type, code=message.code, msgbody=message.body)
    raise AssertionError(f"no builder for {message}")


def build_nd_option(option: NDOption) -> Any:
    """scapy's option, or the octets under its type where it has none."""
    match option:
        case ndoptions.SourceLinkLayerAddress(address=address):
            return inet6.ICMPv6NDOptSrcLLAddr(lladdr=address.hex(":"))
        case ndoptions.TargetLinkLayerAddress(address=address):
            return inet6.ICMPv6NDOptDstLLAddr(lladdr=address.hex(":"))
        case ndoptions.PrefixInformation():
            return inet6.ICMPv6NDOptPrefixInfo(
                prefixlen=option.prefix.prefixlen,
                L=option.on_link,
                A=option.autonomous,
                R=option.router_address,
                validlifetime=option.valid_lifetime,
                preferredlifetime=option.preferred_lifetime,
                prefix=str(option.address or option.prefix.network_address),
            )
        case ndoptions.Mtu(mtu=mtu):
            return inet6.ICMPv6NDOptMTU(mtu=mtu)
        case ndoptions.AdvertisementInterval(interval=interval):
            return inet6.ICMPv6NDOptAdvInterval(advint=interval)
        case ndoptions.HomeAgentInformation():
            return inet6.ICMPv6NDOptHAInfo(
                res=option.mobile_routers << 15, pref=option.preference, lifetime=option.lifetime
            )
        case captiveportal.CaptivePortal(uri=uri):
            return inet6.ICMPv6NDOptCaptivePortal(URI=uri)
        case fastndoptions.IPAddressPrefix():
            return inet6.ICMPv6NDOptIPAddr(
                len=3, optcode=option.code, plen=option.prefix_length, addr=str(option.address)
            )
    data = option.encode_data()
    return inet6.ICMPv6NDOptUnknown(type=option.type_code, len=(len(data) + 2) // 8, data=data)
