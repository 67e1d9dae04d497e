"""Where a Redis server is: at an address, or wherever its sentinels say that the master is now.

"redis+sentinel://[user:password@]host[:port][,host[:port]...]/service[/number]" names the sentinels and what
they call the server; user and password are the server's. Each new connection asks them, so a fail-over is
followed.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

SENTINELS = "redis+sentinel://"
_SENTINEL_PORT = 26379


def client(url: str, timeout: float, sentinel_timeout: float) -> Redis:
    """Connects when asked first. Timeouts are in seconds: of the server, and of each sentinel that is asked.

    Raises ValueError for a URL that is none.
    """
    if url.startswith(SENTINELS):
        return _by_sentinels(url.removeprefix(SENTINELS), _patience(timeout), _patience(sentinel_timeout))
    return Redis.from_url(url, **_patience(timeout))


def without_password(url: str) -> str:
    """What may be shown of the address."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _by_sentinels(rest: str, server: dict[str, Any], sentinel: dict[str, Any]) -> Redis:
    credentials, _, place = rest.rpartition("@")
    hosts, _, path = place.partition("/")
    service, _, number = path.partition("/")
    if not service:
        raise ValueError(f'no name of what the sentinels watch: write "{SENTINELS}host,host/service"')
    user, _, password = credentials.partition(":")
    if password:
        server |= {"username": unquote(user) or None, "password": unquote(password)}
    places = [_host(host) for host in hosts.split(",")]
    sentinels = Sentinel(places, sentinel_kwargs=sentinel)  # type: ignore[no-untyped-call]
    found: Redis = sentinels.master_for(service, db=int(number or 0), **server)  # type: ignore[no-untyped-call]
    return found


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"not the address of a sentinel: {text!r}")
    return parts.hostname, parts.port or _SENTINEL_PORT


def _patience(timeout: float) -> dict[str, Any]:
    """Nothing is tried again here: whoever asks has better to do."""
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
    }
