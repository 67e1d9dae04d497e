"""The first configuration of a home agent, made from three answers."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from dsmip.core.types import DSMIP_PORT

#: A home prefix, and what each vehicle gets for its network.
_SUBNET = 64


class UnfitError(ValueError):
    """An answer that makes no working home agent. The message says why, and the mend."""


@dataclass(frozen=True, slots=True)
class FirstConfig:
    """What a home agent needs to begin with.

    `prefix` and `ipv4_network` are routed to it; the first /64 of the prefix becomes the home prefix, the
    others go to vehicles, one each. `ipv4_prefixes` are for the networks in vehicles.
    """

    uplink: str
    address: IPv6Address
    prefix: IPv6Network
    ipv4_address: IPv4Address | None = None
    ipv4_network: IPv4Network | None = None
    ipv4_prefixes: IPv4Network | None = None
    name: str = "home-agent"

    def check(self) -> None:
        """Raises UnfitError."""
        if self.prefix.prefixlen > _SUBNET:
            raise UnfitError(f"{self.prefix} is too small: a home prefix is a /{_SUBNET} or larger")
        if self.address in self.prefix:
            raise UnfitError(
                f"{self.prefix} has this machine's own address {self.address} in it: needed is a prefix"
                " that is routed to this machine, not the one of the link it is on"
            )
        if self.ipv4_network is None and self.ipv4_prefixes is None:
            return
        if self.ipv4_address is None:
            raise UnfitError(f"{self.uplink} has no IPv4 address: name one to serve IPv4")
        for network in (self.ipv4_network, self.ipv4_prefixes):
            if network is not None and self.ipv4_address in network:
                raise UnfitError(f"{network} has this machine's own address {self.ipv4_address} in it")

    def text(self) -> str:
        """The configuration file."""
        home_prefix = next(self.prefix.subnets(new_prefix=_SUBNET))
        ipv4 = self.ipv4_address is not None
        lines = [
            "# A home agent, as 'dsmip init' wrote it. After a change: 'dsmip check FILE', 'dsmip reload'.",
            'role = "home-agent"',
            f'name = "{self.name}"',
            "",
            "# Where mobile nodes reach this machine: its own fixed addresses, the interface they are on.",
            f"# A firewall lets in UDP port {DSMIP_PORT}, IP protocols 4 and 41, and IPv6 next header 135.",
            f'address = "{self.address}"',
            *([f'ipv4_address = "{self.ipv4_address}"'] if ipv4 else []),
            f'uplinks = ["{self.uplink}"]',
            "",
            "# Home addresses are out of these. They have to be routed to this machine, as have the pools.",
            f'home_prefixes = ["{home_prefix}"]',
            *([f'ipv4_home_prefixes = ["{self.ipv4_network}"]'] if self.ipv4_network else []),
            "",
            "# What 'dsmip provision add' gives to vehicles.",
            "[pools]",
            f'home_addresses = ["{home_prefix}"]',
        ]
        if self.prefix.prefixlen < _SUBNET:
            lines += [
                "# One prefix of this length for each network in a vehicle; the home prefix is left out.",
                f'mobile_network_prefixes = ["{self.prefix}"]',
                f"mobile_network_prefix_length = {_SUBNET}",
            ]
        if self.ipv4_network is not None:
            lines.append(f'ipv4_home_addresses = ["{self.ipv4_network}"]')
        if self.ipv4_prefixes is not None:
            lines += [f'ipv4_prefixes = ["{self.ipv4_prefixes}"]', "ipv4_prefix_length = 28"]
        return "\n".join(lines) + "\n"
