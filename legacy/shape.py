"""The configured shape of a legacy system: where its answers have what, and how it is asked.

Owns the document, its checks and its compiled form. A mistake is named by the JSON Pointer of its
member, and if it is in an expression, by the place in that. docs/cutover.md has a worked example.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from domain.parity import TIMES
from domain.position import HALVES, POSITION
from domain.signals import CATALOGUE
from legacy.expressions import Expression, ExpressionInvalid
from legacy.times import NAMED_FORMATS, PatternFormat, TimeFormat, read_rfc3339
from legacy.units import factor_to, units_for
from ports.legacy import ShapeFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_PAGES: Final = 50
MAX_MEMBERS: Final = 400  # of the whole document; one with every signal has less than 150
_WORKSPACE: Final = "{workspace_id}"
_PATH: Final = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?\[\]-]{0,500}")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_HEADER_FORM: Final = re.compile(r"[\x20-\x7e]{1,200}")
# These steer the connection itself, so no configuration may write them.
_OWN_HEADERS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
PLAIN_PLACE: Final = "{secret}"
BASE64_PLACE: Final = "{secret_base64}"


class ShapeInvalid(ValueError):
    """The document is no shape. `faults` has every mistake that was found."""

    def __init__(self, faults: list[ShapeFault]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults))
        self.faults = faults


def _mistake(detail: str) -> PydanticCustomError:
    return PydanticCustomError("shape", "{detail}", {"detail": detail})


def _read_expression(value: Any) -> Expression:
    if not isinstance(value, str):
        raise _mistake("write a JMESPath expression as text")
    try:
        return Expression(value)
    except ExpressionInvalid as error:
        raise _mistake(str(error)) from None


def _read_path(value: Any) -> str:
    if not isinstance(value, str):
        raise _mistake("write a path as text")
    plain = value.replace(_WORKSPACE, "w")
    if not _PATH.fullmatch(plain) or ".." in plain.partition("?")[0].split("/"):
        raise _mistake(
            f"{value[:100]!r} is no path: begin with /, use no spaces, no # and no .., and write "
            f"{_WORKSPACE} where the workspace's id belongs"
        )
    return value


def _read_header_name(value: Any) -> str:
    if not isinstance(value, str) or not _HEADER_NAME.fullmatch(value):
        raise _mistake("write the name of a header, as Authorization or X-API-Key")
    if value.lower() in _OWN_HEADERS:
        raise _mistake(f"the header {value} belongs to the connection: name another")
    return value


def _read_header_form(value: Any) -> str:
    written = value if isinstance(value, str) and _HEADER_FORM.fullmatch(value) else ""
    if written.count(PLAIN_PLACE) + written.count(BASE64_PLACE) != 1:
        raise _mistake(f"write {PLAIN_PLACE} or {BASE64_PLACE} once, as in Bearer {PLAIN_PLACE}")
    return written


def _read_time_format(value: Any) -> TimeFormat:
    if isinstance(value, str) and value in NAMED_FORMATS:
        return NAMED_FORMATS[value]
    members = set(value) if isinstance(value, dict) else set()
    texts = isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    if not texts or not {"pattern"} <= members <= {"pattern", "time_zone"}:
        names = ", ".join(NAMED_FORMATS)
        raise _mistake(
            f'write one of {names}, or {{"pattern": a pattern of strptime, "time_zone": a name}}'
        )
    try:
        return PatternFormat(value["pattern"], value.get("time_zone"))
    except ValueError as error:
        raise _mistake(str(error)) from None


Expressed = Annotated[Expression, PlainValidator(_read_expression)]
Path = Annotated[str, PlainValidator(_read_path)]


class _Part(BaseModel):
    """Base of all parts: nothing is converted silently, and unknown members are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True
    )


class CredentialHeader(_Part):
    """The header that carries the secret, and its form."""

    name: Annotated[str, PlainValidator(_read_header_name)] = "Authorization"
    form: Annotated[str, PlainValidator(_read_header_form)] = f"Bearer {PLAIN_PLACE}"


class PageShape(_Part):
    """How an answer goes on: by a link in it, or by a page number in the query."""

    next_link: Expressed | None = None
    page_parameter: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    first_page: Annotated[int, Field(ge=0, le=1)] = 1
    max_pages: Annotated[int, Field(ge=1, le=MAX_PAGES)] = 20

    @model_validator(mode="after")
    def _has_one_way(self) -> PageShape:
        if (self.next_link is None) == (self.page_parameter is None):
            raise _mistake("name either next_link or page_parameter")
        return self


class _Answer(_Part):
    path: Path
    items: Expressed
    paging: PageShape | None = None


class RegistryShape(_Answer):
    """Where the registry's answer has its devices.

    Without `device_id` a device is known by provider_id and external_id.
    """

    device_id: Expressed | None = None
    provider_id: Expressed
    external_id: Expressed
    vehicle_id: Expressed
    vehicle_name: Expressed


class SignalShape(_Part):
    """Where an item has the value of one signal. A unit that is left out is the catalogue's."""

    value: Expressed
    unit: str | None = None
    observed_at: Expressed | None = None


class ValuesShape(_Answer):
    """Where the answer with the present values has them.

    A device is named by device_id, or by provider_id and external_id together. `observed_at` is
    for the signals that have none of their own.
    """

    device_id: Expressed | None = None
    provider_id: Expressed | None = None
    external_id: Expressed | None = None
    received_at: Expressed
    observed_at: Expressed | None = None
    time_format: Annotated[TimeFormat, PlainValidator(_read_time_format)] = read_rfc3339
    signals: Annotated[dict[str, SignalShape], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_devices_in_one_way(self) -> ValuesShape:
        pair = (self.provider_id, self.external_id)
        has_pair, has_half = all(pair), any(pair)
        if (self.device_id is None) != has_pair or (has_half and not has_pair):
            raise _mistake("name a device by device_id, or by provider_id and external_id together")
        return self


class LegacyShape(_Part):
    """The whole document."""

    credential_header: CredentialHeader = CredentialHeader()
    registry: RegistryShape | None = None
    values: ValuesShape


class SignalReading(NamedTuple):
    """How one signal is read from an item: the compiled form of a SignalShape."""

    name: str
    pointer: str
    value: Expression
    observed_at: Expression | None
    factor: float  # of numbers, to the unit of the catalogue
    is_time: bool  # the value itself is an instant


def parse_shape(document: Mapping[str, Any]) -> LegacyShape:
    """Check and compile the document. Raises ShapeInvalid with every mistake.

    A document with more than MAX_MEMBERS is not looked at: compiling takes time for each member.
    """
    if _has_too_many_members(document):
        detail = f"the shape has more than {MAX_MEMBERS} members: write only those that it needs"
        raise ShapeInvalid([ShapeFault("", detail)])
    try:
        shape = LegacyShape.model_validate(document)
    except ValidationError as error:
        raise ShapeInvalid([_fault(one) for one in error.errors(include_url=False)]) from None
    if faults := list(_check_signals(shape.values)):
        raise ShapeInvalid(faults)
    return shape


def _has_too_many_members(document: Mapping[str, Any]) -> bool:
    members = 0
    waiting: list[Any] = [document]
    while waiting and members <= MAX_MEMBERS:
        part = waiting.pop()
        inner = part.values() if isinstance(part, dict) else part
        members += len(inner)
        waiting += [one for one in inner if isinstance(one, dict | list)]
    return members > MAX_MEMBERS


def readings_of(values: ValuesShape) -> tuple[SignalReading, ...]:
    """Return how each signal is read, with the defaults filled in."""
    return tuple(
        SignalReading(
            name,
            f"/values/signals/{name}",
            one.value,
            one.observed_at or values.observed_at,
            factor_to(CATALOGUE[name].unit, one.unit or CATALOGUE[name].unit) or 1.0,
            name in TIMES,
        )
        for name, one in values.signals.items()
    )


def _check_signals(values: ValuesShape) -> Iterator[ShapeFault]:
    """Find what the catalogue refuses: unknown signals, impossible units, half a position."""
    for name, one in values.signals.items():
        entry = CATALOGUE.get(name)
        if entry is None:
            hint = f"; state {' and '.join(HALVES)}" if name == POSITION else ""
            detail = f"there is no signal {name!r}{hint}: GET /signals lists them"
            yield ShapeFault(_pointer("values", "signals", name), detail)
        elif one.unit is not None and (
            entry.kind != "number" or factor_to(entry.unit, one.unit) is None
        ):
            yield ShapeFault(_pointer("values", "signals", name, "unit"), _unit_detail(name, one))
    yield from _check_position(values)


def _unit_detail(name: str, one: SignalShape) -> str:
    entry = CATALOGUE[name]
    if entry.kind != "number":
        return f"{name} is a {entry.kind} and has no unit: leave it out"
    units = ", ".join(units_for(entry.unit))
    return f"{one.unit!r} cannot become {entry.unit}, the unit of {name}: use one of {units}"


def _check_position(values: ValuesShape) -> Iterator[ShapeFault]:
    halves = [name for name in HALVES if name in values.signals]
    if len(halves) == 1:
        missing = next(name for name in HALVES if name not in halves)
        detail = f"{missing} is missing: a position has both halves"
        yield ShapeFault(_pointer("values", "signals", halves[0]), detail)
    if len(halves) == 2:
        one, other = (values.signals[name].observed_at for name in HALVES)
        if str(one) != str(other):
            yield ShapeFault(
                _pointer("values", "signals", HALVES[1], "observed_at"),
                f"it differs from that of {HALVES[0]}: a position has one time of observation",
            )


def _fault(error: Any) -> ShapeFault:
    kind, pointer = error["type"], _pointer(*error["loc"])
    if kind == "extra_forbidden":
        return ShapeFault(pointer, f"the member {error['loc'][-1]!r} is unknown here")
    if kind == "missing":
        return ShapeFault(pointer, f"the member {error['loc'][-1]!r} is missing")
    return ShapeFault(pointer, str(error["msg"]))


def _pointer(*parts: str | int) -> str:
    """Return the JSON Pointer (RFC 6901)."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)
