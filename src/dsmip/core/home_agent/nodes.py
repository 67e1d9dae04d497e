"""The mobile nodes a home agent serves: configuration, security association, replay state, binding index.

With renumbering a mobile node may have its home address under another home prefix than configured (RFC 6275
sections 10.6 and 11.4.3): the same interface identifier, the prefix as long. Whoever knows its key is the
mobile node, whichever of these addresses it uses: replay state and index are one, and so is the binding. The
configured home address stays what the mobile node is known by.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import Final

import msgspec

from dsmip.core.actions import Value
from dsmip.core.authentication import SecurityAssociation
from dsmip.core.frozen_entries import freeze, labels_of, number_of, records_of, thaw
from dsmip.core.home_agent.changes import NodeChanges
from dsmip.core.lately import Lately
from dsmip.core.rate_limit import RateLimit
from dsmip.core.types import MobileNodeEntry, ReplayState

#: Seconds for which the last sequence number is held against a mobile node after its de-registration, so that
#: a delayed Binding Update does not bring the binding back: MAX_DELETE_BCE_TIMEOUT (RFC 6275 section 12).
MAX_DELETE_BCE_TIMEOUT = 10.0

#: Answers a second, and at once, to Binding Updates of one mobile node whose timestamps are not accepted.
CORRECTION_RATE = 2.0
CORRECTION_BURST = 10


#: Entries that stay thawed: those of the mobile nodes heard of lately. All others are octets.
THAWED = 6144

#: Further ones that are thawed, those of the mobile nodes heard of last: a few Binding Updates.
PASSING = 8


class _Rare(msgspec.Struct, gc=False):
    """What there is to say of few mobile nodes; see `ServedNode`."""

    other_address: IPv6Address | None = None
    corrections: RateLimit | None = None


# Three numbers in one, for the room: the sequence number in the last bits, then timestamp and index.
_SEQUENCE: Final = 0xFFFF
_TIMESTAMP_SHIFT: Final = 16
_TIMESTAMP: Final = (1 << 64) - 1
_INDEX_SHIFT: Final = 80
_ALL: Final = (1 << 112) - 1
_BUT_SEQUENCE: Final = _ALL - _SEQUENCE
_BUT_TIMESTAMP: Final = _ALL - (_TIMESTAMP << _TIMESTAMP_SHIFT)
_BUT_INDEX: Final = (1 << _INDEX_SHIFT) - 1


class ServedNode(msgspec.Struct, gc=False, eq=False):
    """One configured mobile node.

    `association` is None unless authentication is "mn-ha". `sequence` and `timestamp` are the last accepted
    ones, `deregistered_until` the CLOCK_MONOTONIC seconds up to which `sequence` counts without a binding.
    `home_address` is the one in use: that of the last binding.
    """

    #: What it is configured with, as octets: see `frozen_entries`.
    record: bytes
    #: The home address in use, as a number.
    number: int
    deregistered_until: float = 0.0
    _numbers: int = 0
    _entry: MobileNodeEntry | None = None
    _rare: _Rare | None = None

    @property
    def index(self) -> int:
        """Its binding index, 0 = none yet."""
        return self._numbers >> _INDEX_SHIFT

    @index.setter
    def index(self, index: int) -> None:
        self._numbers = index << _INDEX_SHIFT | self._numbers & _BUT_INDEX

    @property
    def sequence(self) -> int:
        """The last accepted sequence number."""
        return self._numbers & _SEQUENCE

    @sequence.setter
    def sequence(self, sequence: int) -> None:
        self._numbers = self._numbers & _BUT_SEQUENCE | sequence & _SEQUENCE

    @property
    def timestamp(self) -> int:
        """The last accepted timestamp, 0 = none."""
        return self._numbers >> _TIMESTAMP_SHIFT & _TIMESTAMP

    @timestamp.setter
    def timestamp(self, timestamp: int) -> None:
        self._numbers = self._numbers & _BUT_TIMESTAMP | timestamp << _TIMESTAMP_SHIFT

    def _more(self) -> _Rare:
        if self._rare is None:
            self._rare = _Rare()
        return self._rare

    def tell(self, entry: MobileNodeEntry) -> None:
        """What it is configured with from now on; a former key is worth nothing at once."""
        self.record = freeze(entry)
        self._entry = None

    @property
    def entry(self) -> MobileNodeEntry:
        """What it is configured with."""
        return self._entry or self._thaw()

    def _thaw(self) -> MobileNodeEntry:
        entry = self._entry = thaw(self.record)
        if not _lately.let_in(self, THAWED):
            _passing.append(self)
            if len(_passing) > PASSING:
                _passing.popleft().forget_entry()
        return entry

    def forget_entry(self) -> None:
        """Have it as octets only, until it is asked for."""
        self._entry = None

    @property
    def home_address(self) -> IPv6Address:
        """The home address in use."""
        other = self._rare.other_address if self._rare is not None else None
        return other or self.entry.home_address

    @home_address.setter
    def home_address(self, home_address: IPv6Address) -> None:
        configured = self.entry.home_address
        if home_address is configured and (self._rare is None or self._rare.other_address is None):
            return
        self._more().other_address = home_address if home_address != configured else None
        self.number = int(home_address)

    @property
    def name(self) -> str:
        """The configured home address, as text."""
        return str(self.entry.home_address)

    @property
    def has_association(self) -> bool:
        """Whether there is one: it authenticates by RFC 4285."""
        return self.entry.authentication == "mn-ha"

    @property
    def association(self) -> SecurityAssociation | None:
        """What authenticates it; made when asked for, as that takes less than keeping it for everybody."""
        entry = self.entry
        if entry.authentication != "mn-ha":
            return None
        return SecurityAssociation(entry.spi, entry.key, entry.identifier)

    @property
    def corrections(self) -> RateLimit:
        """How often it is told that a timestamp was wrong: whoever replays its messages provokes that too."""
        rare = self._more()
        if rare.corrections is None:
            rare.corrections = RateLimit(CORRECTION_RATE, CORRECTION_BURST)
        return rare.corrections

    @property
    def who(self) -> dict[str, Value]:
        """For events: which mobile node they are about."""
        entry = self.entry
        return {"name": entry.name or entry.home_address, "home_address": entry.home_address}

    @property
    def replay(self) -> ReplayState:
        """What has to be stored about this mobile node besides its binding."""
        numbers = self._numbers
        timestamp = numbers >> _TIMESTAMP_SHIFT & _TIMESTAMP
        return ReplayState(self.entry.home_address, numbers & _SEQUENCE, timestamp, numbers >> _INDEX_SHIFT)


_lately = Lately(ServedNode.forget_entry)
#: Those whose entries are thawed for a moment only.
_passing: deque[ServedNode] = deque()


class Identifiers:
    """Mobile nodes by identifier (RFC 4283), in the order of its hash: two machine words each."""

    def __init__(self, nodes: Iterable[ServedNode]) -> None:
        found = []
        for node in nodes:
            labels = labels_of(node.record)
            identifier = labels.name if labels.identifier is None else labels.identifier
            if identifier:
                found.append((hash(identifier), node))
        found.sort(key=lambda one: one[0])
        self._hashes = array("q", (number for number, _ in found))
        self._nodes = [node for _, node in found]

    def add(self, identifier: str, node: ServedNode) -> None:
        """One more, unless it has no identifier."""
        if identifier:
            place = bisect_left(self._hashes, hash(identifier))
            self._hashes.insert(place, hash(identifier))
            self._nodes.insert(place, node)

    def discard(self, identifier: str, node: ServedNode) -> None:
        """One less, if it is there."""
        for place in self._places(identifier):
            if self._nodes[place] is node:
                del self._hashes[place], self._nodes[place]
                return

    def find(self, identifier: str) -> ServedNode | None:
        """The one with this identifier."""
        nodes = (self._nodes[place] for place in self._places(identifier))
        return next((node for node in nodes if node.entry.identifier == identifier), None)

    def _places(self, identifier: str) -> range:
        number = hash(identifier)
        return range(bisect_left(self._hashes, number), bisect_right(self._hashes, number))


class IndexAllocator:
    """Binding indices: the smallest number from 1 on that nobody has. Nodes keep theirs for good."""

    def __init__(self) -> None:
        self._next = 1
        self._reserved: set[int] = set()

    def reserve(self, index: int) -> bool:
        """Take this very number; False when it is taken."""
        if index < self._next or index in self._reserved:
            return False
        self._reserved.add(index)
        return True

    def allocate(self) -> int:
        """The smallest number nobody has."""
        while self._next in self._reserved:
            self._reserved.discard(self._next)
            self._next += 1
        self._next += 1
        return self._next - 1


class ServedNodes:
    """Every configured mobile node, by home address and by identifier (RFC 4283).

    `prefixes` are those that home addresses may change between, none without renumbering.
    """

    def __init__(self, entries: Iterable[MobileNodeEntry], prefixes: Iterable[IPv6Network] = ()) -> None:
        self._prefixes = tuple(prefixes)
        # Addresses as numbers: they are found in half the time.
        nodes = (ServedNode(record, number_of(record)) for record in records_of(entries))
        self._by_address = {node.number: node for node in nodes}
        self._identifiers = Identifiers(self._by_address.values())
        #: Removed ones: if one comes back, what it sent before is still a replay, its index still its own.
        self._former: dict[int, ServedNode] = {}
        self._indices = IndexAllocator()

    def change(self, changes: NodeChanges) -> None:
        """Serve other mobile nodes from now on. Those that stay keep replay state and index."""
        for entry in changes.gone:
            self._identifiers.discard(entry.identifier, self._by_address[int(entry.home_address)])
        for entry in changes.removed:
            number = int(entry.home_address)
            self._former[number] = self._by_address.pop(number)
        for entry in changes.new:
            number = int(entry.home_address)
            node = self._by_address.get(number) or self._former.pop(number, None)
            if node is None:
                node = ServedNode(freeze(entry), number)
            else:
                node.tell(entry)
            self._by_address[number] = node
            self._identifiers.add(entry.identifier, node)

    def __iter__(self) -> Iterator[ServedNode]:
        return iter(self._by_address.values())

    def get(self, home_address: IPv6Address) -> ServedNode | None:
        """The mobile node with this home address, or with the same one under another prefix.

        None when that might be several: they have to be told apart by prefix.
        """
        node = self._by_address.get(int(home_address))
        if node is not None or not self._prefixes:
            return node
        found = [
            self._by_address[other] for other in self._counterparts(home_address) if other in self._by_address
        ]
        return found[0] if len(found) == 1 and found[0].association is not None else None

    def configured(self, number: int) -> ServedNode | None:
        """The mobile node configured with the very home address that has this number."""
        return self._by_address.get(number)

    def may_use(self, node: ServedNode, home_address: IPv6Address, identifier: str | None) -> bool:
        """Whether this is the mobile node's configured home address, or one that it may have instead.

        For the latter it has to have said who it is: the address alone does not tell.
        """
        if home_address == node.entry.home_address:
            return True
        return bool(identifier) and identifier == node.entry.identifier and self.get(home_address) is node

    def _counterparts(self, home_address: IPv6Address) -> Iterator[int]:
        """Addresses with the same interface identifier under the other prefixes of that length."""
        length = next((prefix.prefixlen for prefix in self._prefixes if home_address in prefix), None)
        for prefix in self._prefixes:
            if prefix.prefixlen == length and home_address not in prefix:
                yield int(prefix.network_address) | int(home_address) & int(prefix.hostmask)

    def identified(self, identifier: str) -> ServedNode | None:
        """The mobile node with this NAI."""
        return self._identifiers.find(identifier)

    def in_use(self, configured: IPv6Address) -> IPv6Address:
        """The home address in use of the mobile node configured with this one, served no more maybe."""
        number = int(configured)
        node = self._by_address.get(number) or self._former.get(number)
        return configured if node is None else node.home_address

    def restore(self, replay: ReplayState) -> None:
        """Take over stored replay state and the index in it; nothing for a node that is not configured."""
        node = self._by_address.get(int(replay.home_address))
        if node is not None:
            node.sequence, node.timestamp = replay.sequence, replay.timestamp
            if replay.index:
                self.claim_index(node, replay.index)

    def claim_index(self, node: ServedNode, index: int) -> None:
        """Give the mobile node this index; another one if it has one or if somebody else has that."""
        if not node.index and self._indices.reserve(index):
            node.index = index
        self.give_index(node)

    def give_index(self, node: ServedNode) -> bool:
        """Make sure that the mobile node has an index, for good. True when it is a new one."""
        if node.index:
            return False
        node.index = self._indices.allocate()
        return True
