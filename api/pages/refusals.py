"""Refusals and faults as pages: what happened, and what to do, in words.

The same problem documents as the API's (api/problems.py). A client that does not ask for HTML, such
as a script of a page, gets the document itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from quart import Response, request
from werkzeug.exceptions import HTTPException

from api.pages.contract import ContractRefused
from api.pages.rendering import render
from api.problems import PROBLEM_MEDIA_TYPE, problem_for
from api.traces import current_trace_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quart_trio import QuartTrio


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
        return error.status, {}, error.problem
    problem = problem_for(error)
    headers = {} if problem.retry_after is None else {"Retry-After": str(problem.retry_after)}
    return problem.kind.status, headers, problem.document(current_trace_id())
