"""What a registration that is one of several has to ask and to tell (RFC 5648)."""

from __future__ import annotations

from typing import Protocol

from dsmip.core.binding_update_list import Carried, SentUpdate
from dsmip.core.mobile_node.acknowledgement import REFUSED
from dsmip.core.mobile_node.updates import Request
from dsmip.core.types import Instant
from dsmip.wire.constants import BAStatus
from dsmip.wire.messages import BindingAcknowledgement
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import find_all

#: Refusals that may come before the home agent has looked at binding identifiers.
_EARLY = (
    BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE,
    BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW,
    BAStatus.MIPV6_ID_MISMATCH,
)


class OneOfSeveral(Protocol):
    """One binding identifier, as its registration sees it."""

    @property
    def bid(self) -> int:
        """The binding identifier."""

    @property
    def is_reflected(self) -> bool:
        """Whether the home agent sends a path probe back over the path it came from: both ends agreed."""

    def carry(self, request: Request, now: Instant) -> Carried:
        """What the Binding Update of `request` carries that leaves now."""

    def accepted(self, update: SentUpdate, message: BindingAcknowledgement, now: Instant) -> None:
        """The binding was made, moved or renewed."""

    def overwrite(self) -> None:
        """A plain binding is in the way (status 165, RFC 5648 section 5.2): the next update replaces it."""

    def alone(self, *, always: bool) -> None:
        """The next update names this identifier only; `always`: every one from now on, as the home agent
        takes no bulk registrations (status 168, RFC 5648 section 5.7)."""

    def home_refused(self, status: int) -> None:
        """The home agent does not want the home link beside others (status 169, RFC 5648 section 4.4)."""

    def not_supported(self, status: int) -> None:
        """The home agent does not know binding identifiers, or does not want ours."""


def status_of(bid: int, message: BindingAcknowledgement) -> int | None:
    """What the acknowledgement says about this binding (RFC 5648 section 5.2).

    None when it has no binding identifiers, which tells that the home agent does not know them, or prohibits
    them.
    """
    identifiers = find_all(message.options, BindingIdentifier)
    if not identifiers:
        return message.status if message.status in _EARLY else None
    statuses = [identifier.status for identifier in identifiers if identifier.bid == bid]
    status = statuses[0] if statuses and statuses[0] else message.status
    if status == BAStatus.MCOA_PROHIBITED:
        return None
    if status == BAStatus.MCOA_NOTCOMPLETE:
        return int(BAStatus.ACCEPTED)
    return int(status) if statuses or status >= REFUSED else int(BAStatus.REASON_UNSPECIFIED)
