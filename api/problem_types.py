"""The catalogue of problem types: every kind of refusal of this API, with a stable name.

A slug, once published, keeps its meaning and its status for ever; new ones are added. The list is
part of the HTTP contract and is shown on the documentation page. This file never builds a response.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of refusal. `status` is the HTTP status it always comes with."""

    slug: str
    status: int
    title: str

    @property
    def uri(self) -> str:
        """The `type` member (RFC 9457, 3.1.1).

        It is absolute, so it is the same behind any host or path prefix and can be compared as a
        string. It is a URN, because nothing is served under it. A type without a slug is
        `about:blank`, as the RFC asks.
        """
        return f"urn:lastheard:problem:{self.slug}" if self.slug else "about:blank"


MALFORMED_JSON = ProblemType("malformed-json", 400, "The body is not JSON")
INVALID_PARAMETER = ProblemType("invalid-parameter", 400, "A query parameter is not valid")
UNAUTHENTICATED = ProblemType("unauthenticated", 401, "Credentials are missing or not valid")
MISSING_SCOPE = ProblemType("missing-scope", 403, "The credentials do not open this operation")
CREDENTIAL_NOT_ALLOWED = ProblemType(
    "credential-not-allowed", 403, "The key may not configure this credential"
)
KEY_NOT_ALLOWED = ProblemType("key-not-allowed", 403, "The key may not make such a key")
FOREIGN_FORM = ProblemType("foreign-form", 403, "The form was not sent by a page of this service")
NOT_FOUND = ProblemType("not-found", 404, "There is no such resource")
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed", 405, "The resource does not have this method"
)
REQUEST_TIMEOUT = ProblemType("request-timeout", 408, "The request took too long to arrive")
CONFLICT = ProblemType("conflict", 409, "The request disagrees with the stored state")
READ_WITHOUT_POLL = ProblemType(
    "read-without-poll", 409, "Core's values would be read while only the legacy system collects"
)
LEGACY_MISSING = ProblemType("legacy-missing", 409, "No legacy system is configured")
PARITY_GATE = ProblemType("parity-gate", 409, "Core and legacy system do not agree well enough yet")
REGISTRY_IS_LEGACY = ProblemType(
    "registry-is-legacy", 409, "The devices are those of the legacy system"
)
SOURCE_CHANGED = ProblemType(
    "source-changed", 409, "The cursor is of another source than the one that answers now"
)
PRECONDITION_FAILED = ProblemType(
    "precondition-failed", 412, "The resource is not as If-Match or If-None-Match requires"
)
BODY_TOO_LARGE = ProblemType("body-too-large", 413, "The body is larger than this server takes")
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    "unsupported-media-type", 415, "The body is of a media type that is not taken here"
)
INVALID_BODY = ProblemType(
    "invalid-body", 422, "The body is JSON, but not what this operation takes"
)
BEYOND_RETENTION = ProblemType("beyond-retention", 422, "The facts of that time are no longer kept")
SYNCHRONIZED_SCHEDULE = ProblemType(
    "synchronized-schedule", 422, "Too many workspaces would start in the same second"
)
PRECONDITION_REQUIRED = ProblemType("precondition-required", 428, "A write needs If-Match")
RATE_LIMITED = ProblemType("rate-limited", 429, "Too many requests in too short a time")
INTERNAL_ERROR = ProblemType("internal-error", 500, "The request met a fault of this service")
LEGACY_UNREACHABLE = ProblemType("legacy-unreachable", 502, "The legacy system did not answer")
LEGACY_UNFIT = ProblemType(
    "legacy-unfit", 502, "The legacy system's answer does not fit its configured shape"
)
OVERLOADED = ProblemType("overloaded", 503, "Too much work is waiting")
DEADLINE_PASSED = ProblemType(
    "deadline-passed", 503, "The request took too long; whether it took effect is not known"
)
ENDING = ProblemType(
    "ending", 503, "This process is ending; whether the request took effect is not known"
)
DEPENDENCY_AWAY = ProblemType("dependency-away", 503, "Something this service needs is away")
OUTCOME_UNKNOWN = ProblemType(
    "outcome-unknown", 503, "The outcome could not be waited for; a retry is safe"
)

CATALOGUE: tuple[ProblemType, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, ProblemType)
)

# The types of the framework's own errors, by status. A status that several types share is not
# listed, unless the framework raises it for one of them only.
_RAISED_BY_THE_FRAMEWORK = {
    401: UNAUTHENTICATED,
    403: MISSING_SCOPE,
    404: NOT_FOUND,
    405: METHOD_NOT_ALLOWED,
    408: REQUEST_TIMEOUT,
    413: BODY_TOO_LARGE,
    415: UNSUPPORTED_MEDIA_TYPE,
    429: RATE_LIMITED,
}


def type_of_status(status: int) -> ProblemType:
    """Return the type for a bare HTTP status: ours, or `about:blank` with the HTTP phrase."""
    named = _RAISED_BY_THE_FRAMEWORK.get(status)
    return named or ProblemType("", status, HTTPStatus(status).phrase)
