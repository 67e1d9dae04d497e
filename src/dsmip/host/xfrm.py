"""Security associations and policies in the kernel (XFRM), over netlink.

An ESP security association (RFC 4303) is a *state* there; a *policy* says which packets need one.
Only what Mobile IPv6 needs of linux/xfrm.h is here (RFC 4877, RFC 3776): ESP in transport and tunnel mode
with manual keys, and policies by address, protocol and Mobility Header type.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Final, NamedTuple

from dsmip.core.types import IPAddress, IPNetwork
from dsmip.host import rtnetlink as nl
from dsmip.host.routing import HostError
from dsmip.host.rtnetlink import RequestSocket, attribute, attributes, family

ESP: Final = 50

_NEWSA, _DELSA, _GETSA, _DELPOLICY, _GETPOLICY, _UPDPOLICY = 0x10, 0x11, 0x12, 0x14, 0x15, 0x19
_ALG_AUTH_TRUNCATED, _ALG_CRYPT, _TEMPLATES = 20, 2, 5
_AEAD = 18
_KEYS = frozenset({_AEAD, _ALG_CRYPT})
_FLAG_ANY_FAMILY = 32
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

    `message` is a Mobility Header or ICMPv6 type, None = any: the kernel compares it where ports stand
    elsewhere. `pair`: also the type that differs in the last bit, as questions and answers of ICMPv6 do.
    """

    source: IPNetwork
    destination: IPNetwork
    protocol: int = 0
    message: int | None = None
    pair: bool = False

    def encode(self) -> bytes:
        """struct xfrm_selector."""
        mask = b"\xff\xfe" if self.pair else b"\xff\xff"
        kind = b"\0\0" if self.message is None else self.message.to_bytes(2, "big")
        return _SELECTOR.pack(
            self.destination.network_address.packed,
            self.source.network_address.packed,
            b"\0\0",
            b"\0\0",
            kind,
            b"\0\0" if self.message is None else mask,
            family(self.source),
            self.destination.prefixlen,
            self.source.prefixlen,
            self.protocol,
            0,
            0,
        )

    @classmethod
    def decode(cls, octets: bytes) -> Traffic:
        """Inverse of `encode`."""
        destination, source, _, _, kind, mask, version, to, since, protocol, *_ = _SELECTOR.unpack(octets)
        message = int.from_bytes(kind, "big") if any(mask) else None
        ends = _network(version, source, since), _network(version, destination, to)
        return cls(*ends, protocol, message, pair=mask == b"\xff\xfe")


@dataclass(frozen=True, slots=True)
class Aead:
    """Encryption and authentication in one, as AES-GCM (RFC 4106): `key` ends with the 4 octets of salt.

    A nonce used twice under one key gives everything away, so RFC 4106 section 2 wants keys that are new each
    time. Linux does not begin with 1 again: what it counts with is combined with 64 random bits of each
    state's own (crypto/seqiv.c), so that with a key that stays the odds of a repetition are those of two
    ranges of numbers meeting among 2^64.
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

    `request` groups the states that a policy may use. `traffic` None: whatever policies send, of both IP
    versions; for tunnels.

    There is no replay window: keys that stay are for senders that begin to count at 1 again (RFC 4303 section
    3.4.3). Those of IKE, which have one, are put in by whoever negotiates them.
    """

    source: IPAddress
    destination: IPAddress
    spi: int
    algorithms: Aead | CipherAndMac
    request: int
    traffic: Traffic | None
    mode: Mode = Mode.TRANSPORT


class Association(NamedTuple):
    """What tells a state in the kernel from all others, and the number of its group."""

    source: IPAddress
    destination: IPAddress
    spi: int
    request: int


@dataclass(frozen=True, slots=True)
class Policy:
    """Packets of `traffic` have to be under ESP, with a state of `request`; `ends` are those of a tunnel
    (source, destination), None = transport mode. Of several policies the lowest `priority` decides.

    `request` None: they pass as they are.
    """

    traffic: Traffic
    direction: Direction
    request: int | None
    ends: tuple[IPAddress, IPAddress] | None = None
    priority: int = 1000


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
        flags = _FLAG_ANY_FAMILY if state.traffic is None else 0
        body = (
            (state.traffic.encode() if state.traffic is not None else bytes(_SELECTOR.size))
            + _ID.pack(state.destination.packed, _big(state.spi), ESP)
            + state.source.packed.ljust(16, b"\0")
            + _NO_LIMITS
            + _LIFETIME_NOW.pack(0, 0, 0, 0)
            + _STATE_TAIL.pack(
                *(0, 0, 0, 0, state.request, family(state.destination)),
                *(state.mode, 0, flags),
            )
            + state.algorithms.encode()
        )
        # A state that is there cannot be given another key: it goes first.
        self.remove_state(state.destination, state.spi)
        self._request(_NEWSA, nl.NLM_F_CREATE | nl.NLM_F_EXCL, body, f"security association {state.spi:#x}")

    def has_state(self, state: State) -> bool:
        """Whether this very security association is there, keys and ends included."""
        body = _STATE_ID.pack(state.destination.packed, _big(state.spi), family(state.destination), ESP)
        try:
            answers = self._requests.ask(_GETSA, body)
        except OSError:
            return False
        for answer in answers:
            found = attributes(answer[_STATE_SIZE:])
            wanted = attributes(state.algorithms.encode())
            ends = answer[_STATE_SOURCE : _STATE_SOURCE + 16] == state.source.packed.ljust(16, b"\0")
            *_, request, _, mode, _, _ = _STATE_TAIL.unpack_from(answer, _STATE_SIZE - _STATE_TAIL.size)
            same = all(found.get(kind) == value for kind, value in wanted.items())
            if ends and same and (request, mode) == (state.request, state.mode):
                return True
        return False

    def associations(self) -> Iterator[Association]:
        """All there are of ESP, whoever put them there. Those that are being negotiated have no keys yet, and
        are left out. Raises HostError."""
        try:
            answers = self._requests.ask(_GETSA, b"", everything=True)
        except OSError as error:
            raise HostError(f"IPsec: listing security associations: {error.strerror}") from error
        for answer in answers:
            *_, request, version, _, _, _ = _STATE_TAIL.unpack_from(answer, _STATE_SIZE - _STATE_TAIL.size)
            destination, spi, protocol = _ID.unpack_from(answer, _SELECTOR.size)
            if protocol == ESP and attributes(answer[_STATE_SIZE:]).keys() & _KEYS:
                ends = (answer[_STATE_SOURCE : _STATE_SOURCE + 16], destination)
                source, destination = (_address(version, octets) for octets in ends)
                yield Association(source, destination, _big(spi), request)

    def remove_state(self, destination: IPAddress, spi: int) -> None:
        """Take a security association out, if it is there."""
        body = _STATE_ID.pack(destination.packed, _big(spi), family(destination), ESP)
        self._request(_DELSA, 0, body, f"removing security association {spi:#x}", tolerated=_GONE)

    def set_policy(self, policy: Policy) -> None:
        """Put a policy in, or in the place of the one for the same packets."""
        tail = _POLICY_TAIL.pack(policy.priority, 0, policy.direction, _ACTION_ALLOW, 0, 0)
        body = policy.traffic.encode() + _NO_LIMITS + _LIFETIME_NOW.pack(0, 0, 0, 0) + tail
        if policy.request is not None:
            body += attribute(_TEMPLATES, _template(policy, policy.request))
        self._request(_UPDPOLICY, 0, body, f"policy for {_words(policy.traffic)}")

    def remove_policy(self, traffic: Traffic, direction: Direction) -> None:
        """Take a policy out, if it is there."""
        body = traffic.encode() + _POLICY_ID_TAIL.pack(0, direction)
        self._request(_DELPOLICY, 0, body, f"removing policy for {_words(traffic)}", tolerated=_GONE)

    def policies(self, priorities: Collection[int]) -> set[tuple[Traffic, Direction]]:
        """Those that are there with one of these priorities. Raises HostError."""
        try:
            answers = self._requests.ask(
                _GETPOLICY, bytes(_SELECTOR.size + _POLICY_ID_TAIL.size), everything=True
            )
        except OSError as error:
            raise HostError(f"IPsec: listing policies: {error.strerror}") from error
        found = set()
        for answer in answers:
            priority, _, direction, *_ = _POLICY_TAIL.unpack_from(answer, _POLICY_SIZE - _POLICY_TAIL.size)
            if priority in priorities:
                found.add((Traffic.decode(answer[: _SELECTOR.size]), Direction(direction)))
        return found

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


def dropped(path: Path = Path("/proc/net/xfrm_stat")) -> dict[str, int]:
    """Packets that IPsec has dropped in this network namespace, by the kernel's names for the reasons; empty
    when it does not count."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    return {name: int(count) for name, count in (line.split() for line in lines) if count != "0"}


def send_as_it_is(raw: socket.socket) -> None:
    """Let no policy see what this socket sends: signalling has other ways under IPsec, or none."""
    level, option = _SOCKET_POLICY[raw.family]
    selector = _SELECTOR.pack(b"", b"", b"", b"", b"", b"", raw.family, 0, 0, 0, 0, 0)
    policy = selector + _NO_LIMITS + _LIFETIME_NOW.pack(0, 0, 0, 0)
    policy += _POLICY_TAIL.pack(0, 0, Direction.OUT, _ACTION_ALLOW, 0, 0)
    # Without XFRM there are no policies either.
    with contextlib.suppress(OSError):
        raw.setsockopt(level, option, policy)


#: IPV6_XFRM_POLICY and IP_XFRM_POLICY.
_SOCKET_POLICY: Final = {
    socket.AF_INET6: (socket.IPPROTO_IPV6, 35),
    socket.AF_INET: (socket.IPPROTO_IP, 17),
}

_MENDS = {
    errno.EPROTONOSUPPORT: "; this kernel has no ESP (CONFIG_INET6_ESP): 'modprobe esp6 esp4'",
    errno.ENOSYS: "; this kernel lacks the cipher (CONFIG_CRYPTO_AES, CONFIG_CRYPTO_CBC, CONFIG_CRYPTO_GCM)",
    errno.EPERM: "; run as root or with CAP_NET_ADMIN",
}

_POLICY_SIZE: Final = _SELECTOR.size + _LIFETIME_LIMITS.size + _LIFETIME_NOW.size + _POLICY_TAIL.size
_STATE_SOURCE: Final = _SELECTOR.size + _ID.size
_STATE_SIZE: Final = _STATE_SOURCE + 16 + _LIFETIME_LIMITS.size + _LIFETIME_NOW.size + _STATE_TAIL.size
_NO_LIMITS: Final = _LIFETIME_LIMITS.pack(*(4 * [_FOREVER] + 4 * [0]))


def _template(policy: Policy, request: int) -> bytes:
    """struct xfrm_user_tmpl."""
    mode = Mode.TRANSPORT if policy.ends is None else Mode.TUNNEL
    ends = policy.ends
    source, destination = (b"", b"") if ends is None else (ends[0].packed, ends[1].packed)
    of_template = family(policy.traffic.source if ends is None else ends[0])
    return _ID.pack(destination, 0, ESP) + _TEMPLATE_TAIL.pack(
        *(of_template, source, request, mode, 0, 0),
        *(_ANY_ALGORITHM, _ANY_ALGORITHM, _ANY_ALGORITHM),
    )


def _big(number: int) -> int:
    """A 32-bit number as the octets of network order read by this machine, and back."""
    return int(struct.unpack("=I", number.to_bytes(4, "big"))[0])


def _address(version: int, octets: bytes) -> IPAddress:
    return IPv6Address(octets) if version == socket.AF_INET6 else IPv4Address(octets[:4])


def _network(version: int, octets: bytes, length: int) -> IPNetwork:
    if version == socket.AF_INET6:
        return IPv6Network((octets, length), strict=False)
    return IPv4Network((octets[:4], length), strict=False)


def _words(traffic: Traffic) -> str:
    return f"{traffic.source} to {traffic.destination}"


def one_address(address: IPAddress) -> IPNetwork:
    """The network of this address alone."""
    return IPv6Network(address) if address.version == 6 else IPv4Network(address)
