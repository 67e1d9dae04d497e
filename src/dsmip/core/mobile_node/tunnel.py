"""The mobile node's end of the tunnel: which path the data plane has now, and for which inner networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network

from msgspec.structs import replace

from dsmip.core.actions import Action, HomeAddressesChanged, InstallPath, RemovePath
from dsmip.core.mobile_node.choice import find, same_place
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.path_mtu import PathSizes
from dsmip.core.network_memory import NetworkMemory
from dsmip.core.types import (
    DSMIP_PORT,
    CareOfAddress,
    Instant,
    IPAddress,
    IPNetwork,
    IPv4Grant,
    Path,
    TunnelFormat,
)
from dsmip.wire.pathprobe import ProbePayload

_UDP_FORMATS = (TunnelFormat.UDP4, TunnelFormat.UDP6)


class InnerNetworks:
    """The address ranges whose packets travel through the tunnel, over whichever path."""

    def __init__(self, config: MobileNodeConfig, emit: Callable[[Action], None]) -> None:
        self._emit = emit
        self._home: tuple[IPNetwork, ...] = (IPv6Network(config.home_address),)
        self._prefixes = config.prefixes if config.mobile_router else ()
        self._grants: tuple[IPv4Network, ...] = ()

    @property
    def all(self) -> tuple[IPNetwork, ...]:
        """Home addresses, mobile network prefixes, granted IPv4 home addresses and prefixes."""
        return (*self._home, *self._prefixes, *self._grants)

    def use_home_addresses(
        self, home_address: IPv6Address, other: IPv6Address | None, *, tell: bool = True
    ) -> None:
        """The home address, and another one beside it for the time of a renumbering. `tell` False: whoever
        has to know knows."""
        hosts = (home_address,) if other is None else (home_address, other)
        self._home = tuple(map(IPv6Network, hosts))
        if tell:
            self._emit(HomeAddressesChanged(self.all))

    def grant(self, grants: tuple[IPv4Grant, ...]) -> None:
        """Adopt what the home agent granted (RFC 5555 section 4.4.2). To be called before `Tunnel.use`."""
        networks = tuple(grant.network for grant in grants)
        if networks == self._grants:
            return
        self._grants = networks
        self._emit(HomeAddressesChanged(self.all))


class Tunnel:
    """One path: decides when the data plane must hear of a change, and says so through `emit`.

    `config` may be replaced by one that differs in home agent and home address. `bid` is the binding
    identifier of the path, 0 = the plain binding.
    """

    def __init__(
        self,
        config: MobileNodeConfig,
        networks: InnerNetworks,
        emit: Callable[[Action], None],
        memory: NetworkMemory,
        bid: int = 0,
    ) -> None:
        self.config = config
        self._networks = networks
        self._emit = emit
        self.bid = bid
        self._sizes = PathSizes(memory)
        self._installed: tuple[IPNetwork, ...] = ()
        self._confirmed = False
        self._down = False
        self.path: Path | None = None
        self.care_of: CareOfAddress | None = None

    def works(self, attached: Iterable[CareOfAddress]) -> bool:
        """True when the path in use was acknowledged and its care-of address is still there."""
        return self._confirmed and self.care_of is not None and find(self.care_of, attached) is not None

    def uses(self, care_of: CareOfAddress) -> bool:
        """True when the path in use is over this care-of address."""
        return self.care_of is not None and same_place(self.care_of, care_of)

    def use(self, care_of: CareOfAddress, tunnel_format: TunnelFormat, *, confirmed: bool) -> None:
        """Send over this care-of address from now on. `confirmed`: the home agent acknowledged it."""
        path = self._path(care_of, tunnel_format)
        self._confirmed = confirmed
        self.care_of = care_of
        networks = self._networks.all
        if path == self.path and networks == self._installed:
            return
        self.path, self._installed, self._down = path, networks, False
        self._emit(InstallPath(path, care_of, networks, self.config.grace, self.bid))

    def relocate(self, care_of: CareOfAddress) -> None:
        """The router or the interface settings of the care-of address in use changed."""
        if self.path is not None and self.uses(care_of):
            self.use(care_of, self.path.format, confirmed=self._confirmed)

    def doubt(self) -> None:
        """The home agent does not answer over this path any more: replace it at the first opportunity."""
        self._confirmed = False
        self._sizes.stop()

    def remove(self, reason: str) -> None:
        """Send nothing until there is a path again."""
        if not self._down:
            self._emit(RemovePath(reason, self.bid))
        self.forget()
        self._down = True

    def forget(self) -> None:
        """There is no tunnel on the home link."""
        self.path = None
        self.care_of = None
        self._confirmed = False
        self._installed = ()
        self._down = False
        self._sizes.stop()

    # Sizes ------------------------------------------------------------------------------------------------

    @property
    def due(self) -> float | None:
        """When `tick` has something to do, in CLOCK_MONOTONIC seconds."""
        return self._sizes.due

    def confirm_mtu(self, round_trip: float, now: Instant) -> None:
        """The path in use was registered, which took `round_trip` seconds: how large may packets be?"""
        self._sizes.confirm(round_trip, now)
        self.tick(now)

    def tick(self, now: Instant) -> None:
        """Send the probes that are due, and use the MTU that is found."""
        if self.path is None or self.care_of is None:
            return
        for probe in self._sizes.probes(self.config, self.path, self.care_of.interface, self.bid, now):
            self._emit(probe)
        self._resize()

    def size_answered(self, payload: ProbePayload, length: int, now: Instant) -> None:
        """A padded probe came back, an echo with `length` octets of data."""
        self._sizes.answered(payload, length, now)
        self._resize()

    def told_too_big(self, local: bytes, remote: bytes, limit: int, now: Instant) -> None:
        """A router dropped a packet between these addresses, as the next link takes `limit` octets."""
        path = self.path
        if path is not None and (path.local.packed, path.remote.packed) == (local, remote):
            self._sizes.told(limit, now)

    def _resize(self) -> None:
        if self.path is None or self.care_of is None or self.path.mtu == self._sizes.found:
            return
        self.path = replace(self.path, mtu=self._sizes.found)
        self._emit(InstallPath(self.path, self.care_of, self._installed, self.config.grace, self.bid))

    def _path(self, care_of: CareOfAddress, tunnel_format: TunnelFormat) -> Path:
        config = self.config
        over_ipv6 = tunnel_format in (TunnelFormat.IPV6, TunnelFormat.UDP6, TunnelFormat.LINK)
        remote: IPAddress | None = config.home_agent if over_ipv6 else config.home_agent_ipv4
        if remote is None:
            raise ValueError("an IPv4 tunnel needs a home agent with an IPv4 address")
        udp = tunnel_format in _UDP_FORMATS
        return Path(
            format=tunnel_format,
            local=care_of.address,
            remote=remote,
            local_port=config.udp_port if udp else 0,
            remote_port=DSMIP_PORT if udp else 0,
            interface=care_of.ifindex,
            next_hop=care_of.gateway,
            mtu=self._sizes.mtu(config, care_of, tunnel_format),
        )
