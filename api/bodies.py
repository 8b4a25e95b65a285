"""JSON bodies and query parameters into models, and answers into JSON.

A request is judged whole, before a handler uses it, and a refusal names the invalid places. It must
never repeat the values that were sent: bodies may carry secrets, and clients log refusals.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_origin

import orjson
import trio
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
)
from quart import Response

from api.problem_types import (
    INVALID_BODY,
    INVALID_PARAMETER,
    MALFORMED_JSON,
    UNSUPPORTED_MEDIA_TYPE,
)
from api.problems import FaultyPart, Problem
from runtime.instants import format_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic_core import ErrorDetails
    from quart import Request
    from werkzeug.datastructures import MultiDict

MAX_FAULTY_PARTS = 50
MAX_NAMED_FIELDS = 3  # in `detail`; `errors` has up to MAX_FAULTY_PARTS
MAX_POINTER_LENGTH = 80  # in `detail`; a client may send members with long names

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)

ModelT = TypeVar("ModelT", bound=BaseModel)
T = TypeVar("T")
_ONE_AT_A_TIME = trio.CapacityLimiter(1)


def read_instant(text: str) -> datetime:
    """Return RFC 3339 text as an instant in UTC, as `Instant` does. Raises ValueError."""
    return _to_utc(_parse_text(text))


def _parse_text(text: str) -> datetime:
    if not _RFC3339.fullmatch(text):
        raise ValueError("give an RFC 3339 instant with its offset, like 2026-03-01T12:00:00Z")
    return datetime.fromisoformat(text.upper())


def _parse_instant(value: object) -> object:
    if isinstance(value, datetime):
        return value
    return _parse_text(value if isinstance(value, str) else "")


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("the instant is outside the years 1 to 9999") from None


# An aware datetime in UTC, from RFC 3339 text only. Pydantic's own type would also accept
# "1494012444", even in strict mode, and a device's millisecond counter would become a date.
Instant = Annotated[AwareDatetime, BeforeValidator(_parse_instant), AfterValidator(_to_utc)]


class RequestModel(BaseModel):
    """Base of request bodies and queries. It refuses unknown members: one may be misspelt."""

    model_config = ConfigDict(extra="forbid", frozen=True)


async def read_json(
    request: Request, model: type[ModelT], *, taken: str = "application/json"
) -> ModelT:
    """Return the request's body as `model`.

    Strict: no text for a number, no number for an instant, no NaN.

    Raises Problem: 415 for another content type, 400 with line and column for text that is not
    JSON, 422 with an RFC 6901 pointer to each invalid place. The framework raises 413 and 408 while
    the body arrives. `taken` has all media types that the operation reads, for the Accept header of
    a 415.
    """
    return parse_body(await read_body(request, taken=taken), model)


async def read_body(request: Request, *, taken: str = "application/json") -> bytes:
    """Return the bytes of a JSON body. Raises Problem 415 for another content type."""
    if request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
        raise Problem(UNSUPPORTED_MEDIA_TYPE, headers={"Accept": taken})
    raw: bytes = await request.get_data(cache=False, as_text=False, parse_form_data=False)
    return raw


async def in_thread(work: Callable[[bytes], T], raw: bytes) -> T:
    """Return `work(raw)`, done beside the event loop: it may take a second, for hostile bytes.

    One at a time: several would only take the processor from each other. Work that has begun is
    waited for, also after a cancellation.
    """
    return await trio.to_thread.run_sync(work, raw, limiter=_ONE_AT_A_TIME)


def parse_body(raw: bytes, model: type[ModelT]) -> ModelT:
    """Return a body as `model`. Raises Problem 400 and 422 as `read_json` does."""
    return validate_body(raw, parse_json(raw), model)


def validate_body(
    raw: bytes, document: object, model: type[ModelT], context: object = None
) -> ModelT:
    """Return as `model` a body that `parse_json` read. Raises Problem 422 as `read_json` does.

    `context` is for the model's own validators.
    """
    try:
        # From the bytes, not the document: only then does strict mode take RFC 3339 text, enums and
        # arrays.
        return model.model_validate_json(raw, strict=True, context=context)
    except ValidationError as error:
        raise _invalid_body(error, document) from None


def read_query(request: Request, model: type[ModelT]) -> ModelT:
    """Return the query parameters as `model`. A field of a sequence type takes repeated ones.

    Raises Problem 400 that names each invalid parameter.
    """
    try:
        return model.model_validate(_collect(request.args, model))
    except ValidationError as error:
        parts = [
            FaultyPart(
                parameter=str(fault["loc"][0]) if fault["loc"] else None, detail=_sentence(fault)
            )
            for fault in _faults(error)
        ]
        raise Problem(INVALID_PARAMETER, errors=parts) from None


def json_response(
    payload: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return `payload` as JSON: plain values, datetimes, pydantic models, dataclasses and enums.

    Datetimes become RFC 3339 in UTC with `Z`. A datetime without a time zone is a bug and raises
    TypeError, except within a model: see _encode_model. NaN becomes null.
    """
    return Response(
        encode_json(payload),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        content_type="application/json",
    )


def respond_with_items(report: BaseModel, items: Sequence[Mapping[str, Any]]) -> Response:
    """Return a report, without items, as JSON with these items in plain values.

    Of a page of health, checking each item against its model took as long as judging it. The items
    are described by their model, and tests hold real answers against it.
    """
    document = report.model_dump(by_alias=True) | {"items": items}
    return json_response(_write(document))


def encode_json(payload: object) -> bytes:
    # Datetimes pass through to _encode_other: orjson itself would write a naive one without an
    # error.
    options = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(payload, default=_encode_other, option=options)


def _encode_model(model: BaseModel) -> orjson.Fragment:
    """Return a model as JSON. orjson writes its instants; one without a zone is taken for UTC.

    Fields that are instants were checked when the model was made. A page of health has thousands
    of instants: a call for each of them took longer than all the rest of the answer.
    """
    return _write(model.model_dump(by_alias=True))


def _write(document: Mapping[str, Any]) -> orjson.Fragment:
    options = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC | orjson.OPT_NON_STR_KEYS
    return orjson.Fragment(orjson.dumps(document, default=_encode_other, option=options))


def _encode_other(value: Any) -> Any:
    match value:
        case datetime():
            return format_instant(value)
        case date():
            return value.isoformat()
        case BaseModel():
            return _encode_model(value)
        case frozenset() | set():
            return sorted(value)
        case _:
            raise TypeError(
                f"{type(value).__name__} has no form in JSON; map it where the answer is built"
            )


def parse_json(raw: bytes) -> Any:
    """Return JSON text as plain values. Raises Problem 400 with line and column."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        extensions = {"line": error.lineno, "column": error.colno}
        raise Problem(
            MALFORMED_JSON, f"Not JSON at {place}: {error.msg}.", extensions=extensions
        ) from None


def _invalid_body(error: ValidationError, document: object) -> Problem:
    parts = [
        FaultyPart(pointer=pointer_to(fault["loc"], document), detail=_sentence(fault))
        for fault in _faults(error)
    ]
    return invalid_fields(parts, error.error_count())


def invalid_fields(parts: Sequence[FaultyPart], count: int) -> Problem:
    """Return the refusal of a body with `count` faults, of which `parts` are the first."""
    named = [(part.pointer or "the body")[:MAX_POINTER_LENGTH] for part in parts[:MAX_NAMED_FIELDS]]
    more = f" and {count - len(named)} more" if count > len(named) else ""
    subject = "1 field is" if count == 1 else f"{count} fields are"
    return Problem(
        INVALID_BODY, f"{subject} invalid: {', '.join(named)}{more}.", errors=tuple(parts)
    )


def _faults(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_context=False, include_input=False)[
        :MAX_FAULTY_PARTS
    ]


def _sentence(fault: ErrorDetails) -> str:
    return fault["msg"].removeprefix("Value error, ")


def pointer_to(loc: Sequence[str | int], document: object) -> str:
    """Return an RFC 6901 pointer into `document` for pydantic's location of an error.

    Pydantic adds the names of union members and validators to locations. Steps that are not in the
    document are left out, except the last: it names the missing member.
    """
    steps: list[str | int] = []
    for index, step in enumerate(loc):
        match document:
            case dict() if step in document:
                document = document[step]
            case list() if isinstance(step, int) and step < len(document):
                document = document[step]
            case dict() if index == len(loc) - 1 and isinstance(step, str):
                pass
            case _:
                continue
        steps.append(step)
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _collect(args: MultiDict[str, str], model: type[BaseModel]) -> dict[str, Any]:
    collected: dict[str, Any] = {}
    for name, values in args.lists():
        field = model.model_fields.get(name)
        if field is not None and get_origin(field.annotation) in {list, tuple, set, frozenset}:
            collected[name] = values
        elif len(values) == 1:
            collected[name] = values[0]
        else:
            part = FaultyPart(parameter=name, detail="Give it once.")
            raise Problem(INVALID_PARAMETER, errors=[part])
    return collected
