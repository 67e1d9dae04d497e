"""Where tshark 4.0 is wrong about mobility messages, and how: everything else it has to agree with."""

from __future__ import annotations

from dsmip.wire import (
    cgaoptions,
    experimental,
    flowbinding,
    homeagentswitch,
    localizedrouting,
    multicastsubscription,
    options,
    otheroptions,
    updatenotification,
)
from dsmip.wire.constants import OptionType
from dsmip.wire.fastndoptions import NeighborAdvertisementAcknowledgment
from dsmip.wire.icmpv6 import Icmpv6Message, UnknownIcmpv6, UnknownNDOption
from dsmip.wire.message import Message
from dsmip.wire.option import MobilityOption, UnknownOption

_NO_DISSECTOR = "tshark does not know the MH type"

#: Messages whose own fields are not compared.
FIELDS_MISREAD: dict[type[Message], str] = {
    localizedrouting.LocalizedRoutingInitiation: "read from the start of the header, not from offset 6",
    localizedrouting.LocalizedRoutingAcknowledgment: "read from the start of the header, not from offset 6",
}

#: Messages whose options are not compared.
OPTIONS_MISREAD: dict[type[Message], str] = {
    homeagentswitch.HomeAgentSwitch: "options are looked for where the addresses are",
    localizedrouting.LocalizedRoutingInitiation: "options are not looked for",
    localizedrouting.LocalizedRoutingAcknowledgment: "options are not looked for",
    updatenotification.UpdateNotification: _NO_DISSECTOR,
    updatenotification.UpdateNotificationAcknowledgement: _NO_DISSECTOR,
    flowbinding.FlowBindingIndication: _NO_DISSECTOR,
    flowbinding.FlowBindingAcknowledgement: _NO_DISSECTOR,
    multicastsubscription.SubscriptionQuery: _NO_DISSECTOR,
    multicastsubscription.SubscriptionResponse: _NO_DISSECTOR,
}

#: Octet fields that tshark shows without their last two: it takes the option's type and length for data.
CUT_BY_TWO = frozenset(
    {
        "mip6.auth.auth_data",
        "mip6.badff.auth",
        "mip6.cgar.cga_par",
        "mip6.dnsu.mn_id",
        "mip6.em.data",
        "mip6.mocot.co_keygen_tok",
        "mip6.phkt.phkt",
        "mip6.sign.sign",
        "mip6.vsm.data",
    }
)

#: Options that tshark loses its way in, because of CUT_BY_TWO, with so few octets of data.
TOO_SHORT: dict[type[MobilityOption], int] = {
    cgaoptions.CgaParameters: 2,
    cgaoptions.Signature: 2,
    experimental.ExperimentalOption: 2,
    options.Authentication: 7,
    otheroptions.DnsUpdate: 4,
}


def is_readable(message: Message) -> bool:
    """Whether tshark gets through the options of the message.

    Among those that have no class here there are some for which it has a layout, which made-up octets are
    not in.
    """
    return all(
        option.type > max(OptionType)
        if isinstance(option, UnknownOption)
        else len(option.encode_data()) > TOO_SHORT.get(type(option), -1)
        for option in message.options
    )


#: From here on tshark has no layouts for neighbour discovery options.
_FREE_ND_OPTIONS = range(200, 253)


def is_readable_icmpv6(message: Icmpv6Message) -> bool:
    """Whether tshark gets through the message.

    It takes the reserved octets of a NAACK for the start of the care-of address supplied with status 2, and
    wants an unknown message to have a body.
    """
    if isinstance(message, UnknownIcmpv6):
        return len(message.body) >= 4
    for option in getattr(message, "options", ()):
        match option:
            case NeighborAdvertisementAcknowledgment(status=2):
                return False
            case UnknownNDOption() if option.type not in _FREE_ND_OPTIONS:
                return False
    return True
