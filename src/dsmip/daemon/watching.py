"""Opens what `[metrics]` and `[web]` ask for, for as long as the daemon serves."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from dsmip.daemon.config import HomeAgentFile, MobileNodeFile
from dsmip.daemon.home_agent_questions import HomeAgentQuestions
from dsmip.daemon.http import Answer, HttpServer, Request, Response
from dsmip.daemon.mobile_node_questions import MobileNodeQuestions
from dsmip.daemon.runtime import Runtime, StartError
from dsmip.daemon.web_token import token_of
from dsmip.dataplane.api import DataPlaneError

log = logging.getLogger(__name__)


@asynccontextmanager
async def watched(
    config: HomeAgentFile | MobileNodeFile,
    runtime: Runtime,
    questions: HomeAgentQuestions | MobileNodeQuestions,
) -> AsyncIterator[None]:
    """Serve what is configured. Raises StartError when a package or an address is missing."""
    servers: list[HttpServer] = []
    try:
        if config.metrics is not None:
            place = config.metrics.listen.place
            answer = _guarded(_routed("/metrics", _metrics(config, runtime, questions)))
            servers.append(await _opened("metrics", HttpServer(place, answer, config.metrics.hosts)))
            log.info("metrics at http://%s/metrics", place.host)
        if isinstance(config, HomeAgentFile) and config.web is not None:
            assert isinstance(questions, HomeAgentQuestions)
            from dsmip.daemon.web import WebPage

            place = config.web.listen.place
            token = token_of(config.web, runtime.state_directory)
            page = WebPage(questions, runtime.events, token)
            servers.append(await _opened("web", HttpServer(place, _guarded(page.answer), config.web.hosts)))
            log.info("status page at http://%s/; `dsmip web` prints the address with its token", place.host)
        yield
    finally:
        for server in servers:
            await server.stop()


def _metrics(
    config: HomeAgentFile | MobileNodeFile,
    runtime: Runtime,
    questions: HomeAgentQuestions | MobileNodeQuestions,
) -> Answer:
    try:
        from dsmip.daemon.metrics import HomeAgentMetrics, MobileNodeMetrics
    except ModuleNotFoundError as error:
        raise StartError(
            f"[metrics] needs the Python package {error.name}: apt install python3-prometheus-client,"
            " or pip install prometheus-client"
        ) from error
    if isinstance(questions, HomeAgentQuestions):
        per_mobile_node = config.metrics is not None and config.metrics.per_mobile_node
        return HomeAgentMetrics(runtime, questions, per_mobile_node=per_mobile_node).answer
    return MobileNodeMetrics(runtime, questions).answer


def _guarded(answer: Answer) -> Answer:
    """The kernel may refuse to tell a counter: that is no reason to end a daemon."""

    async def guarded(request: Request) -> Response:
        try:
            return await answer(request)
        except DataPlaneError as error:
            return Response(f"{error}\n".encode(), status=HTTPStatus.SERVICE_UNAVAILABLE)

    return guarded


def _routed(path: str, answer: Answer) -> Answer:
    async def only_there(request: Request) -> Response:
        if request.path != path:
            return Response(f"look at {path}\n".encode(), status=HTTPStatus.NOT_FOUND)
        return await answer(request)

    return only_there


async def _opened(what: str, server: HttpServer) -> HttpServer:
    try:
        await server.start()
    except OSError as error:
        raise StartError(f"{what}.listen: {error.strerror or error}") from error
    return server
