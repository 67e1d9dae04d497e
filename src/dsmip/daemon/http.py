"""A small HTTP server for metrics and the status page: GET and HEAD, nothing more.

Deliberately less than a web server: no request bodies, no keep-alive, no files. One request a connection,
bounded in size, time and number, and a Host header that a foreign web page cannot have made a browser send
(DNS rebinding): an IP address, localhost, or a name that was configured.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

#: Octets of a request line with all headers.
MAX_HEAD = 8192
#: Connections at once.
MAX_CONNECTIONS = 64
#: Seconds for a request to arrive, and for a client to take what it is sent.
PATIENCE = 10.0

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.[01]")
_HEADER = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*?)[ \t]*")

_SAFE_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

log = logging.getLogger(__name__)


class Listen(NamedTuple):
    """An address and port to listen on."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int

    @property
    def is_local(self) -> bool:
        """Only programs of this machine get there."""
        return self.address.is_loopback

    @property
    def host(self) -> str:
        """As in a URL."""
        text = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{text}:{self.port}"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. Header names are in lower case."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    peer: str


@dataclass(frozen=True, slots=True)
class Response:
    """An answer."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[Request], Awaitable[Response]]


class BadRequest(Exception):
    """Not to be answered but with this status."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class HttpServer:
    """Listens on one address; `answer` gets every request that is in order."""

    def __init__(self, listen: Listen, answer: Answer, hosts: Collection[str] = ()) -> None:
        self.listen = listen
        self._answer = answer
        self._hosts = frozenset(name.lower() for name in hosts)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises OSError when the address cannot be had."""
        self._server = await asyncio.start_server(
            self._accept, str(self.listen.address), self.listen.port, limit=MAX_HEAD
        )

    def answer_as(self, other: HttpServer) -> None:
        """Give the answers of another server from now on, without closing the door."""
        self._answer, self._hosts = other._answer, other._hosts

    @property
    def port(self) -> int:
        """The port, also if the kernel chose it."""
        if self._server is None:
            return self.listen.port
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and end what is under way."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=1 << 16)
        peer = writer.get_extra_info("peername")
        try:
            method = b"GET"
            try:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
                method, request = parse_head(head, str(peer[0]) if peer else "")
                self._check(method, request)
                response = await self._answer(request)
            except asyncio.LimitOverrunError:
                response = _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            except BadRequest as error:
                response = _refusal(error.status)
            await _send(writer, response, only_head=method == b"HEAD")
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass  # the client went away, or is too slow to be waited for
        finally:
            writer.close()

    def _check(self, method: bytes, request: Request) -> None:
        if method not in (b"GET", b"HEAD"):
            raise BadRequest(HTTPStatus.METHOD_NOT_ALLOWED)
        if "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0":
            raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if not host_is_ours(request.headers.get("host", ""), self._hosts):
            raise BadRequest(HTTPStatus.MISDIRECTED_REQUEST)


def parse_head(head: bytes, peer: str) -> tuple[bytes, Request]:
    """Method and request. Raises BadRequest for what is not plain HTTP/1."""
    first, *lines = head[:-4].split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        name = found[1].decode("ascii").lower()
        if name in headers and name in ("host", "content-length", "authorization"):
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        headers[name] = found[2].decode("latin-1")
    # A path that begins with two slashes would be taken for the name of a host.
    try:
        target = urlsplit("http://x" + match[2].decode("ascii"))
        query = dict(parse_qsl(target.query, max_num_fields=16))
    except ValueError as error:
        raise BadRequest(HTTPStatus.BAD_REQUEST) from error
    return match[1], Request(unquote(target.path), query, headers, peer)


def host_is_ours(header: str, names: Collection[str]) -> bool:
    """Whether a Host header could not have come about by a foreign name that was made to point here."""
    host = header.strip().lower()
    name, separator, port = host.rpartition(":")
    if not separator or host.endswith("]"):
        name, port = host, ""
    if port and not port.isdecimal():
        return False
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return True


def _refusal(status: HTTPStatus) -> Response:
    return Response(f"{status.value} {status.phrase}\n".encode(), status=status)


async def _send(writer: asyncio.StreamWriter, response: Response, *, only_head: bool) -> None:
    headers = {
        **_SAFE_HEADERS,
        **response.headers,
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {response.status.value} {response.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    if not only_head:
        writer.write(response.body)
    await asyncio.wait_for(writer.drain(), PATIENCE)
