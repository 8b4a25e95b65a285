"""Refusals as RFC 9457 `application/problem+json`: one exception, one body, one mapping of errors.

The decision (`problem_for`) is synchronous and knows no request; the error handlers only send it.
It must never show the inside of a fault to a client: the log has the details of a crash, under the
incident id that the client gets.
"""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
from pydantic import BaseModel, Field
from quart import Response
from werkzeug.exceptions import HTTPException, InternalServerError

from api.problem_types import (
    DEPENDENCY_AWAY,
    INTERNAL_ERROR,
    LEGACY_UNFIT,
    LEGACY_UNREACHABLE,
    ProblemType,
    type_of_status,
)
from api.traces import current_trace_id
from ports.legacy import LegacyUnfit, LegacyUnreachable
from runtime.faults import EnvironmentFault
from runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quart import Quart

PROBLEM_MEDIA_TYPE = "application/problem+json"
DEFAULT_RETRY_AFTER_SECONDS = 5.0

_log = get_logger("api")


class FaultyPart(BaseModel):
    """A fault and its place: a pointer into the body, or the name of a query parameter.

    In a problem document, members without a value are left out.

    A fault in a CSV has its row, as a spreadsheet counts it (the header is 1), and its column.
    """

    detail: str
    pointer: str | None = Field(
        None, description="into the body (RFC 6901); the empty text is the whole body"
    )
    parameter: str | None = Field(None, description="of the query")
    row: int | None = None
    column: str | None = None


class ProblemDocument(BaseModel):
    """The body of every refusal (RFC 9457). Members without a value are left out."""

    type: str = Field(description="which refusal it is: a stable URN")
    title: str = Field(description="the type in words, the same each time")
    status: int = Field(description="the HTTP status")
    detail: str | None = Field(None, description="what was wrong this time, and what to do")
    instance: str | None = Field(None, description="of a 500: the id of the incident")
    errors: list[FaultyPart] | None = Field(None, description="what is wrong at which place")
    retry_after: int | None = Field(None, description="seconds, as in the header `Retry-After`")
    trace_id: str | None = Field(None, description="finds the request in the logs")


# Status, headers and body.
Encoded: TypeAlias = tuple[int, dict[str, str], bytes]


class Problem(Exception):
    """A refusal of one request. Raise it anywhere below a handler; it becomes the response.

    `detail` explains this occurrence to its reader and must not contain secrets.
    `retry_after_seconds` becomes the Retry-After header, in whole seconds, rounded up, and the
    member `retry_after`.
    """

    def __init__(
        self,
        kind: ProblemType,
        detail: str | None = None,
        *,
        errors: Sequence[FaultyPart] = (),
        retry_after_seconds: float | None = None,
        instance: str | None = None,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or kind.title)
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after = (
            None if retry_after_seconds is None else max(1, math.ceil(retry_after_seconds))
        )
        self.instance = instance
        self.headers = dict(headers or {})
        self.extensions = dict(extensions or {})

    def document(self, trace_id: str | None) -> dict[str, Any]:
        """Return the body's members; those of the RFC and ours that are None are left out.

        Extensions are shown as they are, and never replace other members.
        """
        members = {
            "type": self.kind.uri,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "instance": self.instance,
            "errors": [part.model_dump(exclude_none=True) for part in self.errors] or None,
            "retry_after": self.retry_after,
            "trace_id": trace_id,
        }
        shown = {name: value for name, value in members.items() if value is not None}
        return {**self.extensions, **shown}

    def encoded(self, trace_id: str | None) -> Encoded:
        """Return status, headers and body."""
        headers = {**self.headers, "Content-Type": PROBLEM_MEDIA_TYPE, "Cache-Control": "no-store"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return self.kind.status, headers, orjson.dumps(self.document(trace_id), default=str)


def problem_for(error: Exception) -> Problem:
    """Return the client's answer to `error`. An unexpected one is a crash and gets an incident id.

    A pydantic ValidationError is a crash here. `api.bodies` turns those of a request into 400 and
    422, so one that reaches this function comes from a value of ours. To blame the client would
    hide the bug.
    """
    match error:
        case Problem():
            return error
        case LegacyUnreachable() | LegacyUnfit():
            return _problem_for_legacy(error)
        case EnvironmentFault():
            return _problem_for_fault(error)
        case InternalServerError():
            return _incident(error.original_exception or error)
        case HTTPException():
            return _problem_for_http(error)
        case _:
            return _incident(error)


def install_problem_handlers(app: Quart) -> None:
    """Make every error of the app's handlers a problem. Websocket routes are not covered."""

    async def answer(error: Exception) -> Response:
        status, headers, body = problem_for(error).encoded(current_trace_id())
        return Response(body, status, headers)

    app.register_error_handler(HTTPException, answer)
    app.register_error_handler(Exception, answer)


def _problem_for_fault(fault: EnvironmentFault) -> Problem:
    # At debug level: the actor that met the fault logs its beginning and its end, and a line for
    # each refused request would hide those.
    _log.debug("request_refused_by_fault", error_type=type(fault).__name__, exc_info=fault)
    wait = None if fault.permanent else (fault.retry_after or DEFAULT_RETRY_AFTER_SECONDS)
    return Problem(DEPENDENCY_AWAY, retry_after_seconds=wait)


def _problem_for_legacy(fault: LegacyUnreachable | LegacyUnfit) -> Problem:
    """Return a 502 that says what the legacy system did, and how core's values can be read."""
    said = str(fault)
    detail = f"{said[:1].upper()}{said[1:]}. Core's own values are at `?read_owner=core`."
    if isinstance(fault, LegacyUnfit):
        return Problem(LEGACY_UNFIT, detail, extensions={"expression": fault.expression})
    return Problem(LEGACY_UNREACHABLE, detail, retry_after_seconds=fault.retry_after)


def _problem_for_http(error: HTTPException) -> Problem:
    said = error.description if error.description != type(error).description else None
    headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    return Problem(type_of_status(error.code or 500), said, headers=headers)


def _incident(error: BaseException) -> Problem:
    incident_id = secrets.token_hex(8)
    _log.error("request_crashed", incident_id=incident_id, exc_info=error)
    return Problem(
        INTERNAL_ERROR,
        f"Report it with the incident id {incident_id}.",
        instance=f"urn:lastheard:incident:{incident_id}",
    )
