"""The mobility message authentication option between mobile node and home agent (RFC 4285), for both ends.

A message carries a 64-bit NTP timestamp against replay and, as its last option, the first 96 bits of

    HMAC-SHA1(key, care-of address | home address | mobility header up to and including the SPI, checksum 0)

*Which* care-of address matters where there are several candidates. RFC 4285 section 5.1 says no more than
"care-of address"; this is the address the Binding Update asks to register, in the size of its own family:

- the Alternate Care-of Address option if there is one, otherwise the IPv6 source (RFC 6275 section 6.2.5);
- in UDP over IPv4: the four octets of the IPv4 Care-of Address option (RFC 5555 section 3.1.2). The outer
  source cannot be used: a NAT rewrites it, and the mobile node does not know what the home agent will see;
- in a Binding Update sent at home: the home address, which is the care-of address then (RFC 6275 section
  11.5.5);
- with binding identifiers (RFC 5648), of which there may be several: the IPv6 source; in UDP the address of
  the first option with an IPv4 one, and the home address when there is none. All of the options are covered
  as part of the mobility header.

An acknowledgement is signed with the care-of address of the update it answers.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Callable
from ipaddress import IPv6Address

import msgspec

from dsmip.core.types import IPAddress

#: Octets of authentication data: HMAC-SHA1 cut to 96 bits (RFC 4285 section 5.1).
AUTHENTICATOR_LENGTH = 12

#: SPIs 0 to 255 are reserved (RFC 4285 section 5.1).
MINIMUM_SPI = 256

#: How far the two clocks may differ, in seconds, unless configured otherwise (RFC 4285 section 6).
TIMESTAMP_TOLERANCE = 7.0

#: Seconds from the NTP epoch (1900) to the Unix epoch (1970).
NTP_UNIX_OFFSET = 2_208_988_800

#: Octets of a block of SHA-1, and the pads of HMAC as translations of each octet (RFC 2104 section 2).
_BLOCK = 64
_INNER_PAD = bytes(octet ^ 0x36 for octet in range(256))
_OUTER_PAD = bytes(octet ^ 0x5C for octet in range(256))

_FRACTION_BITS = 32
_LOW_32 = (1 << 32) - 1
_TIMESTAMP_MASK = (1 << 64) - 1


class SecurityAssociation(msgspec.Struct, frozen=True, gc=False):
    """The mobility security association of one mobile node with its home agent (RFC 4285 section 5.1).

    `identifier` is the mobile node's NAI (RFC 4283). The RFC speaks of a key of 16 octets; any length works.
    """

    spi: int
    key: bytes
    identifier: str

    def __repr__(self) -> str:
        return f"SecurityAssociation({self.spi}, {self.identifier!r})"  # never the key

    def signer(self, care_of: IPAddress, home_address: IPv6Address) -> Callable[[bytes], bytes]:
        """A function from the covered octets to the authenticator: what `encode_message` takes as `sign`."""

        def sign(covered: bytes) -> bytes:
            return mn_ha_authenticator(self.key, care_of, home_address, covered)

        return sign

    def verify(
        self, authenticator: bytes, care_of: IPAddress, home_address: IPv6Address, covered: bytes
    ) -> bool:
        """True when `authenticator` is right for `covered`; takes the same time wherever it differs."""
        return hmac.compare_digest(
            authenticator, mn_ha_authenticator(self.key, care_of, home_address, covered)
        )


def mn_ha_authenticator(key: bytes, care_of: IPAddress, home_address: IPv6Address, covered: bytes) -> bytes:
    """The 12 octets of MN-HA authentication data (RFC 4285 section 5.1).

    `covered` is the mobility header from its first octet up to and including the SPI field of the
    authentication option, with a checksum of zero.
    """
    inner, outer = _padded(key)
    digest = hashlib.sha1(inner + care_of.packed + home_address.packed + covered).digest()
    return hashlib.sha1(outer + digest).digest()[:AUTHENTICATOR_LENGTH]


@functools.lru_cache(maxsize=64)
def _padded(key: bytes) -> tuple[bytes, bytes]:
    """The first blocks of the inner and the outer hash of HMAC (RFC 2104 section 2).

    An acknowledgement is signed with the key that has just verified its update. Together with spelling out
    the two hashes, which spares the set-up of `hmac.digest`, this takes a third of the time.
    """
    if len(key) > _BLOCK:
        key = hashlib.sha1(key).digest()
    key = key.ljust(_BLOCK, b"\0")
    return key.translate(_INNER_PAD), key.translate(_OUTER_PAD)


def ntp_timestamp(unix: float, *, after: int = 0) -> int:
    """The 64-bit NTP timestamp of `unix`, which is seconds since 1970 (RFC 4285 section 6).

    Seconds are in the upper half, their fraction in the lower. A mobile node passes its previous timestamp as
    `after` (0 = there is none): the result is later than that, even if the clock stood still or was set back.
    """
    seconds = int(unix // 1)
    fraction = int((unix - seconds) * (1 << _FRACTION_BITS))
    timestamp = (((seconds + NTP_UNIX_OFFSET) & _LOW_32) << _FRACTION_BITS) | fraction
    if after and not is_later(timestamp, after):
        return (after + 1) & _TIMESTAMP_MASK
    return timestamp


def timestamp_seconds(timestamp: int) -> float:
    """Seconds since 1970 of an NTP timestamp.

    The seconds field runs over in 2036: values with the top bit clear belong to the time after that.
    """
    seconds = timestamp >> _FRACTION_BITS
    if not seconds & 0x8000_0000:
        seconds += 1 << 32
    return seconds - NTP_UNIX_OFFSET + (timestamp & _LOW_32) / (1 << _FRACTION_BITS)


def is_later(timestamp: int, last: int) -> bool:
    """True when `timestamp` is strictly after `last`, across 2036 too (RFC 4285 section 6)."""
    return 0 < (timestamp - last) & _TIMESTAMP_MASK < 1 << 63


def is_close(timestamp: int, unix: float, tolerance: float = TIMESTAMP_TOLERANCE) -> bool:
    """True when `timestamp` is within `tolerance` seconds of our time of day (RFC 4285 section 6)."""
    return abs(timestamp_seconds(timestamp) - unix) <= tolerance


def clock_difference(timestamp: int, unix: float, tolerance: float) -> str:
    """What is wrong with a timestamp that was not accepted at our time of day `unix`, in words."""
    seconds = timestamp_seconds(timestamp) - unix
    if abs(seconds) <= tolerance:
        return "its timestamp is not later than the last one"
    return f"its clock is {abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}"


def corrected_timestamp(timestamp: int, unix: float) -> int:
    """What the home agent puts into an acknowledgement with status 144, MIPV6-ID-MISMATCH.

    Its own seconds, and the low-order half of the timestamp it refused (RFC 4285 section 6).
    """
    return (ntp_timestamp(unix) & ~_LOW_32) | (timestamp & _LOW_32)


def clock_correction(corrected: int, unix: float) -> float:
    """Seconds a mobile node adds to its clock after status 144, to the precision of one second.

    Only the upper half of the timestamp is the home agent's; the middle of that second is the best guess.
    """
    home_agent_second = corrected & ~_LOW_32
    return timestamp_seconds(home_agent_second) + 0.5 - unix
