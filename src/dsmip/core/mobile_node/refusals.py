"""What a refused Binding Update calls for, by the status of the acknowledgement.

RFC 6275 section 11.7.3, RFC 3963 section 5.4, RFC 4285 sections 5.3 and 6, RFC 5555 section 4.4.2.
"""

from __future__ import annotations

import enum

from dsmip.wire.constants import BAStatus

#: Seconds without Binding Updates after a refusal that only a change of configuration at either end can mend.
#: RFC 3963 section 5.4 demands that the mobile router stops; trying again at this rate finds the mended home
#: agent without a visit to the vehicle.
HOLD = 600.0


class Reaction(enum.Enum):
    """What to do about a refusal."""

    BACK_OFF = "back off"  #: the home agent may do better later: go on with the retransmissions
    SLOW_DOWN = "slow down"  #: hardly ever mends itself: one update every MAX_BINDACK_TIMEOUT
    HOLD = "hold"  #: stop, forward nothing, look again after HOLD seconds
    STOP = "stop"  #: stop for good: the home address must not be used any more
    CORRECT_SEQUENCE = "correct sequence"  #: go on after the number in the acknowledgement
    CORRECT_CLOCK = "correct clock"  #: take over the home agent's time of day
    WITHOUT_FORCED_UDP = "without forced UDP"  #: the same again without the F flag
    AGAIN = "again"  #: the same once more: what was in the way is overwritten (RFC 5648 section 5.2)
    ALONE = "alone"  #: the same once more, without other binding identifiers (RFC 5648 section 5.7)
    CLEAR = "clear"  #: de-register the binding that is in the way, then register


_REACTIONS: dict[int, Reaction] = {
    BAStatus.REASON_UNSPECIFIED: Reaction.BACK_OFF,
    BAStatus.INSUFFICIENT_RESOURCES: Reaction.BACK_OFF,
    BAStatus.DUPLICATE_ADDRESS_DETECTION_FAILED: Reaction.STOP,
    BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW: Reaction.CORRECT_SEQUENCE,
    BAStatus.REGISTRATION_TYPE_CHANGE_DISALLOWED: Reaction.CLEAR,
    BAStatus.MOBILE_ROUTER_OPERATION_NOT_PERMITTED: Reaction.HOLD,
    BAStatus.INVALID_PREFIX: Reaction.HOLD,
    BAStatus.NOT_AUTHORIZED_FOR_PREFIX: Reaction.HOLD,
    BAStatus.FORWARDING_SETUP_FAILED: Reaction.HOLD,
    BAStatus.MCOA_NON_MCOA_BINDING_EXISTS: Reaction.AGAIN,
    BAStatus.MCOA_BULK_REGISTRATION_PROHIBITED: Reaction.ALONE,
}


def reaction_to(status: int, *, timestamps: bool, forced_udp: bool) -> Reaction:
    """What a refusal calls for.

    `timestamps`: the update carried an RFC 4285 timestamp; `forced_udp`: it had the F flag. Both decide what
    status 144 means (RFC 4285 calls it MIPV6-ID-MISMATCH, RFC 5555 section 4.4.2 a refusal of F), and 129 can
    be about the F flag only where it was set.
    """
    if status == BAStatus.MIPV6_ID_MISMATCH:
        if timestamps:
            return Reaction.CORRECT_CLOCK
        return Reaction.WITHOUT_FORCED_UDP if forced_udp else Reaction.SLOW_DOWN
    if status == BAStatus.ADMINISTRATIVELY_PROHIBITED and forced_udp:
        return Reaction.WITHOUT_FORCED_UDP
    return _REACTIONS.get(status, Reaction.SLOW_DOWN)
