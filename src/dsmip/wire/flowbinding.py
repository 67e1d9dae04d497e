"""Flow bindings moved by the network (RFC 7109): one MH Type, told apart by the Flow Binding Type."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar

from dsmip.wire.constants import MHType
from dsmip.wire.errors import DecodeError
from dsmip.wire.message import COMMON_SIZE, Message, Options

_FIXED = Struct(">HHBB")
_ACKNOWLEDGE = 0x80


class FlowBinding(Message, frozen=True):
    """What indication and acknowledgement share; `code` is the trigger or the status."""

    MH_TYPE: ClassVar[int] = MHType.FLOW_BINDING
    MINIMUM_LENGTH: ClassVar[int] = 1
    OPTIONS_AT: ClassVar[int] = 12
    #: Flow Binding Type; no message has that of the base.
    FLOW_BINDING_TYPE: ClassVar[int] = 0

    sequence: int
    code: int
    options: Options = ()

    def encode_data(self) -> bytes:
        return _FIXED.pack(self.FLOW_BINDING_TYPE, self.sequence, self.code, 0)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> FlowBinding:
        kind, sequence, code, flags = _FIXED.unpack_from(header, COMMON_SIZE)
        if kind == FlowBindingIndication.FLOW_BINDING_TYPE:
            return FlowBindingIndication(sequence, code, options, bool(flags & _ACKNOWLEDGE))
        if kind == FlowBindingAcknowledgement.FLOW_BINDING_TYPE:
            return FlowBindingAcknowledgement(sequence, code, options)
        raise DecodeError("malformed", f"flow binding type {kind}")


class FlowBindingIndication(FlowBinding, frozen=True):
    """Flows shall move, for the trigger in `code` (RFC 7109); `acknowledge` is the A flag."""

    FLOW_BINDING_TYPE: ClassVar[int] = 1

    acknowledge: bool = False

    def encode_data(self) -> bytes:
        flags = _ACKNOWLEDGE if self.acknowledge else 0
        return _FIXED.pack(self.FLOW_BINDING_TYPE, self.sequence, self.code, flags)


class FlowBindingAcknowledgement(FlowBinding, frozen=True):
    """The answer, with its status in `code` (RFC 7109)."""

    FLOW_BINDING_TYPE: ClassVar[int] = 2
