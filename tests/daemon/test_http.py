"""The small HTTP server: what it takes, and all it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from ipaddress import IPv4Address
from typing import Any

import pytest

from dsmip.daemon import http
from dsmip.daemon.http import HttpServer, Listen, Request, Response, host_is_ours

GOOD = b"GET /path?a=b%20c HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


async def answer(request: Request) -> Response:
    return Response(f"{request.path} {dict(request.query)}".encode())


def serve(scene: Callable[[HttpServer], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        server = HttpServer(Listen(IPv4Address("127.0.0.1"), 0), answer, ["ha.example.org"])
        await server.start()
        try:
            return await scene(server)
        finally:
            await server.stop()

    return asyncio.run(run())


async def send(server: HttpServer, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    await writer.drain()
    try:
        return await reader.read()
    finally:
        writer.close()


def exchange(request: bytes) -> bytes:
    return bytes(serve(lambda server: send(server, request)))


def test_a_request_is_answered_and_the_connection_ends() -> None:
    head, _, body = exchange(GOOD).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"X-Content-Type-Options: nosniff" in head
    assert b"Cache-Control: no-store" in head
    assert body == b"/path {'a': 'b c'}"


def test_head_has_no_body() -> None:
    head, _, body = exchange(GOOD.replace(b"GET", b"HEAD")).partition(b"\r\n\r\n")
    assert b"Content-Length: 18" in head
    assert body == b""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 413),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n folded: yes\r\n\r\n", 400),
        (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/2\r\nHost: localhost\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_not_in_order_is_refused(request_: bytes, status: int) -> None:
    assert exchange(request_).startswith(b"HTTP/1.1 %d " % status)


def test_too_many_parameters_are_refused() -> None:
    query = b"&".join(b"a=%d" % number for number in range(40))
    request = b"GET /?" + query + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert exchange(request).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8418",
        "[::1]",
        "[::1]:8418",
        "localhost:8418",
        "HA.example.org",
        "192.0.2.1:80",
    ],
)
def test_hosts_that_no_foreign_name_can_have_pointed_here(host: str) -> None:
    assert host_is_ours(host, {"ha.example.org"})


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8418", "localhost.evil.example", "127.0.0.1:x", "[::1"]
)
def test_hosts_that_a_foreign_name_may_have_made(host: str) -> None:
    assert not host_is_ours(host, {"ha.example.org"})


def test_a_client_that_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PATIENCE", 0.1)
    assert exchange(b"GET / HT") == b""


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 2)

    async def scene(server: HttpServer) -> tuple[bytes, bytes]:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        await asyncio.sleep(0.05)
        try:
            refused = await send(server, GOOD)
        except ConnectionError:
            refused = b""
        for _, writer in idle:
            writer.close()
        await asyncio.sleep(0.05)
        return refused, await send(server, GOOD)

    refused, served = serve(scene)
    assert refused == b""
    assert served.startswith(b"HTTP/1.1 200 ")
