"""The messages that the test vectors stand for, and the packets they travel in."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from dsmip.wire.constants import BAFlag, BAStatus, BEStatus, BUFlag, IPv4AckStatus, NextHeader
from dsmip.wire.fasthandover import FastBindingUpdate, HandoverAcknowledge, HandoverInitiate
from dsmip.wire.fasthandoveroptions import (
    FastBindingAuthorizationData,
    MHIPv6AddressPrefix,
    MHLinkLayerAddress,
)
from dsmip.wire.flows import FlowIdentification, FlowSummary
from dsmip.wire.heartbeat import Heartbeat
from dsmip.wire.homeagentswitch import HomeAgentSwitch
from dsmip.wire.icmpv6 import (
    AdvertisementInterval,
    HomeAgentAddressDiscoveryReply,
    HomeAgentAddressDiscoveryRequest,
    HomeAgentInformation,
    Icmpv6Message,
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    PrefixInformation,
    RouterAdvertisement,
    SourceLinkLayerAddress,
    encode_icmpv6,
)
from dsmip.wire.localizedrouting import LocalizedRoutingInitiation
from dsmip.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    Message,
    encode_message,
)
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import (
    NAT_NO_KEEPALIVE,
    AlternateCareOfAddress,
    Authentication,
    BindingAuthorizationData,
    BindingRefreshAdvice,
    IPv4AddressAcknowledgement,
    IPv4CareOfAddress,
    IPv4HomeAddress,
    MessageIdentifier,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    NatDetection,
    NonceIndices,
)
from dsmip.wire.otheroptions import RestartCounter
from dsmip.wire.packet import UdpOuter, encapsulate_udp, encode_packet
from dsmip.wire.returnroutability import CareOfTest, CareOfTestInit, HomeTest, HomeTestInit
from dsmip.wire.revocation import (
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    RevocationFlag,
)
from dsmip.wire.trafficselectors import IPv4TrafficSelector
from tests.wire.wire_vectors import CN, COA, COA2, COA4, HA, HA2, HA4, HOA, HOA4, NAT4

A, H, L, K, R, F, O = (  # noqa: E741
    BUFlag.A,
    BUFlag.H,
    BUFlag.L,
    BUFlag.K,
    BUFlag.R,
    BUFlag.F,
    BUFlag.O,
)
NO_FLAGS = BAFlag(0)
ALTERNATE = AlternateCareOfAddress(COA)
NEMO_PREFIX = IPv6Network("2001:db8:aaaa:1::/64")
COOKIE_H = bytes.fromhex("0102030405060708")
COOKIE_C = bytes.fromhex("a1a2a3a4a5a6a7a8")
TOKEN_H = bytes.fromhex("cf8cde6fd3d300c6")
TOKEN_C = bytes.fromhex("eb427cd07def59d5")


@dataclass(frozen=True)
class Case:
    """A message and the packet it travels in."""

    message: Message | Icmpv6Message
    source: IPv6Address
    destination: IPv6Address
    home_address: IPv6Address | None = None
    routing_home_address: IPv6Address | None = None
    hop_limit: int = 64
    udp: UdpOuter | None = None

    def encode(self) -> bytes:
        sender = self.home_address or self.source
        recipient = self.routing_home_address or self.destination
        if isinstance(self.message, Message):
            payload, protocol = encode_message(self.message, sender, recipient), NextHeader.MOBILITY
        else:
            payload, protocol = encode_icmpv6(self.message, sender, recipient), NextHeader.ICMPV6
        inner = encode_packet(
            self.source,
            self.destination,
            payload,
            protocol,
            home_address=self.home_address,
            routing_home_address=self.routing_home_address,
            hop_limit=self.hop_limit,
        )
        return encapsulate_udp(inner, self.udp, identification=1) if self.udp else inner


def away(message: Message | Icmpv6Message, to: IPv6Address = HA, home: IPv6Address = HOA) -> Case:
    """From the care-of address with a home address option."""
    return Case(message, COA, to, home_address=home)


def to_care_of(message: Message | Icmpv6Message, source: IPv6Address = HA) -> Case:
    """To the care-of address with a type 2 routing header."""
    return Case(message, source, COA, routing_home_address=HOA)


IPV4_UPDATE = BindingUpdate(0x100, A | H | F, 75, (IPv4HomeAddress(HOA4), IPv4CareOfAddress(COA4)))
IPV4_ACKNOWLEDGEMENT = BindingAcknowledgement(
    BAStatus.ACCEPTED,
    NO_FLAGS,
    0x100,
    75,
    (IPv4AddressAcknowledgement(IPv4AckStatus.SUCCESS, HOA4, 32), NatDetection(False, 110)),
)
BID_1 = BindingIdentifier(1, care_of=COA)
BID_2 = BindingIdentifier(2, care_of=COA2)

CASES: dict[str, Case] = {
    "bu_home_ahlk_altcoa": away(BindingUpdate(0x1234, A | H | L | K, 60, (ALTERNATE,))),
    "ba_home_ok_k_refresh": to_care_of(
        BindingAcknowledgement(BAStatus.ACCEPTED, BAFlag.K, 0x1234, 60, (BindingRefreshAdvice(45),))
    ),
    "ba_seq_out_of_window": to_care_of(
        BindingAcknowledgement(BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, NO_FLAGS, 0x2000, 0)
    ),
    "bu_dereg_at_home": Case(BindingUpdate(0x1235, A | H, 0), HOA, HA),
    "bu_nemo_explicit_mnp": away(
        BindingUpdate(7, A | H | K | R, 150, (ALTERNATE, MobileNetworkPrefix.of(NEMO_PREFIX)))
    ),
    "bu_nemo_implicit": away(BindingUpdate(8, A | H | R, 150, (ALTERNATE,))),
    "ba_nemo_ok_r": to_care_of(BindingAcknowledgement(BAStatus.ACCEPTED, BAFlag.K | BAFlag.R, 7, 150)),
    "bu_dsmip_f_v4hoa_v4coa_inner": Case(IPV4_UPDATE, HOA, HA),
    "bu_dsmip_f_v4hoa_v4coa_udp4": Case(IPV4_UPDATE, HOA, HA, udp=UdpOuter(COA4, 4191, HA4, 4191)),
    "bu_dsmip_natted_udp4": Case(IPV4_UPDATE, HOA, HA, udp=UdpOuter(NAT4, 40123, HA4, 4191)),
    "ba_dsmip_v4ack_nat_inner": Case(IPV4_ACKNOWLEDGEMENT, HA, HOA),
    "ba_dsmip_v4ack_nat_udp4": Case(IPV4_ACKNOWLEDGEMENT, HA, HOA, udp=UdpOuter(HA4, 4191, NAT4, 40123)),
    "ba_dsmip_forced_udp_nonat_inner": Case(
        BindingAcknowledgement(
            BAStatus.ACCEPTED,
            NO_FLAGS,
            0x101,
            75,
            (IPv4AddressAcknowledgement(0, HOA4, 32), NatDetection(True, NAT_NO_KEEPALIVE)),
        ),
        HA,
        HOA,
    ),
    "bu_dsmip_dynamic_v4hoa_and_prefix_inner": Case(
        BindingUpdate(
            0x102,
            A | H,
            75,
            (
                IPv4HomeAddress(IPv4Address("0.0.0.0")),
                IPv4HomeAddress(IPv4Address("0.0.0.0"), 28, True),
                IPv4CareOfAddress(COA4),
            ),
        ),
        HOA,
        HA,
    ),
    "bu_dsmip_v6net_v4hoa": away(BindingUpdate(0x103, A | H, 75, (ALTERNATE, IPv4HomeAddress(HOA4)))),
    "ba_dsmip_v4ack_132_inner": Case(
        BindingAcknowledgement(
            BAStatus.ACCEPTED,
            NO_FLAGS,
            0x102,
            75,
            (
                IPv4AddressAcknowledgement(
                    IPv4AckStatus.DYNAMIC_IPV4_HOME_ADDRESS_NOT_AVAILABLE, IPv4Address("0.0.0.0"), 0
                ),
                NatDetection(False, 110),
            ),
        ),
        HA,
        HOA,
    ),
    "bu_mcoa_bulk_o": away(BindingUpdate(0x200, A | H | O, 60, (BID_1, BID_2))),
    "bu_mcoa_mixed": away(
        BindingUpdate(
            0x201,
            A | H,
            60,
            (
                BindingIdentifier(1, priority=10, care_of=COA),
                BindingIdentifier(3, priority=20, care_of=COA4),
                BindingIdentifier(2),
            ),
        )
    ),
    "ba_mcoa_notcomplete": to_care_of(
        BindingAcknowledgement(
            BAStatus.MCOA_NOTCOMPLETE,
            NO_FLAGS,
            0x201,
            60,
            (BindingIdentifier(1), BindingIdentifier(2, BAStatus.MCOA_UNKNOWN_COA)),
        )
    ),
    "bu_flow_binding": away(
        BindingUpdate(
            0x300,
            A | H | O,
            60,
            (
                BindingIdentifier(1, priority=1, care_of=COA),
                BindingIdentifier(2, priority=2, care_of=COA2),
                FlowIdentification(
                    9,
                    5,
                    bids=(1, 2),
                    selector=IPv4TrafficSelector(
                        source=(IPv4Address("192.0.2.200"), IPv4Address("192.0.2.200")),
                        destination=(HOA4, HOA4),
                        destination_port=(443, 443),
                        protocol=(6, 6),
                    ),
                ),
                FlowSummary((3, 4)),
            ),
        )
    ),
    "hoti_inner": Case(HomeTestInit(COOKIE_H), HOA, CN),
    "coti": Case(CareOfTestInit(COOKIE_C), COA, CN),
    "hot": Case(HomeTest(17, COOKIE_H, TOKEN_H), CN, HOA),
    "cot": Case(CareOfTest(18, COOKIE_C, TOKEN_C), CN, COA),
    "bu_cn_rr": away(
        BindingUpdate(
            0x4000,
            A,
            105,
            (NonceIndices(17, 18), BindingAuthorizationData(bytes.fromhex("6335a25a004ea1b980b0f41a"))),
        ),
        to=CN,
    ),
    "ba_cn_rr": to_care_of(
        BindingAcknowledgement(
            BAStatus.ACCEPTED,
            NO_FLAGS,
            0x4000,
            105,
            (BindingAuthorizationData(bytes.fromhex("a22961a91d1de775cb4b2b67")),),
        ),
        source=CN,
    ),
    "bu_cn_delete_at_home": Case(
        BindingUpdate(
            0x4001,
            A,
            0,
            (NonceIndices(17, 0), BindingAuthorizationData(bytes.fromhex("ec6ffcc978b8174566aaadc5"))),
        ),
        HOA,
        CN,
    ),
    "be_unknown_binding": Case(BindingError(BEStatus.UNKNOWN_BINDING, HOA), CN, COA),
    "be_unknown_mh": Case(BindingError(BEStatus.UNRECOGNIZED_MH_TYPE, IPv6Address("::")), CN, COA),
    "brr": Case(BindingRefreshRequest(), CN, HOA),
    "bu_rfc4285_mnha": away(
        BindingUpdate(
            0x400,
            A | H,
            60,
            (
                ALTERNATE,
                MobileNodeIdentifier(b"mn1@example.com"),
                MessageIdentifier(0xE5A1B2C300000001),
                Authentication(0x1000, bytes.fromhex("dec18ffd0af949c16aba170b")),
            ),
        )
    ),
    "bri_v4only": to_care_of(
        BindingRevocationIndication(1, 0x500, RevocationFlag.V, (IPv4HomeAddress(HOA4),))
    ),
    "bra_ok": away(BindingRevocationAcknowledgement(0, 0x500, RevocationFlag.V)),
    "heartbeat_req": Case(Heartbeat(77), HA2, HA),
    "heartbeat_resp_rc": Case(Heartbeat(77, response=True, options=(RestartCounter(9),)), HA, HA2),
    "ha_switch": to_care_of(HomeAgentSwitch((HA2,))),
    "fmip_hi": Case(
        HandoverInitiate(
            0x600,
            0,
            True,
            True,
            (
                MHLinkLayerAddress(2, bytes.fromhex("02005e100001")),
                MHIPv6AddressPrefix(1, 128, COA),
                MHIPv6AddressPrefix(2, 128, COA2),
            ),
        ),
        HA,
        HA2,
    ),
    "fmip_hack": Case(HandoverAcknowledge(0x600, 0), HA2, HA),
    "fmip_fbu": away(
        FastBindingUpdate(
            0x700,
            A | H,
            10,
            (
                AlternateCareOfAddress(COA2),
                FastBindingAuthorizationData(0x100, bytes.fromhex("0dd289dbb6579498aadb1dd2")),
            ),
        ),
        to=HA2,
        home=COA,
    ),
    "lri": Case(LocalizedRoutingInitiation(0x801, 600), HA, HA2),
    "dhaad_req": Case(
        HomeAgentAddressDiscoveryRequest(0x4242, True), COA, IPv6Address("2001:db8:100::fdff:ffff:ffff:fffe")
    ),
    "dhaad_rep": Case(HomeAgentAddressDiscoveryReply(0x4242, (HA, HA2), True), HA, COA),
    "mps": away(MobilePrefixSolicitation(0x777)),
    "mpa": to_care_of(
        MobilePrefixAdvertisement(
            0x777,
            options=(
                PrefixInformation(IPv6Network("2001:db8:100::/64"), True, True, True, 86400, 14400, HA),
            ),
        )
    ),
    "ra_home_agent": Case(
        RouterAdvertisement(
            1800,
            64,
            home_agent=True,
            options=(
                SourceLinkLayerAddress(bytes.fromhex("02005e100001")),
                PrefixInformation(IPv6Network("2001:db8:100::/64"), True, True, True, 86400, 14400, HA),
                AdvertisementInterval(1500),
                HomeAgentInformation(10, 1800, True),
            ),
        ),
        IPv6Address("fe80::1"),
        IPv6Address("ff02::1"),
        hop_limit=255,
    ),
}
