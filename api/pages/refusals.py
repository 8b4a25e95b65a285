"""Refusals and faults as pages: what happened, and what to do, in words.

The same problem documents as the API's (api/problems.py). A client that does not ask for HTML, such
as a script of a page, gets the document itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from quart import Response, request
from werkzeug.exceptions import HTTPException

from api.pages.contract import ContractRefused
from api.pages.guard import HEADERS
from api.pages.rendering import HTML, render, render_refusal
from api.problems import PROBLEM_MEDIA_TYPE, problem_for
from api.traces import current_trace_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hypercorn.typing import HTTPScope
    from quart_trio import QuartTrio

    from api.problems import Encoded, Problem


_KEPT: Final = ("retry-after",)  # of the headers of an answer of the API


class RefusalsOfPages:
    """Encodes what the frame refuses before the pages see it: a page for a browser's page.

    `is_of_api` says which paths are no pages.
    """

    def __init__(self, is_of_api: Callable[[str], bool]) -> None:
        self._is_of_api = is_of_api

    def __call__(self, scope: HTTPScope, problem: Problem, trace_id: str) -> Encoded:
        """Return status, headers and body."""
        status, headers, body = problem.encoded(trace_id)
        if self._is_of_api(scope["path"]):
            return status, headers, body
        if _accepts_html(scope["headers"]):
            body = render_refusal(scope["path"], problem.document(trace_id))
            headers["Content-Type"] = HTML
        return status, {**headers, **HEADERS}, body


def _accepts_html(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"accept" and b"text/html" in value for name, value in headers)


def install_refusals(app: QuartTrio) -> None:
    """Make every error of the pages' handlers a page that explains it."""

    async def answer(error: Exception) -> Response:
        status, headers, problem = _describe(error)
        if "text/html" in request.headers.get("Accept", ""):
            response = await render("refusal.html", {"problem": problem}, status)
        else:
            body = orjson.dumps(problem, default=str)
            response = Response(body, status, content_type=PROBLEM_MEDIA_TYPE)
        response.headers.update(headers)
        return response

    app.register_error_handler(HTTPException, answer)
    app.register_error_handler(Exception, answer)


def _describe(error: Exception) -> tuple[int, Mapping[str, str], Mapping[str, Any]]:
    """Return status, further headers, and the problem document."""
    if isinstance(error, ContractRefused):
        kept = {name: error.headers[name] for name in _KEPT if name in error.headers}
        return error.status, kept, error.problem
    problem = problem_for(error)
    status, headers, _ = problem.encoded(None)
    del headers["Content-Type"]
    return status, headers, problem.document(current_trace_id())
