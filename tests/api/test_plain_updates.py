"""Bodies of `POST /ingest` are read the same with the fast way of plain items and without it.

Without it every item goes through the models, which say what is taken. Compared are the updates by
their text, so that 1, 1.0 and true differ, and all that is said of what is refused.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import api.damaged_updates
import api.update_items
from api.damaged_updates import read_updates
from api.plain_updates import Arrival, read_plain
from api.problems import Problem
from domain.model import CanonicalUpdate

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from api.update_items import Item

    Members = tuple[tuple[str, str], ...]  # names and values, both as JSON text

RECEIVED_AT = datetime(2026, 5, 1, 10, 0, 5, tzinfo=UTC)
AT = '"2026-05-01T10:00:00Z"'
GOOD_READING: Members = (('"signal"', '"soc_percent"'), ('"value"', "80"), ('"observed_at"', AT))
GOOD_IDS: Members = (
    ('"workspace_id"', '"north"'),
    ('"provider_id"', '"live"'),
    ('"device_id"', '"bus-1"'),
)
VALUES = (
    *("0", "-0", "-0.0", "1", "1.0", "1E2", "true", "false", "null", "1e308", "5e-324", "1e-400"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775807"),
    *("-9223372036854775808", "-9223372036854775809", "9223372036854774784.0", "9.3e18"),
    *("18446744073709551616", "1" + "0" * 30, "9" * 400, "1e400", "NaN", "-Infinity", "01", "1."),
    *('""', '"on"', '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude8c"', '"Ü"', '"\x01"', "[]", "[1]"),
    *("{}", '{"value":1}', f'"{"x" * 256}"', f'"{"x" * 257}"', f'"{"Ü" * 256}"', "[" * 300),
)
TIMES = (
    *("2026-05-01T10:00:00Z", "2026-05-01t10:00:00z", "2026-05-01T12:00:00+02:00"),
    *("2026-05-01T10:00:00-00:00", "2026-05-01T10:00:00.1Z", "2026-05-01T10:00:00.123456Z"),
    *("2026-05-01T10:00:00.123456789Z", "2026-05-01T10:00:00.1234567891Z", "2026-05-01T10:00Z"),
    *(
        "2026-05-01T10:00:00",
        "2026-05-01 10:00:00Z",
        "2026-05-01T24:00:00Z",
        "2026-02-30T10:00:00Z",
    ),
    *("2026-05-01T10:00:60Z", "2026-05-01T10:00:00+24:00", "2026-05-01T10:00:00+23:59"),
    *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00Z"),
    *(
        "20260501T100000Z",
        "1777629600",
        "",
        "2026-05-01T10:00:00Z\\n",
        "\\uff12026-05-01T10:00:00Z",
    ),
)
SIGNALS = (
    *('"latitude_deg"', '"longitude_deg"', '"speed_kmh"', '""', "7", "null", '"a\\u0000"', "[]"),
    *(f'"{"s" * 64}"', f'"{"s" * 65}"', f'"{"Ü" * 64}"'),
)
NAMES = (
    *(
        '"x-bus-1"',
        '" x-bus-1 "',
        '"x bus 1"',
        '"Wagen Ü"',
        '"a\\u0000b"',
        '"a\\nb"',
        '"\\n"',
        '" "',
    ),
    *('"\\u001fbus"', '"bus\\u001c"', '"\\u00a0bus"', '"bus\\u2028"', '"\\u200bbus"', '"\\u007f"'),
    *('""', '"bus-1"', '"bus-1\\n"', '"bus 1"', f'"{"b" * 64}"', f'"{"b" * 65}"', f'"{"b" * 128}"'),
    *(
        f'"{"b" * 129}"',
        f'"{"Ü" * 128}"',
        f'" {"b" * 128} "',
        "null",
        "7",
        "1.5",
        "true",
        "[]",
        "{}",
    ),
)


def text_of(members: Members) -> str:
    return "{" + ",".join(f"{name}:{value}" for name, value in members) + "}"


def item_of(*readings: str, ids: Members = GOOD_IDS) -> str:
    return text_of((*ids, ('"readings"', f"[{','.join(readings)}]")))


def body_of(*items: str) -> str:
    return f'{{"updates":[{",".join(items)}]}}'


GOOD_ITEM = item_of(text_of(GOOD_READING))


@st.composite
def changed(draw: Any, members: Members, odd: SearchStrategy[str]) -> str:
    """Return an object of these members, some of which are changed, left out, or there twice."""
    members = tuple(
        (
            name,
            draw(st.one_of(st.just(value), st.just(value), odd)) if name != '"readings"' else value,
        )
        for name, value in members
    )
    more = draw(st.lists(st.tuples(st.sampled_from(_ALL_NAMES), odd), max_size=1))
    left_out = draw(st.sets(st.integers(0, 20), max_size=1))
    kept = [member for place, member in enumerate(members) if place not in left_out]
    return text_of((*kept, *more))


_ALL_NAMES = (
    *('"workspace_id"', '"provider_id"', '"device_id"', '"external_id"', '"vehicle_id"'),
    *('"trace_id"', '"received_at"', '"signal"', '"value"', '"observed_at"', '"quality"'),
)
times = st.one_of(
    st.sampled_from(TIMES),
    st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
    st.from_regex(
        r"\A20\d\d-[01]\d-[0-3]\dT[012]\d:[0-5]\d:[0-6]\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)\Z"
    ),
).map(lambda text: f'"{text}"')
numbers = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)).map(json.dumps)
signals = st.sampled_from(SIGNALS)
odd_members = st.one_of(
    st.sampled_from(VALUES),
    st.sampled_from(NAMES),
    times,
    signals,
    numbers,
    st.text().map(json.dumps),
)
readings = changed(GOOD_READING, odd_members)


@st.composite
def items(draw: Any) -> str:
    if draw(st.integers(0, 9)) == 0:
        return str(draw(odd_members))
    listed = f"[{','.join(draw(st.lists(readings, max_size=4)))}]"
    return str(draw(changed((*GOOD_IDS, ('"readings"', listed)), odd_members)))


def read(body: str) -> tuple[object, ...]:
    """Return the items of a body, or what is said of its refusal."""
    arrival = Arrival(RECEIVED_AT, "request-7")
    raw = body.encode("utf-8", "surrogatepass")
    try:
        found = trio.run(read_updates, raw, arrival)
    except Problem as problem:
        return (problem.kind.slug, problem.detail, problem.errors)
    return (repr(found), arrival.oldest_claim)


def read_by_models(body: str) -> tuple[object, ...]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (api.damaged_updates, api.update_items):
            patch.setattr(module, "read_plain", lambda items, arrival: None)
        return read(body)


@settings(max_examples=150, deadline=None)
@given(st.lists(items(), max_size=3))
def test_any_items_are_read_the_same(found: list[str]) -> None:
    body = body_of(*found, GOOD_ITEM)
    assert read(body) == read_by_models(body)


@pytest.mark.parametrize("value", VALUES)
def test_any_value_is_read_the_same(value: str) -> None:
    odd = (GOOD_READING[0], ('"value"', value), GOOD_READING[2])
    body = body_of(item_of(text_of(odd), text_of(GOOD_READING)), item_of(text_of(odd)))
    assert read(body) == read_by_models(body)


@pytest.mark.parametrize("signal", SIGNALS)
def test_any_signal_is_read_the_same(signal: str) -> None:
    body = body_of(item_of(text_of((('"signal"', signal), *GOOD_READING[1:]))), GOOD_ITEM)
    assert read(body) == read_by_models(body)


@pytest.mark.parametrize("time", TIMES)
def test_any_instant_is_read_the_same(time: str) -> None:
    odd = (*GOOD_READING[:2], ('"observed_at"', f'"{time}"'))
    claim = (*GOOD_IDS, ('"received_at"', f'"{time}"'))
    body = body_of(item_of(text_of(odd)), item_of(text_of(GOOD_READING), ids=claim))
    assert read(body) == read_by_models(body)


@pytest.mark.parametrize("member", _ALL_NAMES[:6])
def test_any_name_is_read_the_same(member: str) -> None:
    for name in NAMES:
        ids = (*(each for each in GOOD_IDS if each[0] != member), (member, name))
        nameless = tuple(each for each in ids if each[0] != '"device_id"' or member == each[0])
        good = text_of(GOOD_READING)
        body = body_of(item_of(good, ids=ids), item_of(good, ids=nameless), GOOD_ITEM)
        assert read(body) == read_by_models(body), name


@pytest.mark.parametrize(
    "body",
    [
        body_of(),
        body_of(*[GOOD_ITEM] * 500),
        body_of(*[GOOD_ITEM] * 501),
        body_of(item_of()),
        body_of(item_of(*[text_of(GOOD_READING)] * 100)),
        body_of(item_of(*[text_of(GOOD_READING)] * 101)),
        body_of(item_of("[" * 300 + "]" * 300), GOOD_ITEM),
        '{"updates":{}}',
        '{"updates":"abc"}',
        "[]",
        "{}",
        "7",
        f'{{"updates":[{GOOD_ITEM}],"mode":1}}',
        f'{{"updates":[],"updates":[{GOOD_ITEM}]}}',
        body_of(item_of(text_of(GOOD_READING), ids=(*GOOD_IDS, ('"mode"', "1"))), GOOD_ITEM),
        body_of('""', "[]", '["workspace_id"]', '"abc"', "null", "7"),
        body_of(text_of((*GOOD_IDS, ('"readings"', '{"signal":1}')))),
        body_of(text_of((*GOOD_IDS, ('"readings"', '"abc"')))),
        body_of(item_of('"abc"', "[1,2,3]", "null", "{}")),
        body_of(item_of(text_of((*GOOD_READING, ('"value"', "81"))))),
        body_of(item_of(text_of((*GOOD_READING, ('"quality"', "1"))), text_of(GOOD_READING))),
    ],
    ids=lambda body: body[:60],
)
def test_bodies_at_the_limits_are_read_the_same(body: str) -> None:
    assert read(body) == read_by_models(body)


GOOD_MEMBERS = st.fixed_dictionaries(
    {
        "workspace_id": st.from_regex(r"\A[A-Za-z0-9._:-]{1,64}\Z"),
        "provider_id": st.just("live"),
        "device_id": st.sampled_from(["bus-1", "bus-2"]),
        "readings": st.lists(
            st.fixed_dictionaries(
                {
                    "signal": st.sampled_from(["soc_percent", "latitude_deg", "longitude_deg"]),
                    "value": st.one_of(
                        st.booleans(), st.integers(-9, 9), st.floats(-1e9, 1e9), st.text(max_size=9)
                    ),
                    "observed_at": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
                }
            ),
            min_size=1,
            max_size=9,
        ),
    },
    optional={
        "external_id": st.sampled_from(["x-bus-1", "Wagen Ü 7", None]),
        "vehicle_id": st.sampled_from(["vehicle 7", None]),
        "trace_id": st.sampled_from(["mine-7", None]),
        "received_at": st.sampled_from(["2026-05-01T09:00:00Z", None]),
    },
)


@settings(max_examples=60, deadline=None)
@given(st.lists(GOOD_MEMBERS, max_size=4))
def test_good_items_never_meet_the_models(found: list[dict[str, Any]]) -> None:
    """Else the fast way would be right, and of no use."""
    assert read_plain(found, Arrival(RECEIVED_AT, "request-7")) is not None
    body = json.dumps({"updates": found})
    assert read(body) == read_by_models(body)


def test_one_bad_item_leaves_the_others_to_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str | None] = []
    to_update = api.update_items.UpdateItem.to_update

    def note(item: api.update_items.UpdateItem, arrival: Arrival) -> CanonicalUpdate:
        judged.append(item.external_id)
        return to_update(item, arrival)

    monkeypatch.setattr(api.update_items.UpdateItem, "to_update", note)
    bad = item_of(text_of((*GOOD_READING[:1], ('"value"', "null"), *GOOD_READING[2:])))
    spaced = item_of(text_of(GOOD_READING), ids=(*GOOD_IDS, ('"external_id"', '" x-bus-1 "')))
    body = body_of(GOOD_ITEM, bad, spaced, GOOD_ITEM).encode()
    found: list[Item] = trio.run(read_updates, body, Arrival(RECEIVED_AT, "request-7"))
    assert [isinstance(item, CanonicalUpdate) for item in found] == [True, False, True, True]
    assert judged == ["x-bus-1"]
