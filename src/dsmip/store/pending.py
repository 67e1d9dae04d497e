"""What has been written to a store and is not safe yet, as octets, by home address."""

from __future__ import annotations

from ipaddress import IPv6Address
from struct import Struct

from dsmip.core.binding_record import encode_binding
from dsmip.core.types import Binding, ReplayState

#: Sequence number, NTP timestamp, binding index.
_REPLAY = Struct(">HQI")


class Pending:
    """The last word on each home address since the last flush."""

    __slots__ = ("bindings", "forgotten", "replays")

    def __init__(self) -> None:
        self.bindings: dict[bytes, bytes] = {}
        self.replays: dict[bytes, bytes] = {}
        self.forgotten: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self.bindings or self.replays or self.forgotten)

    def put(self, binding: Binding, replay: ReplayState) -> None:
        """A binding is new or has changed."""
        key = binding.home_address.packed
        self.forgotten.discard(key)
        self.bindings[key] = encode_binding(binding)
        self.put_replay(replay)

    def put_replay(self, replay: ReplayState) -> None:
        """Replay state alone has changed."""
        self.replays[replay.home_address.packed] = encode_replay(replay)

    def forget(self, home_address: IPv6Address) -> None:
        """A binding has ended."""
        key = home_address.packed
        self.bindings.pop(key, None)
        self.forgotten.add(key)

    def clear(self) -> None:
        """All of it is safe."""
        self.bindings.clear()
        self.replays.clear()
        self.forgotten.clear()


class Buffered:
    """The part of a `dsmip.store.api.Store` that collects until it is flushed."""

    def __init__(self) -> None:
        self._pending = Pending()

    def put(self, binding: Binding, replay: ReplayState) -> None:
        """Write a new or changed binding together with its replay state."""
        self._pending.put(binding, replay)

    def put_replay(self, replay: ReplayState) -> None:
        """Write replay state alone."""
        self._pending.put_replay(replay)

    def forget(self, home_address: IPv6Address) -> None:
        """Delete a binding; its replay state stays."""
        self._pending.forget(home_address)


def encode_replay(replay: ReplayState) -> bytes:
    """14 octets; the home address is the key they stand under."""
    return _REPLAY.pack(replay.sequence, replay.timestamp, replay.index)


def decode_replay(home_address: bytes, record: bytes) -> ReplayState:
    """Inverse of `encode_replay`. Raises ValueError when it is not one."""
    if len(record) != _REPLAY.size or len(home_address) != 16:
        raise ValueError(f"replay state of {len(record)} octets")
    return ReplayState(IPv6Address(home_address), *_REPLAY.unpack(record))
