"""What charon says, in plain words."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dsmip.daemon.ike.connection import Negotiated
from dsmip.daemon.words import duration
from dsmip.host.vici import Answer

_AUTHORITY = "the home agent's certificate is not of the authority in ike.ca"
#: What stands in charon's log, and what it means; the first that is found counts.
_FAILURES = (
    (
        "AUTHENTICATION_FAILED",
        "the home agent did not accept who this is: another psk or certificate, or the identity of another"
        " home address",
    ),
    ("MAC mismatched", "the home agent has another psk"),
    ("not authenticated by CA", _AUTHORITY),
    ("no trusted", _AUTHORITY),
    ("constraint check failed", "the home agent is not who ike.home_agent_identity says"),
    ("no private key found", "ike.private_key does not belong to ike.certificate"),
    ("no shared key found", "strongSwan has lost the psk"),
    ("TS_UNACCEPTABLE", "the home agent does not let this node have its home address"),
    ("NO_PROPOSAL_CHOSEN", "the home agent accepts none of the ciphers, or does not know this home address"),
    ("received INVALID_KE_PAYLOAD", "the home agent accepts none of the key exchange methods"),
    ("unable to install", "this kernel does not take the keys: it needs ESP and AES-GCM ('modprobe esp6')"),
)
_SILENCE = "the home agent does not answer IKE (is strongSwan running there?)"


def failure(log: Sequence[str]) -> str:
    """Why a negotiation has failed, from the lines it left."""
    for sign, meaning in _FAILURES:
        if any(sign in line for line in log):
            return meaning
    if any("received packet" in line for line in log):
        return log[-1]
    return _SILENCE


def trouble(refusal: str) -> str:
    """What charon does not take."""
    return f"{refusal}: see ike.certificate, ike.private_key, ike.ca and ike.identity"


_NAMES = {"AES_GCM_16": "AES-GCM", "AES_CBC": "AES-CBC", "CHACHA20_POLY1305": "ChaCha20-Poly1305"}


def cipher_of(child: Answer) -> str:
    """The cipher of a child SA, as "AES-GCM-256"."""
    name = str(child.get("encr-alg", "?"))
    size = child.get("encr-keysize")
    return _NAMES.get(name, name) + (f"-{size}" if size else "")


def state_in_words(state: Negotiated, reachable: bool, now: float | None = None) -> str:
    """For `status` and `bindings`."""
    if not reachable:
        return "strongSwan cannot be reached"
    if state.established:
        age = duration((time.time() if now is None else now) - state.since)
        return f"keys negotiated {age} ago"
    return state.problem or "nothing negotiated"
