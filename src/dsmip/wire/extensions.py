"""What two ends of this implementation can do beyond the RFCs, told in an experimental option (RFC 5096).

The option goes into Binding Updates and Binding Acknowledgements. Its data are `MAGIC`, a version and one
octet of capability bits; nodes that do not know it skip it, and without it everything is as the RFCs say. An
update offers, its acknowledgement tells what holds from now on.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from dsmip.wire.experimental import ExperimentalOption
from dsmip.wire.option import MobilityOption

#: Tells this experiment from all others under the same option type.
MAGIC = b"dsmip"
VERSION = 1


class Extensions(enum.IntFlag):
    """Capabilities, as bits on the wire."""

    NONE = 0
    DUPLICATION = 1  #: packets sent over several paths carry sequence numbers, and only one copy is delivered
    PROBES = 2  #: path probes are reflected by the data plane of the home agent


_KNOWN = Extensions.DUPLICATION | Extensions.PROBES


def extensions_option(extensions: Extensions) -> ExperimentalOption:
    """The option that offers or acknowledges these."""
    return ExperimentalOption(MAGIC + bytes((VERSION, extensions)))


def read_extensions(options: Iterable[MobilityOption]) -> Extensions | None:
    """What a message offers or acknowledges; None = its sender does not know the option.

    Bits without a name here are passed over, and so are other versions: both are from the future.
    """
    for option in options:
        if type(option) is ExperimentalOption and option.data.startswith(MAGIC):
            rest = option.data[len(MAGIC) :]
            if len(rest) >= 2 and rest[0] == VERSION:
                return Extensions(rest[1]) & _KNOWN
    return None
