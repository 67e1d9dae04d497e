"""The mobile node's IPv4 home addresses and prefixes: asking for them and being granted them (RFC 5555).

Each wish travels as one IPv4 Home Address option in every Binding Update (section 4.4.2) and is answered by
one IPv4 Address Acknowledgement option (section 3.2.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.types import IPv4Grant
from dsmip.wire.options import IPv4AddressAcknowledgement, IPv4HomeAddress

_UNSPECIFIED = IPv4Address(0)
_HOST = 32

#: Acknowledgement option statuses from here on are refusals (RFC 5555 section 3.2.1).
_REFUSED = 128


@dataclass(slots=True)
class _Wish:
    """One address (length 32) or prefix. `static` None = whatever the home agent allots."""

    length: int
    static: IPv4Network | None = None
    granted: IPv4Network | None = None

    def option(self) -> IPv4HomeAddress:
        network = self.static or self.granted
        if network is not None:
            return IPv4HomeAddress(network.network_address, network.prefixlen)
        return IPv4HomeAddress(_UNSPECIFIED, self.length, prefix_requested=self.length != _HOST)


class IPv4Wishes:
    """What to ask the home agent for, and what it granted so far.

    `refusals` are the statuses of the last acknowledgement's refused options.
    """

    def __init__(self, config: MobileNodeConfig) -> None:
        self._wishes: list[_Wish] = []
        if isinstance(config.ipv4_home_address, IPv4Address):
            self._wishes.append(_Wish(_HOST, IPv4Network(config.ipv4_home_address)))
        elif config.ipv4_home_address == "dynamic":
            self._wishes.append(_Wish(_HOST))
        self._wishes += [_Wish(prefix.prefixlen, prefix) for prefix in config.ipv4_prefixes]
        if config.ipv4_prefix_request:
            self._wishes.append(_Wish(config.ipv4_prefix_request))
        self._supported = True
        self.refusals: tuple[int, ...] = ()

    def options(self) -> tuple[IPv4HomeAddress, ...]:
        """The IPv4 Home Address options of the next Binding Update (RFC 5555 section 4.4.2).

        A granted dynamic address or prefix is asked for by name, so that it stays the same.
        """
        if not self._supported:
            return ()
        return tuple(wish.option() for wish in self._wishes)

    @property
    def grants(self) -> tuple[IPv4Grant, ...]:
        """What the home agent granted."""
        return tuple(
            IPv4Grant.of(wish.granted, dynamic=wish.static is None)
            for wish in self._wishes
            if wish.granted is not None
        )

    def answered(
        self, asked: tuple[IPv4HomeAddress, ...], acknowledgements: tuple[IPv4AddressAcknowledgement, ...]
    ) -> bool:
        """Take in the acknowledgement options of an accepted Binding Update that carried `asked`.

        True when asking again at once is worth it: an address allotted earlier is gone, a new one may be had.
        """
        self.refusals = ()
        if not asked:
            return False
        if not acknowledgements:
            # The home agent does not know RFC 5555: do not ask it again (section 2.3.1).
            self._supported = False
            self._withdraw()
            return False
        left = list(acknowledgements)
        refusals: list[int] = []
        ask_again = False
        for wish, option in zip(self._wishes, asked, strict=False):
            answer = _answer_to(option, left)
            if answer is not None:
                left.remove(answer)
            network = _granted_network(answer)
            if network is None:
                refusals.append(answer.status if answer is not None else _REFUSED)
                ask_again = ask_again or (wish.static is None and option.address != _UNSPECIFIED)
            wish.granted = network
        self.refusals = tuple(refusals)
        return ask_again

    def start_over(self) -> None:
        """After a de-registration the home agent may be asked for everything again."""
        self._supported = True

    def _withdraw(self) -> None:
        for wish in self._wishes:
            wish.granted = None


def _answer_to(
    option: IPv4HomeAddress, acknowledgements: list[IPv4AddressAcknowledgement]
) -> IPv4AddressAcknowledgement | None:
    """The acknowledgement of one option: a grant of the kind asked for, else the one with its address."""
    if option.address == _UNSPECIFIED:
        for answer in acknowledgements:
            if answer.status < _REFUSED and (answer.prefix_length == _HOST) == (
                option.prefix_length == _HOST
            ):
                return answer
    for answer in acknowledgements:
        if answer.address == option.address:
            return answer
    return None


def _granted_network(answer: IPv4AddressAcknowledgement | None) -> IPv4Network | None:
    """The network granted; its prefix length overrides the one asked for (RFC 5555 section 3.2.1)."""
    if answer is None or answer.status >= _REFUSED or answer.address == _UNSPECIFIED:
        return None
    if not 0 < answer.prefix_length <= _HOST:
        return None
    return IPv4Network((answer.address, answer.prefix_length), strict=False)
