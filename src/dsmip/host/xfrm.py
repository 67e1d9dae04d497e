"""Security associations and policies in the kernel (XFRM), over netlink.

An ESP security association (RFC 4303) is a *state* there; a *policy* says which packets need one.
Only what Mobile IPv6 needs of linux/xfrm.h is here (RFC 4877, RFC 3776): ESP in transport and tunnel mode, in
UDP where a NAT is in between, policies by address, protocol and Mobility Header type, and moving tunnels from
one care-of address to another (RFC 4555's MOBIKE does the same to IKE's own).
"""

from __future__ import annotations

import enum
import errno
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from dsmip.core.types import IPAddress, IPNetwork
from dsmip.host import rtnetlink as nl
from dsmip.host.routing import HostError
from dsmip.host.rtnetlink import RequestSocket, attribute, family

ESP: Final = 50

_NEWSA, _DELSA, _DELPOLICY, _UPDPOLICY, _MIGRATE = 0x10, 0x11, 0x14, 0x19, 0x21
_ALG_AUTH_TRUNCATED, _ALG_CRYPT, _ENCAPSULATION, _TEMPLATES = 20, 2, 4, 5
_MIGRATIONS, _AEAD = 17, 18
_UDP_ENCAP_ESPINUDP = 2
#: "No limit" of a lifetime (XFRM_INF).
_FOREVER = (1 << 64) - 1
_ANY_ALGORITHM = 0xFFFFFFFF
_ACTION_ALLOW = 0

# Structures of linux/xfrm.h. Addresses take 16 octets, those of IPv4 the first four.
_SELECTOR = struct.Struct("=16s16s2s2s2s2sHBBBxxxiI")
_ID = struct.Struct("=16sIBxxx")
_LIFETIME_LIMITS = struct.Struct("=8Q")
_LIFETIME_NOW = struct.Struct("=4Q")
_STATE_TAIL = struct.Struct("=IIIIIHBBB7x")
_STATE_ID = struct.Struct("=16sIHBx")
_POLICY_TAIL = struct.Struct("=IIBBBB4x")
_POLICY_ID_TAIL = struct.Struct("=IBxxx")
_TEMPLATE_TAIL = struct.Struct("=H2x16sIBBBxIII")
_ALGORITHM_NAME = struct.Struct("=64sI")
_TRUNCATION = struct.Struct("=I")
_ENCAPSULATION_LAYOUT = struct.Struct("=H2s2s2x16s")
_MIGRATION = struct.Struct("=16s16s16s16sBBHIHH")

_GONE: Final = (errno.ENOENT, errno.ESRCH)


class Direction(enum.IntEnum):
    """Which packets a policy speaks of."""

    IN = 0
    OUT = 1
    FORWARD = 2


class Mode(enum.IntEnum):
    """What ESP is wrapped around (RFC 4303 section 3.1)."""

    TRANSPORT = 0
    TUNNEL = 1


@dataclass(frozen=True, slots=True)
class Traffic:
    """The packets a policy or a state is for. `protocol` 0 = any.

    `message` is a Mobility Header type, None = any: the kernel compares it where ports stand elsewhere.
    """

    source: IPNetwork
    destination: IPNetwork
    protocol: int = 0
    message: int | None = None

    def encode(self) -> bytes:
        """struct xfrm_selector."""
        exact = b"\xff\xff"
        kind = b"\0\0" if self.message is None else self.message.to_bytes(2, "big")
        return _SELECTOR.pack(
            self.destination.network_address.packed,
            self.source.network_address.packed,
            b"\0\0",
            b"\0\0",
            kind,
            b"\0\0" if self.message is None else exact,
            family(self.source),
            self.destination.prefixlen,
            self.source.prefixlen,
            self.protocol,
            0,
            0,
        )


@dataclass(frozen=True, slots=True)
class Aead:
    """Encryption and authentication in one, as AES-GCM (RFC 4106): `key` ends with the 4 octets of salt.

    Never with keys from a configuration file: a nonce used twice under one key gives everything away
    (RFC 8221 section 4 wants automatic key management).
    """

    key: bytes = field(repr=False)
    name: str = "rfc4106(gcm(aes))"
    check_bits: int = 128

    def encode(self) -> bytes:
        """As attributes."""
        head = _ALGORITHM_NAME.pack(self.name.encode(), len(self.key) * 8)
        return attribute(_AEAD, head + _TRUNCATION.pack(self.check_bits) + self.key)


@dataclass(frozen=True, slots=True)
class CipherAndMac:
    """Encryption and authentication apart: AES-CBC (RFC 3602) with HMAC-SHA-256-128 (RFC 4868)."""

    cipher_key: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    cipher: str = "cbc(aes)"
    mac: str = "hmac(sha256)"
    check_bits: int = 128

    def encode(self) -> bytes:
        """As attributes."""
        cipher = _ALGORITHM_NAME.pack(self.cipher.encode(), len(self.cipher_key) * 8) + self.cipher_key
        mac = _ALGORITHM_NAME.pack(self.mac.encode(), len(self.mac_key) * 8)
        mac += _TRUNCATION.pack(self.check_bits) + self.mac_key
        return attribute(_ALG_CRYPT, cipher) + attribute(_ALG_AUTH_TRUNCATED, mac)


@dataclass(frozen=True, slots=True)
class State:
    """One ESP security association, which is one-way (RFC 4301 section 4.1).

    `request` groups the states that a policy may use. `udp` are the ports of ESP in UDP (RFC 3948), None =
    plain ESP. `replay_window` in packets, at most 32; 0 = replays are not looked for.
    """

    source: IPAddress
    destination: IPAddress
    spi: int
    algorithms: Aead | CipherAndMac
    request: int
    traffic: Traffic
    mode: Mode = Mode.TRANSPORT
    udp: tuple[int, int] | None = None
    replay_window: int = 32


@dataclass(frozen=True, slots=True)
class Policy:
    """Packets of `traffic` have to be under ESP, with a state of `request`; `ends` are those of a tunnel
    (source, destination), None = transport mode. Of several policies the lowest `priority` decides.

    `optional`: inbound packets may come without, too.
    """

    traffic: Traffic
    direction: Direction
    request: int
    ends: tuple[IPAddress, IPAddress] | None = None
    priority: int = 1000
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """The ends of a tunnel (source, destination), before and after."""

    before: tuple[IPAddress, IPAddress]
    after: tuple[IPAddress, IPAddress]
    request: int


class Xfrm:
    """The kernel's security associations and policies. The constructor raises HostError without XFRM."""

    def __init__(self) -> None:
        try:
            self._requests = RequestSocket(nl.NETLINK_XFRM)
        except OSError as error:
            raise HostError(
                f"IPsec: {error.strerror}: this kernel has no XFRM (CONFIG_XFRM_USER): 'modprobe xfrm_user'"
            ) from error

    def close(self) -> None:
        """Let go. States and policies stay."""
        self._requests.close()

    def set_state(self, state: State) -> None:
        """Put a security association in, or in the place of one with the same destination and SPI."""
        body = (
            state.traffic.encode()
            + _ID.pack(state.destination.packed, _big(state.spi), ESP)
            + state.source.packed.ljust(16, b"\0")
            + _NO_LIMITS
            + _LIFETIME_NOW.pack(0, 0, 0, 0)
            + _STATE_TAIL.pack(
                *(0, 0, 0, 0, state.request, family(state.destination)),
                *(state.mode, state.replay_window, 0),
            )
            + state.algorithms.encode()
        )
        if state.udp is not None:
            source, destination = (port.to_bytes(2, "big") for port in state.udp)
            layout = _ENCAPSULATION_LAYOUT.pack(_UDP_ENCAP_ESPINUDP, source, destination, b"")
            body += attribute(_ENCAPSULATION, layout)
        # A state that is there cannot be given another key: it goes first.
        self.remove_state(state.destination, state.spi)
        self._request(_NEWSA, nl.NLM_F_CREATE | nl.NLM_F_EXCL, body, f"security association {state.spi:#x}")

    def remove_state(self, destination: IPAddress, spi: int) -> None:
        """Take a security association out, if it is there."""
        body = _STATE_ID.pack(destination.packed, _big(spi), family(destination), ESP)
        self._request(_DELSA, 0, body, f"removing security association {spi:#x}", tolerated=_GONE)

    def set_policy(self, policy: Policy) -> None:
        """Put a policy in, or in the place of the one for the same packets."""
        tail = _POLICY_TAIL.pack(policy.priority, 0, policy.direction, _ACTION_ALLOW, 0, 0)
        body = policy.traffic.encode() + _NO_LIMITS + _LIFETIME_NOW.pack(0, 0, 0, 0) + tail
        body += attribute(_TEMPLATES, _template(policy))
        self._request(_UPDPOLICY, 0, body, f"policy for {_words(policy.traffic)}")

    def remove_policy(self, traffic: Traffic, direction: Direction) -> None:
        """Take a policy out, if it is there."""
        body = traffic.encode() + _POLICY_ID_TAIL.pack(0, direction)
        self._request(_DELPOLICY, 0, body, f"removing policy for {_words(traffic)}", tolerated=_GONE)

    def migrate(self, traffic: Traffic, direction: Direction, moves: Sequence[Move]) -> None:
        """Give a tunnel policy and its states other ends, keys and counters staying (XFRM_MSG_MIGRATE).

        Raises HostError when there is no such policy or nothing that matches the ends before.
        """
        migrations = b"".join(
            _MIGRATION.pack(
                move.before[1].packed,
                move.before[0].packed,
                move.after[1].packed,
                move.after[0].packed,
                *(ESP, Mode.TUNNEL, 0, move.request),
                *(family(move.before[0]), family(move.after[0])),
            )
            for move in moves
        )
        body = traffic.encode() + _POLICY_ID_TAIL.pack(0, direction) + attribute(_MIGRATIONS, migrations)
        self._request(_MIGRATE, 0, body, f"moving the tunnel of {_words(traffic)}")

    def _request(
        self, kind: int, flags: int, body: bytes, what: str, *, tolerated: Sequence[int] = ()
    ) -> None:
        try:
            self._requests.request(kind, flags, body)
        except OSError as error:
            if error.errno in tolerated:
                return
            mend = _MENDS.get(error.errno or 0, "")
            raise HostError(f"IPsec: {what}: {error.strerror}{mend}") from error


_MENDS = {
    errno.EPROTONOSUPPORT: "; this kernel has no ESP (CONFIG_INET6_ESP): 'modprobe esp6 esp4'",
    errno.ENOSYS: "; this kernel lacks the cipher (CONFIG_CRYPTO_AES, CONFIG_CRYPTO_CBC, CONFIG_CRYPTO_GCM)",
    errno.ENOPROTOOPT: "; this kernel cannot move tunnels (CONFIG_XFRM_MIGRATE)",
    errno.EPERM: "; run as root or with CAP_NET_ADMIN",
}

_NO_LIMITS: Final = _LIFETIME_LIMITS.pack(*(4 * [_FOREVER] + 4 * [0]))


def _template(policy: Policy) -> bytes:
    """struct xfrm_user_tmpl."""
    mode = Mode.TRANSPORT if policy.ends is None else Mode.TUNNEL
    ends = policy.ends
    source, destination = (b"", b"") if ends is None else (ends[0].packed, ends[1].packed)
    of_template = family(policy.traffic.source if ends is None else ends[0])
    return _ID.pack(destination, 0, ESP) + _TEMPLATE_TAIL.pack(
        *(of_template, source, policy.request, mode, 0, policy.optional),
        *(_ANY_ALGORITHM, _ANY_ALGORITHM, _ANY_ALGORITHM),
    )


def _big(number: int) -> int:
    """A 32-bit number as the octets of network order read by this machine."""
    return int(struct.unpack("=I", number.to_bytes(4, "big"))[0])


def _words(traffic: Traffic) -> str:
    return f"{traffic.source} to {traffic.destination}"


def one_address(address: IPAddress) -> IPNetwork:
    """The network of this address alone."""
    return IPv6Network(address) if address.version == 6 else IPv4Network(address)
