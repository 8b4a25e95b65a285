"""ETags and preconditions (RFC 9110, 8.8.3 and 13.1): a write says which revision it has seen.

An ETag is the revision of what is configured, a counter in its row, as a quoted number. A write is
judged over one revision, and stored only if that is still the present one (`settle`): the check
and the write are one transaction, on any shard. So a precondition that held when the request was
judged holds when it is stored.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from quart import Response, request
from werkzeug.http import parse_etags

from api.bodies import json_response
from api.conflicts import refusal_of
from api.problem_types import PRECONDITION_FAILED, PRECONDITION_REQUIRED
from api.problems import Problem
from domain.registry import ABSENT, Moved, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import BaseModel
    from werkzeug.datastructures import ETags

    from api.problems import FaultyPart
    from domain.registry import Conflict

IF_MATCH, IF_NONE_MATCH = "If-Match", "If-None-Match"
# A write is judged again if its resource changed meanwhile: of several writers one wins each time.
MAX_ATTEMPTS = 10
_TAG_CHARACTERS = 32  # of a hash
_REVALIDATE = {"Cache-Control": "private, no-cache"}

StoredT = TypeVar("StoredT")
AnswerT = TypeVar("AnswerT")


def tag_of(revision: int) -> str:
    return f'"{revision}"'


class Precondition(NamedTuple):
    """The tags that a request names in If-Match and If-None-Match; None without the header."""

    match: ETags | None
    none_match: ETags | None

    def refuse(self, revision: int) -> None:
        """Raise Problem 412 if it does not hold for a resource of this revision."""
        tag = str(revision)
        exists = revision != ABSENT
        if self.match is not None and not (exists and self.match.contains(tag)):
            raise _failed(revision)
        if self.none_match is not None and exists and self.none_match.contains_weak(tag):
            raise _failed(revision, "It exists already, and its")


def read_precondition(*, required: bool = False) -> Precondition:
    """Return the precondition of the current request.

    Raises Problem 428 if it is `required`, and neither header is there.
    """
    found = Precondition(_read_tags(IF_MATCH), _read_tags(IF_NONE_MATCH))
    if required and found.match is None:
        detail = "Read the resource first, and send its ETag in If-Match: then no change is lost."
        raise Problem(PRECONDITION_REQUIRED, detail)
    return found


async def settle(
    precondition: Precondition,
    find: Callable[[], Awaitable[StoredT]],
    command: Callable[[StoredT, int], Awaitable[AnswerT | Refusal | Moved]],
    *,
    revision: Callable[[StoredT], int],
    missing: Problem,
    locate: Callable[[Conflict], FaultyPart] | None = None,
) -> AnswerT:
    """Return the answer of a command on the resource that `find` reads.

    `command` gets the resource and its revision, and carries it out only if that is still the
    present one. While the resource moves, it is read and judged again. `missing` and `locate` say
    how a refusal is answered, as in `refusal_of`.

    Raises Problem 412 when the precondition does not hold, or the resource moved MAX_ATTEMPTS
    times; the problem of a refusal; and what `find` and `command` raise.
    """
    for _ in range(MAX_ATTEMPTS):
        stored = await find()
        seen = revision(stored)
        precondition.refuse(seen)
        answer = await command(stored, seen)
        if isinstance(answer, Refusal):
            raise refusal_of(answer, missing=missing, locate=locate)
        if not isinstance(answer, Moved):
            return answer
    detail = "It changed again and again while the request was judged. Send the request once more."
    raise Problem(PRECONDITION_FAILED, detail)


def require_found(stored: StoredT | None, missing: Problem) -> StoredT:
    """Return what was found. Raises `missing` if that is nothing."""
    if stored is None:
        raise missing
    return stored


def tagged_response(payload: BaseModel, revision: int, status: int = 200) -> Response:
    """Return `payload` as JSON with the ETag of its revision."""
    return json_response(payload, status, {"ETag": tag_of(revision)})


def conditional_response(payload: BaseModel, revision: int) -> Response:
    """Return `payload` as JSON with its ETag, or 304 if the client has this revision already.

    Only for a resource whose answer changes with its revision and with nothing else.
    """
    known = _read_tags(IF_NONE_MATCH)
    headers = {"ETag": tag_of(revision), **_REVALIDATE}
    if known is None or not known.contains_weak(str(revision)):
        return json_response(payload, headers=headers)
    return _not_modified(headers)


async def answer_unchanging(response: Response) -> Response:
    """Return the response with an ETag, or 304 if the client has it already.

    Only for an answer that changes with the program and its settings alone. The tag is weak, so it
    holds for the compressed form too.
    """
    tag = hashlib.sha256(await response.get_data(as_text=False)).hexdigest()[:_TAG_CHARACTERS]
    headers = {"ETag": f'W/"{tag}"', **_REVALIDATE}
    known = _read_tags(IF_NONE_MATCH)
    if known is not None and known.contains_weak(tag):
        return _not_modified(headers)
    response.headers.update(headers)
    return response


def _not_modified(headers: dict[str, str]) -> Response:
    response = Response(b"", 304, headers)
    del response.headers["Content-Type"]
    return response


def _read_tags(name: str) -> ETags | None:
    """Return the tags of a header. Text that is no tag matches nothing.

    A tag without its quotes is taken: it names the same revision, and shells take quotes away.
    """
    values = request.headers.getlist(name)
    return parse_etags(", ".join(values)) if values else None


def _failed(revision: int, found: str = "Its") -> Problem:
    if revision == ABSENT:
        return Problem(PRECONDITION_FAILED, "It does not exist. Nothing was stored.")
    tag = tag_of(revision)
    detail = f"{found} ETag is {tag} now. Nothing was stored. Read it again before you change it."
    return Problem(PRECONDITION_FAILED, detail, headers={"ETag": tag})
