"""A cursor leads to the next page of its own list; anything else is refused as a cursor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from api.cursors import Cursor, CursorCodec, Key
from api.problems import Problem

KEY = b"sixteen bytes or more"
CODEC = CursorCodec(KEY)
NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
PLACE = Cursor("worklist silence stale", NOON, (NOON, "north", "bus-7"))

instants = st.datetimes(timezones=st.just(UTC))
keys = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=30)
    | instants
)
cursors = st.builds(
    Cursor,
    kind=st.text("abc/ ", max_size=20),
    evaluated_at=instants,
    after=st.lists(keys, max_size=4).map(tuple),
)


def refusal_of(token: str, kind: str = PLACE.kind) -> dict[str, Any]:
    with pytest.raises(Problem) as refused:
        CODEC.decode(token, kind=kind)
    return refused.value.document(None)


@given(cursors)
def test_a_cursor_comes_back_as_it_was(cursor: Cursor) -> None:
    assert CODEC.decode(CODEC.encode(cursor), kind=cursor.kind) == cursor


@given(cursors)
def test_a_cursor_needs_no_escaping_in_a_url(cursor: Cursor) -> None:
    assert set(CODEC.encode(cursor)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


@given(cursors, st.data())
def test_a_changed_cursor_is_never_accepted(cursor: Cursor, data: st.DataObject) -> None:
    token = CODEC.encode(cursor)
    position = data.draw(st.integers(0, len(token) - 1))
    changed = token[:position] + data.draw(st.characters(codec="ascii")) + token[position + 1 :]
    assume(changed != token)
    refusal_of(changed, cursor.kind)


@given(cursors, st.data())
def test_a_shortened_or_lengthened_cursor_is_never_accepted(
    cursor: Cursor, data: st.DataObject
) -> None:
    token = CODEC.encode(cursor)
    refusal_of(token[: data.draw(st.integers(0, len(token) - 1))], cursor.kind)
    refusal_of(token + data.draw(st.text("Aa=_ \n", min_size=1, max_size=4)), cursor.kind)


@given(st.text())
def test_no_text_is_taken_for_a_cursor_by_chance(text: str) -> None:
    refusal_of(text)


def test_a_refusal_is_a_400_that_names_the_parameter() -> None:
    assert refusal_of("x") == {
        "type": "urn:lastheard:problem:invalid-parameter",
        "title": "A query parameter is not valid",
        "status": 400,
        "errors": [
            {
                "parameter": "cursor",
                "detail": "Not a cursor of this API, or no longer valid; start again without one.",
            }
        ],
    }


def test_a_cursor_of_one_list_is_refused_on_another() -> None:
    refusal = refusal_of(CODEC.encode(PLACE), kind="worklist silence delayed")
    assert refusal["errors"][0]["detail"].startswith("This cursor belongs to another list")


def test_a_cursor_of_another_key_is_refused() -> None:
    refusal_of(CursorCodec(b"another key of good length").encode(PLACE))


def test_a_cursor_does_not_outgrow_what_is_read_back() -> None:
    with pytest.raises(ValueError, match="hash the filters"):
        CODEC.encode(Cursor("k" * 2048, NOON, ()))
    refusal_of("A" * 100_000)


def test_a_short_key_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        CursorCodec(b"short")


NO_ZONE = datetime(2026, 3, 1)  # noqa: DTZ001 - it is refused


@pytest.mark.parametrize("key", [float("nan"), float("inf"), NO_ZONE])
def test_keys_without_an_order_or_a_zone_are_refused(key: Key) -> None:
    with pytest.raises(ValueError, match=r"NaN|aware"):
        CODEC.encode(Cursor("k", NOON, (key,)))


def test_an_instant_of_another_zone_is_the_same_instant() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=-5)))
    assert CODEC.encode(Cursor(PLACE.kind, elsewhere, PLACE.after)) == CODEC.encode(PLACE)
