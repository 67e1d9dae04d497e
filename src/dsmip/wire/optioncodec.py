"""All mobility options of one message, to octets and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dsmip.wire import (
    cgaoptions,
    experimental,
    fasthandoveroptions,
    flows,
    multihoming,
    options,
    otheroptions,
    proxyoptions,
)
from dsmip.wire.errors import DecodeError, EncodeError
from dsmip.wire.fasthandoveroptions import AUTHENTICATOR_SIZE
from dsmip.wire.fasthandoveroptions import FastBindingAuthorizationData as _BADF
from dsmip.wire.option import (
    AuthenticatingOption,
    KnownOption,
    MalformedOption,
    MobilityOption,
    UnknownOption,
)
from dsmip.wire.tlv import PAD1, PADDING, PADN

#: Every option with a class of its own.
OPTION_CLASSES: tuple[type[KnownOption], ...] = (
    options.BindingRefreshAdvice,
    options.AlternateCareOfAddress,
    options.NonceIndices,
    options.BindingAuthorizationData,
    options.MobileNetworkPrefix,
    options.MobileNodeIdentifier,
    options.Authentication,
    options.MessageIdentifier,
    options.IPv4HomeAddress,
    options.IPv4AddressAcknowledgement,
    options.NatDetection,
    options.IPv4CareOfAddress,
    multihoming.BindingIdentifier,
    flows.FlowIdentification,
    flows.FlowSummary,
    fasthandoveroptions.MHLinkLayerAddress,
    fasthandoveroptions.MHIPv6AddressPrefix,
    fasthandoveroptions.FastBindingAuthorizationData,
    cgaoptions.CgaParametersRequest,
    cgaoptions.CgaParameters,
    cgaoptions.Signature,
    cgaoptions.PermanentHomeKeygenToken,
    cgaoptions.CareOfTestInitOption,
    cgaoptions.CareOfTestOption,
    proxyoptions.HomeNetworkPrefix,
    proxyoptions.HandoffIndicator,
    proxyoptions.AccessTechnologyType,
    proxyoptions.LinkLocalAddress,
    proxyoptions.Timestamp,
    proxyoptions.GreKey,
    proxyoptions.MagIPv6Address,
    experimental.ExperimentalOption,
    otheroptions.DnsUpdate,
    otheroptions.VendorSpecific,
    otheroptions.ServiceSelection,
    otheroptions.RestartCounter,
)


def _answered(cls: type[KnownOption]) -> Callable[[bytes], MobilityOption]:
    """The decoder of an option that is answered with a status when it is wrong: see `MalformedOption`."""
    shortest, longest = cls.LENGTH

    def decode(data: bytes) -> MobilityOption:
        if shortest <= len(data) <= longest:
            try:
                return cls.decode_data(data)
            except DecodeError:
                pass
        return MalformedOption(cls.TYPE, data)

    return decode


#: Type and alignment of the options that have the same place whatever is in them.
_PLACES: dict[type[MobilityOption], tuple[int, int, int]] = {
    cls: (cls.TYPE, *cls.ALIGNMENT)
    for cls in OPTION_CLASSES
    if cls.alignment is KnownOption.alignment and cls.type_code is KnownOption.type_code
}

_MAX_LENGTH = 255

_DECODERS: dict[int, tuple[int, int, Callable[[bytes], MobilityOption]]] = {
    cls.TYPE: (*cls.LENGTH, cls.decode_data) for cls in OPTION_CLASSES
} | {
    cls.TYPE: (0, _MAX_LENGTH, _answered(cls))
    for cls in (multihoming.BindingIdentifier, flows.FlowIdentification)
}


def decode_options(data: bytes, start: int, end: int) -> tuple[MobilityOption, ...]:
    """The options between two offsets of a mobility header, without the padding.

    DecodeError "truncated" when one runs past the end, "option-length" when a known one has a length that its
    RFC does not allow, "malformed" when its content is impossible; a `MalformedOption` comes instead of
    both where the RFC wants an answer.
    """
    found: list[MobilityOption] = []
    position = start
    # What `tlv.walk` does, spelt out: the generator takes as long as the rest.
    while position < end:
        kind = data[position]
        if kind == PAD1:
            position += 1
            continue
        first = position + 2
        if first > end:
            raise DecodeError("truncated", f"option {kind} has no length octet")
        position = last = first + data[position + 1]
        if last > end:
            raise DecodeError("truncated", f"option {kind} runs {last - end} octets past the end")
        if kind == PADN:
            continue
        entry = _DECODERS.get(kind)
        if entry is None:
            found.append(UnknownOption(kind, data[first:last]))
            continue
        shortest, longest, decode = entry
        if not shortest <= last - first <= longest:
            if kind == _BADF.TYPE and last - first == AUTHENTICATOR_SIZE and end - last == _BADF.COVERED:
                # As much is left over as the SPI is long: the sender counted the authenticator alone.
                found.append(decode(data[first:end]))
                break
            raise DecodeError("option-length", f"option {kind} of length {last - first}")
        found.append(decode(data[first:last]))
    return tuple(found)


def append_options(header: bytearray, options: Sequence[MobilityOption], authenticator: bytes = b"") -> int:
    """Append the options, each on its alignment, and pad the header to a multiple of 8 octets.

    `authenticator` is what the last one gets for its own, which then has to be empty. Returns the offset of
    the last option (the length of the header before, if there is none).
    """
    position = len(header)
    last = len(options) - 1
    for index, option in enumerate(options):
        data = option.encode_data()
        start = len(header)
        kind, modulus, remainder = _PLACES.get(type(option)) or (option.type_code, *option.alignment)
        padding = (remainder - start) % modulus
        if index == last and isinstance(option, AuthenticatingOption):
            data += authenticator
            # The header shall end with the authenticator, where the alignment leaves that possible.
            flush = -(start + 2 + len(data)) % 8
            if (start + flush - remainder) % modulus == 0:
                padding = flush
        size = len(data)
        if size > _MAX_LENGTH:
            raise EncodeError(f"{size} octets do not fit into a mobility option")
        position = start + padding
        header += PADDING[padding] + bytes((kind, size)) + data
    header += PADDING[-len(header) % 8]
    return position
