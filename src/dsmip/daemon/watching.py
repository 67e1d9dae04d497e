"""Opens what `[metrics]` and `[web]` ask for, for as long as the daemon serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from dsmip.daemon.config.problems import ConfigError, Problem
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeFile
from dsmip.daemon.home_agent.questions import HomeAgentQuestions
from dsmip.daemon.http import Answer, HttpServer, Request, Response
from dsmip.daemon.mobile_node.questions import MobileNodeQuestions
from dsmip.daemon.runtime import Runtime
from dsmip.daemon.web_token import token_of
from dsmip.dataplane.api import DataPlaneError


class Watching:
    """The servers of `[metrics]` and `[web]`. For the event loop's thread."""

    def __init__(self, runtime: Runtime, questions: HomeAgentQuestions | MobileNodeQuestions) -> None:
        self._runtime = runtime
        self._questions = questions
        self._servers: dict[str, HttpServer] = {}
        self._wanted: dict[str, object] = {}
        self._busy = asyncio.Lock()

    @asynccontextmanager
    async def serving(self, config: HomeAgentFile | MobileNodeFile) -> AsyncIterator[None]:
        """Serve what is configured. What cannot be served is told, and packets flow all the same."""
        async with self._busy:
            for what, make in _SERVICES.items():
                self._wanted[what] = _table(config, what)
                try:
                    server = make(config, self._runtime, self._questions)
                    if server is not None:
                        await server.start()
                        self._servers[what] = server
                except (_NotWatchedError, OSError) as error:
                    fields = {"what": what, "error": _reason(error)}
                    self._runtime.events.event("not-watched", fields)
        try:
            yield
        finally:
            async with self._busy:
                for server in self._servers.values():
                    await server.stop()
                self._servers.clear()

    async def change(self, config: HomeAgentFile | MobileNodeFile, path: Path) -> None:
        """Serve what this configuration wants instead; what is the same goes on.

        Raises ConfigError when something cannot be served, and everything is as before.
        """
        async with self._busy:
            changed = [what for what in _SERVICES if self._wanted.get(what) != _table(config, what)]
            made: dict[str, HttpServer] = {}
            try:
                for what in changed:
                    server = _SERVICES[what](config, self._runtime, self._questions)
                    if server is not None:
                        made[what] = server
                        known = self._servers.get(what)
                        if known is None or known.listen != server.listen:
                            await server.start()
            except (_NotWatchedError, OSError) as error:
                for server in made.values():
                    await server.stop()
                raise ConfigError(path, [Problem(f"{what}.listen", None, _reason(error))]) from error
            for what in changed:
                self._wanted[what] = _table(config, what)
                before = self._servers.pop(what, None)
                if what in made and before is not None and before.listen == made[what].listen:
                    before.answer_as(made[what])
                    made[what] = before
                elif before is not None:
                    await before.stop()
                if what in made:
                    self._servers[what] = made[what]


class _NotWatchedError(RuntimeError):
    """Something that is configured cannot be served; the message says why and the mend."""


_Make = Callable[
    [HomeAgentFile | MobileNodeFile, Runtime, HomeAgentQuestions | MobileNodeQuestions], HttpServer | None
]


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


_SERVICES: dict[str, _Make] = {"metrics": _metrics, "web": _web}


def _table(config: HomeAgentFile | MobileNodeFile, what: str) -> object:
    return getattr(config, what, None)


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


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
