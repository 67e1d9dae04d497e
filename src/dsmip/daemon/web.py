"""The status page of a home agent: one static page, and the data it asks for.

The page itself is the same for everybody and tells nothing; whatever it shows it asks for with the token, in
the Authorization header, so that no foreign page can ask in its place.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from importlib import resources
from typing import Any

from dsmip.daemon.control_server import Refusal
from dsmip.daemon.events import EventLog
from dsmip.daemon.home_agent.questions import HomeAgentQuestions
from dsmip.daemon.http import Request, Response

#: Bindings shown at once; the filter finds the others.
_ROWS = 200
_JSON = "application/json"


class WebPage:
    """Answers the requests of the page. It changes nothing."""

    def __init__(self, questions: HomeAgentQuestions, events: EventLog, token: str) -> None:
        self._questions = questions
        self._events = events
        self._token = token.encode()
        page = resources.files("dsmip.daemon").joinpath("web.html").read_text(encoding="utf-8")
        self._page = Response(
            page.encode(), "text/html; charset=utf-8", headers={"Content-Security-Policy": policy(page)}
        )

    async def answer(self, request: Request) -> Response:
        """Everything there is: `/`, `/api/state`, `/api/explain`."""
        if request.path == "/":
            return self._page
        if not request.path.startswith("/api/"):
            return _refused(HTTPStatus.NOT_FOUND, "there is one page: /")
        if not self._authorized(request):
            self._events.drop("web-token", f"from {request.peer}")
            return _refused(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong")
        try:
            match request.path:
                case "/api/state":
                    return _json(self._state(request.query))
                case "/api/explain":
                    return _json(self._questions.explain(request.query.get("node", "")))
                case _:
                    return _refused(HTTPStatus.NOT_FOUND, "no such question")
        except Refusal as error:
            return _refused(HTTPStatus.NOT_FOUND, str(error))

    def _authorized(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        # In constant time, whatever is compared.
        right = hmac.compare_digest(token.strip().encode("utf-8", "replace"), self._token)
        return right and scheme.lower() == "bearer"

    def _state(self, query: Mapping[str, str]) -> dict[str, Any]:
        """What is now, and the turns after the first `after`."""
        journal = self._events.journal
        after = query.get("after", "0")
        return {
            "status": self._questions.status(),
            "bindings": self._questions.bindings(query.get("filter", ""), _ROWS),
            "most": _ROWS,
            "stats": self._questions.stats(),
            "now": time.time(),
            "turns": journal.turns,
            "events": journal.since(int(after) if after.isdecimal() else 0),
        }


def policy(page: str) -> str:
    """A Content Security Policy under which nothing but the page's own script and style count."""
    script, style = (
        " ".join(
            f"'sha256-{_digest(part)}'" for part in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        )
        for tag in ("script", "style")
    )
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _digest(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _json(answer: Any) -> Response:
    return Response(json.dumps(answer).encode(), _JSON)


def _refused(status: HTTPStatus, reason: str) -> Response:
    return Response(json.dumps({"error": reason}).encode(), _JSON, status)
