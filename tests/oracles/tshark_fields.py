"""What tshark calls the fields of our messages, and the values it has to find in them."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from dsmip.wire import (
    binding,
    cgaoptions,
    experimental,
    fasthandover,
    fasthandoveroptions,
    heartbeat,
    homeagentswitch,
    localizedrouting,
    multihoming,
    options,
    otheroptions,
    proxyoptions,
    returnroutability,
    revocation,
)
from dsmip.wire.constants import BAFlag, BUFlag
from dsmip.wire.message import Message
from dsmip.wire.option import MobilityOption


class Unprintable(enum.Enum):
    """Text that tshark shows in its own way: anything will do."""

    ANY = enum.auto()


#: A value as we know it; `shown_as` compares it with tshark's text.
Value = int | bytes | str | IPv4Address | IPv6Address | Unprintable

#: Name of each field, and what a message or option has for it: one value, several, or None for none.
Reader = Callable[[Any], Value | Iterable[Value] | None]
Readers = dict[str, Reader]


def _flag(flag: BUFlag | BAFlag | revocation.RevocationFlag) -> Reader:
    return lambda message: int(flag in message.flags)


def attribute(name: str) -> Reader:
    """The attribute of that name; tshark knows flags as numbers."""
    return lambda value: int(found) if isinstance(found := getattr(value, name), bool) else found


def _number(name: str) -> Reader:
    """Cookies and tokens: 64-bit numbers for tshark, octets for us."""
    return lambda value: int.from_bytes(getattr(value, name), "big")


def _text(name: str, shortest: int = 0) -> Reader:
    """A string; shorter ones are not shown."""

    def read(value: Any) -> Value | None:
        octets: bytes = getattr(value, name)
        if len(octets) < shortest:
            return None
        text = octets.decode("latin-1")
        return text if text.isascii() and text.isprintable() and "\\" not in text else Unprintable.ANY

    return read


def _nonempty(name: str) -> Reader:
    """Octets; tshark leaves an empty field out."""
    return lambda value: getattr(value, name) or None


def _care_of(family: type[IPv4Address] | type[IPv6Address]) -> Reader:
    return lambda option: option.care_of if isinstance(option.care_of, family) else None


_BU_FLAGS = {
    **{f"mip6.bu.{flag.lower()}_flag": _flag(BUFlag[flag]) for flag in "AHLKMPFT"},
    "mip6.bu.b_flag": _flag(BUFlag.O),
    "mip6.nemo.bu.r_flag": _flag(BUFlag.R),
}
_BA_FLAGS = {
    **{f"mip6.ba.{flag.lower()}_flag": _flag(BAFlag[flag]) for flag in "KPTB"},
    "mip6.nemo.ba.r_flag": _flag(BAFlag.R),
}

MESSAGE_FIELDS: dict[type[Message], Readers] = {
    binding.BindingUpdate: {
        "mip6.bu.seqnr": attribute("sequence"),
        "mip6.bu.lifetime": attribute("lifetime"),
        **_BU_FLAGS,
    },
    binding.BindingAcknowledgement: {
        "mip6.ba.status": attribute("status"),
        "mip6.ba.seqnr": attribute("sequence"),
        "mip6.ba.lifetime": attribute("lifetime"),
        **_BA_FLAGS,
    },
    binding.BindingError: {
        "mip6.be.status": attribute("status"),
        "mip6.be.haddr": attribute("home_address"),
    },
    returnroutability.HomeTestInit: {"mip6.hoti.cookie": _number("cookie")},
    returnroutability.CareOfTestInit: {"mip6.coti.cookie": _number("cookie")},
    returnroutability.HomeTest: {
        "mip6.hot.nindex": attribute("nonce_index"),
        "mip6.hot.cookie": _number("cookie"),
        "mip6.hot.token": _number("token"),
    },
    returnroutability.CareOfTest: {
        "mip6.cot.nindex": attribute("nonce_index"),
        "mip6.cot.cookie": _number("cookie"),
        # tshark shows the care-of keygen token under the name of the home one.
        "mip6.hot.token": _number("token"),
    },
    fasthandover.FastBindingUpdate: {
        "mip6.fbu.seqnr": attribute("sequence"),
        "mip6.fbu.lifetime": attribute("lifetime"),
        **{f"mip6.fbu.{flag.lower()}_flag": _flag(BUFlag[flag]) for flag in "AHLK"},
    },
    fasthandover.FastBindingAcknowledgement: {
        "mip6.fback.status": attribute("status"),
        "mip6.fback.k_flag": _flag(BAFlag.K),
        "mip6.fback.seqnr": attribute("sequence"),
        "mip6.fback.lifetime": attribute("lifetime"),
    },
    fasthandover.HandoverInitiate: {
        "mip6.hi.seqnr": attribute("sequence"),
        "mip6.hi.s_flag": attribute("assign"),
        "mip6.hi.u_flag": attribute("buffer"),
        "mip6.hi.code": attribute("code"),
    },
    fasthandover.HandoverAcknowledge: {
        "mip6.hack.seqnr": attribute("sequence"),
        "mip6.hack.code": attribute("code"),
    },
    homeagentswitch.HomeAgentSwitch: {
        "mip6.has.num_addrs": lambda message: len(message.addresses),
        "mip6.has.address": attribute("addresses"),
    },
    heartbeat.Heartbeat: {
        "mip6.hb.seqnr": attribute("sequence"),
        "mip6.hb.u_flag": attribute("unsolicited"),
        "mip6.hb.r_flag": attribute("response"),
    },
    revocation.BindingRevocationIndication: {
        "mip6.bri_br.type": lambda _: 1,
        "mip6.bri_r.trigger": attribute("code"),
        "mip6.bri_seqnr": attribute("sequence"),
        "mip6.bri_ip": _flag(revocation.RevocationFlag.P),
        "mip6.bri_iv": _flag(revocation.RevocationFlag.V),
        "mip6.bri_ig": _flag(revocation.RevocationFlag.G),
    },
    revocation.BindingRevocationAcknowledgement: {
        "mip6.bri_br.type": lambda _: 2,
        "mip6.bri_status": attribute("code"),
        "mip6.bri_seqnr": attribute("sequence"),
        "mip6.bri_ap": _flag(revocation.RevocationFlag.P),
        "mip6.bri_av": _flag(revocation.RevocationFlag.V),
        "mip6.bri_ag": _flag(revocation.RevocationFlag.G),
    },
    localizedrouting.LocalizedRoutingInitiation: {
        "mip6.lri.sequence": attribute("sequence"),
        "mip6.lri.lifetime": attribute("lifetime"),
    },
    localizedrouting.LocalizedRoutingAcknowledgment: {
        "mip6.lra.sequence": attribute("sequence"),
        "mip6.lri.unsolicited": attribute("unsolicited"),
        "mip6.lra.status": attribute("status"),
        "mip6.lra.lifetime": attribute("lifetime"),
    },
}

OPTION_FIELDS: dict[type[MobilityOption], Readers] = {
    options.BindingRefreshAdvice: {"mip6.bra.interval": attribute("interval")},
    options.AlternateCareOfAddress: {"mip6.acoa.acoa": attribute("address")},
    options.NonceIndices: {"mip6.ni.hni": attribute("home"), "mip6.ni.cni": attribute("care_of")},
    options.BindingAuthorizationData: {"mip6.bad.auth": attribute("authenticator")},
    options.MobileNetworkPrefix: {
        "mip6.nemo.mnp.pfl": lambda option: option.prefix.prefixlen,
        "mip6.nemo.mnp.mnp": lambda option: option.prefix.network_address,
    },
    options.MobileNodeIdentifier: {
        "mip6.mnid.subtype": attribute("subtype"),
        "mip6.mnid.identifier": _text("identifier", shortest=3),
    },
    options.Authentication: {
        "mip6.auth.subtype": attribute("subtype"),
        "mip6.auth.mobility_spi": attribute("spi"),
        "mip6.auth.auth_data": _nonempty("authenticator"),
    },
    options.IPv4HomeAddress: {
        "mip6.ipv4ha.preflen": attribute("prefix_length"),
        "mip6.ipv4ha.p_flag": attribute("prefix_requested"),
        "mip6.ipv4ha.ha": attribute("address"),
    },
    options.IPv4AddressAcknowledgement: {
        "mip6.ipv4aa.sts": attribute("status"),
        "mip6.ipv4ha.ha": attribute("address"),
        "mip6.ipv4ha.preflen": attribute("prefix_length"),
    },
    options.NatDetection: {
        "mip6.natd.f_flag": attribute("forced"),
        "mip6.natd.refresh_t": attribute("refresh"),
    },
    options.IPv4CareOfAddress: {"mip6.ipv4coa.addr": attribute("address")},
    multihoming.BindingIdentifier: {
        "mip6.bi.bid": attribute("bid"),
        "mip6.bi.status": attribute("status"),
        "mip6.bi.h_flag": attribute("home"),
        "mip6.bi.coa_ipv4": lambda option: (
            option.care_of if isinstance(option.care_of, IPv4Address) else None
        ),
        "mip6.bi.coa_ipv6": lambda option: (
            option.care_of if isinstance(option.care_of, IPv6Address) else None
        ),
    },
    fasthandoveroptions.MHLinkLayerAddress: {
        "mip6.lla.optcode": attribute("code"),
        "mip6.lla": _nonempty("address"),
    },
    fasthandoveroptions.MHIPv6AddressPrefix: {
        "mip6.mhipv6ap.opt_code": attribute("code"),
        "mip6.mhipv6ap.len": attribute("prefix_length"),
    },
    fasthandoveroptions.FastBindingAuthorizationData: {
        "mip6.badff.spi": attribute("spi"),
        "mip6.badff.auth": attribute("authenticator"),
    },
    cgaoptions.CgaParameters: {"mip6.cgar.cga_par": attribute("data")},
    cgaoptions.Signature: {"mip6.sign.sign": attribute("data")},
    cgaoptions.PermanentHomeKeygenToken: {"mip6.phkt.phkt": attribute("data")},
    cgaoptions.CareOfTestOption: {"mip6.mocot.co_keygen_tok": attribute("data")},
    experimental.ExperimentalOption: {"mip6.em.data": _nonempty("data")},
    otheroptions.DnsUpdate: {
        "mip6.dnsu.status": attribute("status"),
        "mip6.dnsu.flag.r": attribute("remove"),
        "mip6.dnsu.mn_id": _nonempty("fqdn"),
    },
    otheroptions.VendorSpecific: {
        "mip6.vsm.vendorId": attribute("vendor"),
        "mip6.vsm.subtype": attribute("subtype"),
        "mip6.vsm.data": _nonempty("data"),
    },
    otheroptions.ServiceSelection: {"mip6.ss.identifier": _text("identifier")},
    otheroptions.RestartCounter: {"mip6.rc": attribute("counter")},
    proxyoptions.HomeNetworkPrefix: {
        "mip6.nemo.mnp.pfl": lambda option: option.prefix.prefixlen,
        "mip6.nemo.mnp.mnp": lambda option: option.prefix.network_address,
    },
    proxyoptions.HandoffIndicator: {"mip6.hi": attribute("value")},
    proxyoptions.AccessTechnologyType: {"mip6.att": attribute("value")},
    proxyoptions.LinkLocalAddress: {"mip6.lila_lla": attribute("address")},
    proxyoptions.GreKey: {"mip6.gre_key": attribute("key")},
    proxyoptions.MagIPv6Address: {
        "mip6.mag_ipv6.address_length": lambda _: 128,
        "mip6.mag_ipv6.address": attribute("address"),
    },
}


def values(readers: Readers, subject: object) -> dict[str, list[Value]]:
    """The fields of one message or option."""
    found: dict[str, list[Value]] = {}
    for name, read in readers.items():
        value = read(subject)
        if isinstance(value, tuple | list):
            found[name] = list(value)
        elif value is not None:
            assert isinstance(value, int | bytes | str | IPv4Address | IPv6Address | Unprintable)
            found[name] = [value]
    return found


def shown_as(value: Value, text: str) -> bool:
    """Whether tshark's text means the value."""
    if value is Unprintable.ANY:
        return True
    if isinstance(value, bytes):
        return text.replace(":", "") == value.hex()
    if isinstance(value, int):
        return int({"True": "1", "False": "0"}.get(text, text), 0) == value
    if isinstance(value, IPv6Address):
        # tshark writes the last 32 bits of some addresses with dots.
        return IPv6Address(text) == value
    return text == str(value)
