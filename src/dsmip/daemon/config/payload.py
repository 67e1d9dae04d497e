"""`[payload]`: ESP around everything a mobile node sends and receives, the same at both ends."""

from __future__ import annotations

from typing import Annotated

import msgspec

from dsmip.core.types import IPNetwork
from dsmip.daemon.config.ipsec import MIN_ESP_SPI, AssociationTable, IpsecTable
from dsmip.daemon.config.keys import Key
from dsmip.daemon.config.problems import Problems
from dsmip.daemon.config.uplinks import Network
from dsmip.daemon.payload import PayloadAssociation
from dsmip.daemon.payload_policies import EVERYTHING
from dsmip.daemon.words import CLEAR
from dsmip.host.xfrm import Aead

#: Octets of an AES key with 4 of salt (RFC 4106 section 8.1), and what such a cipher is called.
CIPHERS = {20: "aes-gcm-128", 36: "aes-gcm-256"}


class PayloadAssociationTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """One direction: AES-GCM (RFC 4106)."""

    spi: Annotated[int, msgspec.Meta(ge=MIN_ESP_SPI, le=0xFFFFFFFF)]
    key: Key

    def association(self) -> PayloadAssociation:
        """For the kernel. With manual keys there is no replay window, as for signalling."""
        return PayloadAssociation(self.spi, Aead(bytes(self.key)))


class PayloadTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Both directions of one mobile node's payload. Without correspondents it is everything, without keys IKE
    negotiates them."""

    correspondents: tuple[Network, ...] = ()
    to_home_agent: PayloadAssociationTable | None = None
    from_home_agent: PayloadAssociationTable | None = None

    @property
    def networks(self) -> tuple[IPNetwork, ...]:
        """The correspondents, spelt out."""
        return tuple(network.prefix for network in self.correspondents) or EVERYTHING

    def words(self, negotiated: str = "") -> str:
        """What `status` and `bindings` say. `negotiated` is the cipher that IKE agreed on, if any."""
        if self.to_home_agent is not None:
            cipher = f"esp {CIPHERS[len(self.to_home_agent.key)]}"
        else:
            cipher = f"esp {negotiated.lower() or '(no keys yet)'}"
        if not self.correspondents:
            return cipher
        return f"{cipher} to {', '.join(str(network.prefix) for network in self.correspondents)}"


def payload_in_words(table: PayloadTable | None, negotiated: str = "") -> str:
    """How payload travels."""
    return CLEAR if table is None else table.words(negotiated)


def check_payload(
    table: PayloadTable | None,
    signalling: IpsecTable | None,
    ike: msgspec.Struct | None,
    where: str,
    problems: Problems,
) -> None:
    """Keys are there or negotiated, have the right lengths, and none does for two things."""
    if table is None:
        return
    outward, inward = table.to_home_agent, table.from_home_agent
    if outward is None or inward is None:
        for name, one in (("to_home_agent", outward), ("from_home_agent", inward)):
            if one is None and (ike is None or outward is not inward):
                text = 'is missing: payload needs keys for both directions, or a table "ike" and none'
                problems.add(f"{where}payload.{name}", text)
        return
    known = {one.spi: f"{where}ipsec" for one in _associations(signalling)}
    for name, one_way in (("to_home_agent", outward), ("from_home_agent", inward)):
        place = f"{where}payload.{name}"
        if len(one_way.key) not in CIPHERS:
            text = f"has {len(one_way.key)} octets, not 20 (AES-128 and 4 of salt) or 36 (AES-256)"
            problems.add(f"{place}.key", text)
        if one_way.spi in known:
            problems.add(f"{place}.spi", f"is that of {known[one_way.spi]}")
        known[one_way.spi] = place
    if outward.key == inward.key:
        problems.add(f"{where}payload.from_home_agent.key", "is the same as that of to_home_agent")
    elif len(outward.key) != len(inward.key):
        problems.add(f"{where}payload.from_home_agent.key", "is not as long as that of to_home_agent")


def _associations(signalling: IpsecTable | None) -> tuple[AssociationTable, ...]:
    return () if signalling is None else (signalling.to_home_agent, signalling.from_home_agent)
