"""`[metrics]` and `[web]`: what a daemon serves over HTTP to those who watch it. Both are off by default."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

import msgspec

from dsmip.daemon.config.problems import Problems
from dsmip.daemon.http import Listen

#: A token of 128 random bits has 32 hexadecimal digits; anything much shorter can be guessed.
MIN_TOKEN = 16

HostName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]


class ListenAddress:
    """An address and port: "127.0.0.1:9418" or "[::1]:9418". Raises ValueError.

    A plain class, since msgspec would take a named tuple for an array.
    """

    def __init__(self, text: str) -> None:
        host, separator, port = text.rpartition(":")
        if not separator or not port.isdecimal() or not 1 <= int(port) <= 65535:
            raise ValueError('expected an address and port like "127.0.0.1:9418" or "[::1]:9418"')
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        address = ip_address(bare)
        if (address.version == 6) != (bare != host) or "%" in bare:
            raise ValueError('an IPv6 address stands in brackets: "[::1]:9418"')
        self.place = Listen(address, int(port))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListenAddress) and self.place == other.place

    def __hash__(self) -> int:
        return hash(self.place)

    def __repr__(self) -> str:
        return f"ListenAddress({self.place.host!r})"


class MetricsTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`[metrics]`: counters for Prometheus at /metrics."""

    listen: ListenAddress
    per_mobile_node: bool = False
    allow_remote: bool = False
    hosts: tuple[HostName, ...] = ()


class WebTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`[web]` of a home agent: a page that shows bindings and handovers as they happen."""

    listen: ListenAddress
    token: str | None = None
    allow_remote: bool = False
    hosts: tuple[HostName, ...] = ()


def check(metrics: MetricsTable | None, web: WebTable | None, problems: Problems) -> None:
    """Nothing is open to the network unless that is said twice."""
    for key, table in (("metrics", metrics), ("web", web)):
        if table is not None and not table.listen.place.is_local and not table.allow_remote:
            problems.add(
                f"{key}.listen",
                f"{table.listen.place.host} can be reached from elsewhere, over plain HTTP; use 127.0.0.1"
                " or [::1] and a tunnel or proxy, or also set allow_remote = true",
            )
    if web is not None and web.token is not None and len(web.token) < MIN_TOKEN:
        problems.add(
            "web.token", f"is too short: {len(web.token)} characters, at least {MIN_TOKEN} are needed"
        )
    if metrics is not None and web is not None and metrics.listen.place == web.listen.place:
        problems.add("web.listen", f"{web.listen.place.host} is already that of metrics")
