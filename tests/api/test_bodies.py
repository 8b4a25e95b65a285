"""Every fault of a body is told with its field; every instant in an answer has a zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from quart import Response, request
from quart_trio import QuartTrio

from api.bodies import (
    Instant,
    RequestModel,
    encode_json,
    json_response,
    pointer_to,
    read_json,
    read_query,
)
from api.problems import install_problem_handlers
from api.shapes import AnswerModel
from runtime.instants import format_instant


class Kind(StrEnum):
    POLL = "poll"


class Reading(RequestModel):
    signal: str
    value: bool | int | float | str
    observed_at: Instant


class Update(RequestModel):
    readings: list[Reading] = Field(min_length=1)
    kind: Kind = Kind.POLL


class Filter(RequestModel):
    state: tuple[str, ...] = ()
    limit: int = Field(100, ge=1, le=500)
    since: Instant | None = None


class Shown(AnswerModel):
    at: Instant
    rest: dict[str, Any]


def make_app() -> QuartTrio:
    app = QuartTrio(__name__)

    @app.post("/")
    async def take() -> Response:
        update = await read_json(request, Update)
        return json_response(update)

    @app.get("/")
    async def show() -> Response:
        return json_response(read_query(request, Filter))

    install_problem_handlers(app)
    return app


async def post(
    body: bytes | str, content_type: str = "application/json"
) -> tuple[int, dict[str, Any]]:
    response = (
        await make_app().test_client().post("/", data=body, headers={"Content-Type": content_type})
    )
    return response.status_code, await response.get_json(force=True)


async def get(query: str) -> tuple[int, dict[str, Any]]:
    response = await make_app().test_client().get(f"/?{query}")
    return response.status_code, await response.get_json(force=True)


def reading(**changes: str) -> str:
    members = {
        "signal": '"soc_percent"',
        "value": "81.5",
        "observed_at": '"2026-03-01T13:00:00.25+01:00"',
    } | changes
    return (
        '{"readings": [{'
        + ", ".join(f'"{name}": {value}' for name, value in members.items())
        + "}]}"
    )


async def test_a_body_becomes_its_model_with_instants_in_utc() -> None:
    assert await post(reading()) == (
        200,
        {
            "readings": [
                {
                    "signal": "soc_percent",
                    "value": 81.5,
                    "observed_at": "2026-03-01T12:00:00.250000Z",
                }
            ],
            "kind": "poll",
        },
    )


async def test_another_content_type_is_a_415() -> None:
    for content_type in ("text/plain", "", "multipart/form-data; boundary=x"):
        status, body = await post(reading(), content_type)
        assert (status, body["type"]) == (415, "urn:lastheard:problem:unsupported-media-type")


async def test_a_content_type_built_on_json_is_taken() -> None:
    assert (await post(reading(), "application/vnd.fleet+json; charset=utf-8"))[0] == 200


@pytest.mark.parametrize(
    ("body", "line", "column"),
    [
        (b"", 1, 1),
        (b'{\n  "readings": oops\n}', 2, 15),
        (b'{"value": NaN}', 1, 11),
        (b'"\xff"', 1, 1),
        (b"[" * 2000, None, None),
    ],
    ids=["empty", "a bare word", "not a number", "not UTF-8", "too deep"],
)
async def test_what_is_not_json_is_a_400_with_the_place(
    body: bytes, line: int | None, column: int | None
) -> None:
    status, problem = await post(body)
    assert (status, problem["type"]) == (400, "urn:lastheard:problem:malformed-json")
    if line is not None:
        assert (problem["line"], problem["column"]) == (line, column)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ("[]", ""),
        ("{}", "/readings"),
        ('{"readings": []}', "/readings"),
        ('{"readings": [{}, 7]}', "/readings/1"),
        (reading(observed_at='"1494012444"'), "/readings/0/observed_at"),
        (reading(observed_at="1494012444"), "/readings/0/observed_at"),
        (reading(observed_at='"2026-03-01T12:00:00"'), "/readings/0/observed_at"),
        (reading(observed_at='"2026-02-30T12:00:00Z"'), "/readings/0/observed_at"),
        (reading(observed_at='"0001-01-01T00:00:00+14:00"'), "/readings/0/observed_at"),
        (reading(value="[]"), "/readings/0/value"),
        (reading(signal="5"), "/readings/0/signal"),
        (reading(**{"a/b~c": "1"}), "/readings/0/a~1b~0c"),
    ],
)
async def test_what_does_not_fit_is_a_422_with_a_pointer_to_it(body: str, pointer: str) -> None:
    status, problem = await post(body)
    assert status == 422
    assert pointer in [part.get("pointer") for part in problem["errors"]]


async def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    _, problem = await post(reading(observed_at='"hunter2"', value='{"hunter2": 1}'))
    assert "hunter2" not in str(problem)


async def test_a_refusal_names_no_more_than_fifty_places() -> None:
    _, problem = await post('{"readings": [' + ",".join(["7"] * 500) + "]}")
    assert len(problem["errors"]) == 50
    assert "500" in problem["detail"]


JSON = st.recursive(
    st.none() | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("a/~", max_size=2), inner, max_size=3)
    ),
)


@given(JSON, st.lists(st.integers(0, 3) | st.text("a/~", max_size=2), max_size=5))
def test_a_pointer_names_the_wrong_field_or_the_missing_one(
    document: Any, loc: list[str | int]
) -> None:
    steps = [
        step.replace("~1", "/").replace("~0", "~")
        for step in pointer_to(loc, document).split("/")[1:]
    ]
    for index, step in enumerate(steps):
        if isinstance(document, dict) and step not in document:
            assert index == len(steps) - 1
            return
        document = document[int(step)] if isinstance(document, list) else document[step]


async def test_a_query_becomes_its_model_with_repeats_as_a_list() -> None:
    assert await get("state=stale&state=delayed&limit=7&since=2026-03-01T12:00:00Z") == (
        200,
        {"state": ["stale", "delayed"], "limit": 7, "since": "2026-03-01T12:00:00Z"},
    )


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=many", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limt=1", "limt"),
        ("since=1494012444", "since"),
    ],
)
async def test_a_query_that_does_not_fit_is_a_400_naming_the_parameter(
    query: str, parameter: str
) -> None:
    status, problem = await get(query)
    assert (status, problem["type"]) == (400, "urn:lastheard:problem:invalid-parameter")
    assert [part["parameter"] for part in problem["errors"]] == [parameter]


def test_instants_of_any_zone_are_written_in_utc_with_z() -> None:
    @dataclass
    class Row:
        at: datetime

    half_past = datetime(2026, 3, 1, 14, 30, tzinfo=timezone(timedelta(hours=2)))
    assert encode_json([Row(half_past), {Kind.POLL: {"b", "a"}}]) == (
        b'[{"at":"2026-03-01T12:30:00Z"},{"poll":["a","b"]}]'
    )


def test_an_instant_without_a_zone_is_a_bug() -> None:
    with pytest.raises(TypeError):
        encode_json(datetime(2026, 3, 1))  # noqa: DTZ001 - the bug itself


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_model_writes_its_instants_like_everything_else(instant: datetime) -> None:
    """Anywhere in it, and one without a zone as UTC: no answer has an instant without a zone."""
    shown = Shown(at=instant, rest={"at": instant, "naive": instant.replace(tzinfo=None)})
    text = format_instant(instant)
    assert orjson.loads(encode_json(shown)) == {"at": text, "rest": {"at": text, "naive": text}}


def test_a_value_without_a_form_in_json_is_a_bug() -> None:
    with pytest.raises(TypeError, match="complex"):
        encode_json({"value": 1j})


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_survives_the_way_out_and_in(instant: datetime) -> None:
    text = encode_json(instant).decode().strip('"')
    parsed = Reading.model_validate_json(
        encode_json({"signal": "s", "value": 1, "observed_at": text}), strict=True
    ).observed_at
    assert parsed == instant


async def test_a_refused_body_is_told_which_fields_are_invalid() -> None:
    _, one = await post('{"readings": [], "kind": "poll"}')
    assert one["detail"] == "1 field is invalid: /readings."
    _, many = await post('{"readings": [{}, {}], "kind": "stream"}')
    assert many["detail"] == (
        "7 fields are invalid: /readings/0/signal, /readings/0/value, /readings/0/observed_at"
        " and 4 more."
    )
    assert len(many["errors"]) == 7


async def test_a_long_name_of_a_client_is_cut_in_the_sentence() -> None:
    _, body = await post('{"readings": [], "' + "n" * 5_000 + '": 1}')
    assert len(body["detail"]) < 200
