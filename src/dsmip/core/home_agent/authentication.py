"""Is this Binding Update from whom it says, and is it a fresh one? (RFC 4285 sections 5.1.1 and 6)"""

from __future__ import annotations

from dsmip.core.authentication import SecurityAssociation, is_close, is_later
from dsmip.core.home_agent.nodes import ServedNode
from dsmip.core.registration import Request
from dsmip.wire.constants import BAStatus
from dsmip.wire.messages import covered_octets
from dsmip.wire.options import MN_AAA, MN_HA, Authentication


def authenticate(
    request: Request,
    node: ServedNode,
    mobility_header: bytes,
    unix: float,
    tolerance: float,
    *,
    protected: bool = False,
) -> BAStatus | str | None:
    """None when the Binding Update is authentic and fresh; a status to answer with, or a reason to drop it.

    `unix` is our time of day, `tolerance` the seconds a timestamp may be off. `protected`: it came under the
    IPsec of this very home address, which is all that counts for a mobile node with authentication "ipsec"
    (RFC 4877 section 4.1). With "none" the mobile node is believed. The identifier has to be the configured
    one if it is there (RFC 4283 section 3).
    """
    options, entry = request.options, node.entry
    if options.identifier is not None and entry.identifier not in ("", options.identifier):
        return "identifier-mismatch"
    if entry.authentication == "ipsec":
        return None if protected else "not-protected"
    association = node.association
    if association is None:
        return None
    option = _mn_ha_option(request)
    if isinstance(option, str):
        return option
    if option.spi != association.spi:
        return "unknown-spi"
    if not _verifies(association, option, request, mobility_header):
        return BAStatus.MIPV6_AUTH_FAIL
    if options.timestamp is None:
        return BAStatus.MIPV6_MESG_ID_REQD
    if not is_close(options.timestamp, unix, tolerance):
        return BAStatus.MIPV6_ID_MISMATCH
    last = node.timestamp
    if last and not is_later(options.timestamp, last):
        return BAStatus.MIPV6_ID_MISMATCH
    return None


def _mn_ha_option(request: Request) -> Authentication | str:
    """The one MN-HA option, which must be the last but for an MN-AAA option (RFC 4285 sections 5.1, 5.2).

    What came after it would not be covered by its authenticator.
    """
    found = request.options.authentications
    if len(found) == 1 and found[0].subtype == MN_HA and request.update.options[-1] is found[0]:
        return found[0]  # as it should be
    subtypes = tuple(option.subtype for option in found)
    if MN_HA not in subtypes:
        return "authentication-missing"
    if subtypes not in ((MN_HA,), (MN_HA, MN_AAA)) or request.update.options[-len(found) :] != found:
        return "authentication-misplaced"
    return found[0]


def _verifies(
    association: SecurityAssociation, option: Authentication, request: Request, mobility_header: bytes
) -> bool:
    covered = _covered(option, request, mobility_header)
    if covered is None:
        return False
    return association.verify(option.authenticator, request.care_of, request.home_address, covered)


def _covered(option: Authentication, request: Request, mobility_header: bytes) -> bytes | None:
    """What the authenticator covers (RFC 4285 section 5.1).

    Nearly every header ends with the authenticator: then nobody need look for it once more.
    """
    authenticator, size = option.authenticator, len(mobility_header)
    if (
        request.update.options[-1] is option
        and size == 8 * (mobility_header[1] + 1)
        and mobility_header.endswith(authenticator)
    ):
        return covered_octets(mobility_header, size - len(authenticator))
    return covered_octets(mobility_header)
