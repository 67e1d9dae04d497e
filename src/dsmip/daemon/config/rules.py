"""What a configuration must mean: rules that look at several keys together."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network

from dsmip.core.frozen_entries import Fields, authentication_number, fields_of, freeze, number_of
from dsmip.core.types import IPNetwork
from dsmip.daemon.config import observation as config_observation
from dsmip.daemon.config.ike import check_home_agent_ike, check_mobile_node_ike, check_served_ike
from dsmip.daemon.config.ipsec import check_ipsec
from dsmip.daemon.config.payload import check_payload
from dsmip.daemon.config.problems import Problems
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeFile, MobileNodeTable
from dsmip.daemon.served_entry import entry_of

#: A prefix of a mobile node: IP version, first and last address, number of the mobile node, prefix length.
_Owned = tuple[int, int, int, int, int]

#: What no two mobile nodes may have in common.
_UNIQUE = ("name", "home_address", "ipv4_home_address", "identifier")

_MN_HA = authentication_number("mn-ha")

#: RFC 4285 uses HMAC-SHA1 keys of 16 octets; shorter ones are guessable.
MIN_KEY_OCTETS = 16


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The known key most like a mistyped one."""
    return next(iter(difflib.get_close_matches(word, list(words), n=1)), None)


def check_home_agent(config: HomeAgentFile, problems: Problems) -> None:
    """Rules of a home agent's file."""
    _check_own(config, problems)
    config_observation.check(config.metrics, config.web, problems)
    check_served_nodes(config, problems)
    certified = (node.name for node in config.mobile_node if node.ike is not None and node.ike.psk is None)
    check_home_agent_ike(config.ike, next(certified, None), problems)


def _check_own(config: HomeAgentFile, problems: Problems) -> None:
    _check_unicast(config.address, "address", problems)
    if config.ipv4_home_prefixes and config.ipv4_address is None:
        problems.add(
            "ipv4_home_prefixes", "needs ipv4_address as well: IPv4 care-of addresses are served there"
        )
    if config.home_link is not None and not any(config.address in prefix for prefix in config.home_prefixes):
        problems.add("home_link", f"is given, but address {config.address} is in no home prefix")
    if config.min_mobile_prefix_interval > config.max_mobile_prefix_interval:
        problems.add(
            "min_mobile_prefix_interval",
            f"is longer than max_mobile_prefix_interval ({config.max_mobile_prefix_interval:g} s)",
        )


def check_served_nodes(
    config: HomeAgentFile,
    problems: Problems,
    *,
    provisioned: int = 0,
    records: Sequence[bytes] | None = None,
) -> None:
    """Rules of the mobile nodes; the last so many of them are provisioned and not in the file. `records` are
    theirs, None = have yet to be made."""
    # There may be a hundred thousand, so this works on their records, and on numbers instead of addresses.
    records = [freeze(entry_of(node)) for node in config.mobile_node] if records is None else records
    from_file = len(records) - provisioned
    seen: dict[str, dict[object, int]] = {kind: {} for kind in _UNIQUE}
    spis: dict[int, int] = {}
    owned: list[_Owned] = []
    is_plain = _Plain(config)

    def place(number: int) -> str:
        """What to call a mobile node in a complaint."""
        return f"mobile_node[{number}]" if number < from_file else f"provisioned {_name(config, number)}"

    for number, record in enumerate(records):
        fields, home_address = fields_of(record), number_of(record)
        if number < from_file or not is_plain(home_address, fields):
            _check_served_node(config, config.mobile_node[number], f"{place(number)}.", problems)
        values = (fields.name, home_address, fields.ipv4_home_address, fields.identifier or fields.name)
        for kind, value in zip(_UNIQUE, values, strict=True):
            first = seen[kind].setdefault(value, number) if value else number
            if first != number:
                text = getattr(config.mobile_node[number], kind) or fields.name
                problems.add(f"{place(number)}.{kind}", f"{text} is already that of {place(first)}")
        # What was provisioned has no keys for ESP.
        for where, spi in _inbound_spis(config.mobile_node[number]) if number < from_file else ():
            first = spis.setdefault(spi, number)
            if first != number:
                problems.add(f"{place(number)}.{where}", f"{spi:#x} is already that of {place(first)}")
        for version, bits, prefixes in ((6, 128, fields.prefixes), (4, 32, fields.ipv4_prefixes)):
            for address, length in prefixes:
                lowest = int.from_bytes(address)
                owned.append((version, lowest, lowest + (1 << (bits - length)) - 1, number, length))
    _check_overlaps(config, owned, place, problems)


def _inbound_spis(node: MobileNodeTable) -> Iterator[tuple[str, int]]:
    """Of ESP to the home agent's one address, and where they stand."""
    for name, table in (("ipsec", node.ipsec), ("payload", node.payload)):
        association = table.to_home_agent if table is not None else None
        if association is not None:
            yield f"{name}.to_home_agent.spi", association.spi


def _name(config: HomeAgentFile, number: int) -> str:
    return config.mobile_node[number].name


class _Plain:
    """Tells what is all right with a mobile node at a glance, as it nearly always is."""

    def __init__(self, config: HomeAgentFile) -> None:
        self._homes = [_span(prefix) for prefix in config.home_prefixes]
        self._ipv4_homes = [_span(prefix) for prefix in config.ipv4_home_prefixes]
        self._address = int(config.address)
        self._ipv4_address = config.ipv4_address.packed if config.ipv4_address is not None else None

    def __call__(self, home_address: int, fields: Fields) -> bool:
        ipv4 = fields.ipv4_home_address
        return (
            fields.authentication == _MN_HA
            and len(fields.key) >= MIN_KEY_OCTETS
            and home_address != self._address
            and any(first <= home_address <= last for first, last in self._homes)
            and (ipv4 is None or self._has_ipv4(ipv4))
        )

    def _has_ipv4(self, ipv4: bytes) -> bool:
        number = int.from_bytes(ipv4)
        return ipv4 != self._ipv4_address and any(first <= number <= last for first, last in self._ipv4_homes)


def _span(network: IPNetwork) -> tuple[int, int]:
    return int(network.network_address), int(network.broadcast_address)


def _check_overlaps(
    config: HomeAgentFile, owned: list[_Owned], place: Callable[[int], str], problems: Problems
) -> None:
    """No prefix is inside another. In the order of addresses a prefix comes after those it is inside of, with
    nothing but what is inside of them in between: one pass, however many prefixes there are."""
    around: list[_Owned] = []
    for found in sorted(owned, key=lambda one: (one[0], one[1], -one[2], one[3])):
        around = [one for one in around if one[0] == found[0] and one[2] >= found[1]]
        for other in around:
            earlier, later = sorted((other, found), key=lambda one: one[3])
            name, owner = (config.mobile_node[one[3]].name for one in (later, earlier))
            text = f"{name}: {_network(later)} overlaps {_network(earlier)} of {owner}"
            problems.add(f"{place(later[3])}.name", text)
        around.append(found)


def _network(owned: _Owned) -> IPNetwork:
    version, lowest, _, _, length = owned
    return IPv6Network((lowest, length)) if version == 6 else IPv4Network((lowest, length))


def _check_served_node(config: HomeAgentFile, node: MobileNodeTable, where: str, problems: Problems) -> None:
    ranges = (*config.home_prefixes, *node.mobile_network_prefixes)
    if not any(node.home_address in prefix for prefix in ranges):
        problems.add(f"{where}home_address", f"{node.home_address} is in none of the home prefixes")
    if node.home_address == config.address:
        problems.add(f"{where}home_address", "is the home agent's own address")
    if node.ipv4_home_address is not None:
        if not any(node.ipv4_home_address in prefix for prefix in config.ipv4_home_prefixes):
            problems.add(
                f"{where}ipv4_home_address", f"{node.ipv4_home_address} is in none of ipv4_home_prefixes"
            )
        if node.ipv4_home_address == config.ipv4_address:
            problems.add(f"{where}ipv4_home_address", "is the home agent's own address")
    _check_key(node.authentication, node.key, config.allow_unauthenticated, where, problems)
    check_payload(node.payload, node.ipsec, node.ike, where, problems)
    if node.payload is not None and config.renumbering:
        problems.add(f"{where}payload", "cannot be with renumbering: its ESP needs a home address that stays")
    check_ipsec(node.authentication, node.ipsec, node.ike, where, problems)
    if node.ike is not None:
        check_served_ike(node.ike, where, problems)


def check_mobile_node(config: MobileNodeFile, problems: Problems) -> None:
    """Rules of a mobile node's or mobile router's file."""
    _check_home_agents(config, problems)
    _check_unicast(config.home_address, "home_address", problems)
    ranges = (config.home_prefix, *config.mobile_network_prefixes)
    if not any(config.home_address in prefix for prefix in ranges):
        problems.add("home_address", f"{config.home_address} is not in home_prefix {config.home_prefix}")
    if config.role == "mobile-node":
        for key in ("mobile_network_prefixes", "ipv4_prefixes", "ipv4_prefix_request"):
            if getattr(config, key):
                problems.add(key, 'only makes sense with role = "mobile-router"')
    elif config.nemo_mode == "explicit" and not config.mobile_network_prefixes:
        problems.add("mobile_network_prefixes", 'is empty: name the prefixes, or set nemo_mode = "implicit"')
    _check_key(config.authentication, config.key, config.allow_unauthenticated, "", problems)
    check_payload(config.payload, config.ipsec, config.ike, "", problems)
    check_ipsec(config.authentication, config.ipsec, config.ike, "", problems)
    if config.ike is not None:
        check_mobile_node_ike(config.ike, problems)
    for table in ("ipsec", "ike", "payload"):
        if getattr(config, table) and (config.home_agent.address is None or config.other_home_agent):
            text = f"has to be given as an address, and to be the only one: the keys of [{table}] are its"
            problems.add("home_agent", text)
    names: set[str] = set()
    for number, interface in enumerate(config.interface):
        if interface.name in names:
            problems.add(f"interface[{number}].name", f"{interface.name} is named twice")
        names.add(interface.name)
    config_observation.check(config.metrics, None, problems)


def _check_home_agents(config: MobileNodeFile, problems: Problems) -> None:
    """Each is named once; one that has to be discovered may be."""
    places = [("home_agent", config.home_agent.address)]
    places += [
        (f"other_home_agent[{n}].address", other.address) for n, other in enumerate(config.other_home_agent)
    ]
    seen: dict[IPv6Address, str] = {config.home_address: "home_address"}
    for where, address in places:
        if address is None:
            continue
        _check_unicast(address, where, problems)
        if address in seen:
            problems.add(where, f"{address} is already that of {seen[address]}")
        seen[address] = where
    discovered = config.home_agent.address is None and config.home_agent.name is None
    if discovered and not config.home_agent_discovery:
        problems.add("home_agent_discovery", 'is false, but home_agent = "discover" needs it')
    if discovered and config.home_agent_ipv4 is not None:
        problems.add("home_agent_ipv4", 'belongs to a home agent that is named, not to "discover"')


def _check_key(
    authentication: str, key: bytes | None, allow_unauthenticated: bool, where: str, problems: Problems
) -> None:
    if authentication == "none":
        if not allow_unauthenticated:
            problems.add(
                f"{where}authentication",
                '"none" lets anybody take over this home address; for a closed test network also set'
                " allow_unauthenticated = true",
            )
    elif authentication == "ipsec":
        if key is not None:
            problems.add(f"{where}key", 'is not used with authentication = "ipsec"')
    elif key is None:
        problems.add(f"{where}key", "is missing: 32 hexadecimal digits, the same at both ends")
    elif len(key) < MIN_KEY_OCTETS:
        problems.add(f"{where}key", f"is too short: {len(key)} octets, at least {MIN_KEY_OCTETS} are needed")


def _check_unicast(address: IPv6Address, key: str, problems: Problems) -> None:
    if address.is_multicast or address.is_link_local or address.is_unspecified or address.is_loopback:
        problems.add(key, f"{address} is not a global unicast address")
