"""What strongSwan is told about one pair of home address and home agent: commands of vici.

The IKE SA runs between these two addresses, inside the mobility tunnel: care-of addresses and NATs are none
of its business, no handover touches it, and MOBIKE (RFC 4555) has nothing to do. Policies are not charon's
either: those that stand in the kernel ask for security associations with the number `request`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Final

from dsmip.core.types import IPNetwork
from dsmip.host.vici import Request
from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import MobilePrefixAdvertisement, MobilePrefixSolicitation

#: The child SA of signalling.
SIGNALLING: Final = "signalling"
#: That of payload, if there is one.
PAYLOAD: Final = "payload"
#: AES-GCM (RFC 8221 section 5); keys for it have to be negotiated.
_ESP: Final = ("aes256gcm16-aes128gcm16",)
#: Packets of payload over several paths overtake each other by far more than charon thinks of.
_REPLAY_WINDOW: Final = "4096"
#: How long without a sign of life before a mobile node asks for one (RFC 7296 section 2.4). charon gives up
#: three minutes later, so that shorter outages end with the keys they began with. A home agent does not ask:
#: it would forget mobile nodes that are out of reach for longer.
_LIVENESS: Final = "120s"


@dataclass(frozen=True, slots=True)
class Certificates:
    """The own certificate, its key, and the authority of the other end's: PEM."""

    certificate: bytes
    private_key: bytes = field(repr=False)
    authority: bytes


@dataclass(frozen=True, slots=True)
class PayloadChild:
    """The child SA of payload, in tunnel mode: between which networks."""

    request: int
    local: tuple[IPNetwork, ...]
    remote: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True)
class Connection:
    """`secret` is shared, or certificates are shown. `initiates` is for the mobile node."""

    name: str
    local: IPv6Address
    remote: IPv6Address
    local_identity: str
    remote_identity: str
    request: int
    initiates: bool
    secret: bytes | None = field(default=None, repr=False)
    certificates: Certificates | None = None
    payload: PayloadChild | None = None

    @property
    def home_address(self) -> IPv6Address:
        """Of the two, the mobile node's."""
        return self.local if self.initiates else self.remote

    def commands(self) -> list[tuple[str, Request]]:
        """What loads it, in order."""
        loading: list[tuple[str, Request]] = []
        if self.secret is not None:
            loading.append(("load-shared", self._shared(self.secret)))
        if self.certificates is not None:
            loading.append(("load-key", {"type": "any", "data": self.certificates.private_key}))
        return [*loading, ("load-conn", {self.name: self._description()})]

    def _shared(self, secret: bytes) -> Request:
        # At the home agent the mobile node's alone: with its own as well, any mobile node's secret would do.
        owners = [self.local_identity, self.remote_identity] if self.initiates else [self.remote_identity]
        return {"id": self.name, "type": "IKE", "data": secret, "owners": owners}

    def _description(self) -> Request:
        local: dict[str, str | list[bytes]] = {"id": self.local_identity}
        remote: dict[str, str | list[bytes]] = {"id": self.remote_identity}
        local["auth"] = remote["auth"] = "psk" if self.certificates is None else "pubkey"
        if self.certificates is not None:
            local["certs"] = [self.certificates.certificate]
            remote["cacerts"] = [self.certificates.authority]
        return {
            "version": "2",
            "local_addrs": [str(self.local)],
            "remote_addrs": [str(self.remote)],
            "mobike": "no",
            "unique": "replace",
            "dpd_delay": _LIVENESS if self.initiates else "0s",
            "send_certreq": "yes",
            "send_cert": "always",
            "local": local,
            "remote": remote,
            "children": self._children(),
        }

    def _children(self) -> Request:
        children = {
            SIGNALLING: {
                **_child("transport", self.request),
                "local_ts": _selectors(self.local, self.home_address),
                "remote_ts": _selectors(self.remote, self.home_address),
            }
        }
        if self.payload is not None:
            children[PAYLOAD] = {
                **_child("tunnel", self.payload.request),
                "local_ts": [str(network) for network in self.payload.local],
                "remote_ts": [str(network) for network in self.payload.remote],
                "replay_window": _REPLAY_WINDOW,
            }
        return children


def _child(mode: str, request: int) -> dict[str, str | list[str]]:
    return {
        "mode": mode,
        "policies": "no",
        "reqid": str(request),
        "esp_proposals": list(_ESP),
        "dpd_action": "clear",
    }


def _selectors(address: IPv6Address, home_address: IPv6Address) -> list[str]:
    """Traffic selectors of one end: Mobility Headers, and its half of prefix discovery (RFC 4877 section
    7.2.3). One child SA has them all: it takes one exchange, and the kernel's policies tell them apart."""
    message = MobilePrefixSolicitation if address == home_address else MobilePrefixAdvertisement
    protocols = (str(int(NextHeader.MOBILITY)), f"{int(NextHeader.ICMPV6)}/{message.TYPE}")
    return [f"{address}/128[{protocol}]" for protocol in protocols]


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The state of one connection. `established` is about signalling, `since` a unix time; `spis` and
    `payload_spis` are those of packets that come in."""

    established: bool = False
    since: float = 0.0
    cipher: str = ""
    problem: str = ""
    spis: frozenset[int] = frozenset()
    payload_cipher: str = ""
    payload_spis: frozenset[int] = frozenset()

    def missing(self, connection: Connection) -> str:
        """The child SA that is still to be negotiated, "" = none."""
        if not self.established:
            return SIGNALLING
        return PAYLOAD if connection.payload is not None and not self.payload_spis else ""
