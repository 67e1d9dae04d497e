"""Opens what `[metrics]` and `[web]` ask for, for as long as the daemon serves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from dsmip.daemon.config import HomeAgentFile, MobileNodeFile
from dsmip.daemon.home_agent_questions import HomeAgentQuestions
from dsmip.daemon.http import Answer, HttpServer, Request, Response
from dsmip.daemon.mobile_node_questions import MobileNodeQuestions
from dsmip.daemon.runtime import Runtime
from dsmip.daemon.web_token import token_of
from dsmip.dataplane.api import DataPlaneError


@asynccontextmanager
async def watched(
    config: HomeAgentFile | MobileNodeFile,
    runtime: Runtime,
    questions: HomeAgentQuestions | MobileNodeQuestions,
) -> AsyncIterator[None]:
    """Serve what is configured. What cannot be served is told, and packets flow all the same."""
    servers: list[HttpServer] = []
    try:
        for what, make in (("metrics", _metrics), ("web", _web)):
            try:
                server = make(config, runtime, questions)
                if server is not None:
                    await server.start()
                    servers.append(server)
            except (_NotWatchedError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                runtime.events.event("not-watched", {"what": what, "error": reason})
        yield
    finally:
        for server in servers:
            await server.stop()


class _NotWatchedError(RuntimeError):
    """Something that is configured cannot be served; the message says why and the mend."""


def _metrics(
    config: HomeAgentFile | MobileNodeFile,
    runtime: Runtime,
    questions: HomeAgentQuestions | MobileNodeQuestions,
) -> HttpServer | None:
    table = config.metrics
    if table is None:
        return None
    try:
        from dsmip.daemon.metrics import HomeAgentMetrics, MobileNodeMetrics
    except ModuleNotFoundError as error:
        raise _NotWatchedError(
            f"the Python package {error.name} is missing: apt install python3-prometheus-client,"
            " or pip install prometheus-client"
        ) from error
    if isinstance(questions, HomeAgentQuestions):
        answer = HomeAgentMetrics(runtime, questions, per_mobile_node=table.per_mobile_node).answer
    else:
        answer = MobileNodeMetrics(runtime, questions).answer
    return HttpServer(table.listen.place, _guarded(_routed("/metrics", answer)), table.hosts)


def _web(
    config: HomeAgentFile | MobileNodeFile,
    runtime: Runtime,
    questions: HomeAgentQuestions | MobileNodeQuestions,
) -> HttpServer | None:
    if not isinstance(config, HomeAgentFile) or config.web is None:
        return None
    assert isinstance(questions, HomeAgentQuestions)
    from dsmip.daemon.web import WebPage

    page = WebPage(questions, runtime.events, token_of(config.web, runtime.state_directory))
    return HttpServer(config.web.listen.place, _guarded(page.answer), config.web.hosts)


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
