"""Updates as JSON: what is read back is the update itself, or it is not kept as whole."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.model import MAX_WHOLE_BYTES, CanonicalUpdate, Reading
from storage.unit.ledger import quarantine_row
from storage.whole_updates import dump_update, is_read_back, read_update

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
UPDATE = CanonicalUpdate("north", "live", "bus-1", "x-1", "v-1", (), NOON, "trace-1")

instants = st.datetimes(timezones=st.just(UTC))
pairs = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
values = (
    st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
    | pairs
)
readings = st.builds(Reading, st.sampled_from(["soc_percent", "position"]), values, instants)
updates = st.builds(
    UPDATE._replace,
    device_id=st.none() | st.just("bus-1"),
    external_id=st.none() | st.text(st.characters(codec="utf-8")),
    readings=st.lists(readings, max_size=4).map(tuple),
    received_at=instants,
    reception_at=st.none() | instants,
    arrivals=st.none() | st.lists(instants, max_size=4).map(tuple),
)


def types_of(update: CanonicalUpdate) -> list[type]:
    return [type(reading.value) for reading in update.readings]


@given(updates)
def test_an_update_is_read_back_as_it_was(update: CanonicalUpdate) -> None:
    text = dump_update(update)
    assert read_update(text) == update
    assert types_of(read_update(text)) == types_of(update)  # True is not 1, nor 1 1.0
    assert is_read_back(update, text)


@pytest.mark.parametrize(
    "reading",
    [
        pytest.param(Reading("soc_percent", float("nan"), NOON), id="NaN"),
        pytest.param(Reading("soc_percent", 2**70, NOON), id="a number of more than 64 bits"),
        pytest.param(Reading("text", "\ud800", NOON), id="a lone surrogate"),
        pytest.param(("not", "a reading"), id="no reading"),
        pytest.param(None, id="nothing"),
    ],
)
def test_what_is_not_read_back_as_it_was_is_kept_as_a_sample(reading: Reading) -> None:
    row = quarantine_row("http", UPDATE._replace(readings=(reading,)), "judge_error", "a bug")
    assert not row.is_whole
    assert row.sample


def test_an_update_is_kept_whole_up_to_its_limit() -> None:
    def row_of(characters: int) -> tuple[int, bool]:
        update = UPDATE._replace(readings=(Reading("text", "x" * characters, NOON),))
        row = quarantine_row("http", update, "data_error", "refused")
        return len(row.sample), row.is_whole

    spare = MAX_WHOLE_BYTES - row_of(0)[0]
    assert row_of(spare) == (MAX_WHOLE_BYTES, True)
    assert row_of(spare + 1) == (4096, False)
