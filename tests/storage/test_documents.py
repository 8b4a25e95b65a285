"""The stored form of held values and of an event's readings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.held import Held, to_instant, to_micros
from domain.model import Reading
from ports.ingest import UnitPoisoned
from storage.documents import (
    dump_document,
    dump_readings,
    read_document,
    read_readings,
    read_values,
)

AT = datetime(2026, 11, 28, 10, 4, tzinfo=UTC)
ISO = "2026-11-28T10:04:00Z"
MOMENT = to_micros(AT)
micros = st.integers(to_micros(datetime(1, 1, 1, tzinfo=UTC)), to_micros(AT))
values = (
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
times = st.datetimes(timezones=st.just(UTC))


@given(
    st.dictionaries(
        st.sampled_from(["soc_percent", "speed_kmh", "charging_status"]),
        st.builds(Held, values, micros, micros, st.none() | micros, st.none() | micros),
    )
)
def test_every_time_comes_back_to_the_microsecond(document: dict[str, Held]) -> None:
    stored = dump_document({signal: held.entry for signal, held in document.items()})
    assert read_values(stored) == document


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_equals_itself_after_it_was_stored(at: datetime) -> None:
    assert to_instant(to_micros(at)) == at


def test_a_position_is_stored_as_one_and_read_as_two() -> None:
    here = Held((52.09, 5.11), MOMENT, MOMENT)
    stored = dump_document({"position": here.entry})
    assert list(orjson.loads(stored)) == ["position"]
    assert read_document(stored)["position"][0] == (52.09, 5.11)
    assert read_values(stored) == {
        "latitude_deg": here._replace(value=52.09),
        "longitude_deg": here._replace(value=5.11),
    }


def old(**entries: tuple[object, str]) -> str:
    return orjson.dumps(entries).decode()


def test_a_document_of_before_is_read() -> None:
    stored = old(soc_percent=(88.5, ISO), charging_status=("A", ISO))
    assert read_values(stored) == {
        "soc_percent": Held(88.5, MOMENT, MOMENT),
        "charging_status": Held("A", MOMENT, MOMENT),
    }


def test_old_halves_of_one_instant_become_one_position() -> None:
    stored = old(latitude_deg=(52.09, ISO), longitude_deg=(5.11, ISO), soc_percent=(1, ISO))
    document = read_document(stored)
    assert document.keys() == {"position", "soc_percent"}
    assert document["position"][0] == (52.09, 5.11)
    assert read_values(stored)["longitude_deg"].value == 5.11


def test_old_halves_of_two_instants_are_no_position() -> None:
    stored = old(
        latitude_deg=(52.09, ISO),
        longitude_deg=(5.11, "2026-11-28T10:05:00Z"),
        soc_percent=(1, ISO),
    )
    assert read_document(stored).keys() == read_values(stored).keys() == {"soc_percent"}


def test_a_text_that_looks_like_an_old_entry_is_a_text() -> None:
    document = {"charging_status": Held('Z"]', MOMENT, MOMENT).entry}
    assert read_values(dump_document(document))["charging_status"].value == 'Z"]'


def test_readings_of_an_event_are_read_by_their_wire_names() -> None:
    readings = [Reading("position", (52.09, 5.11), AT), Reading("soc_percent", 5, AT)]
    found = {"latitude_deg": (52.09, AT), "longitude_deg": (5.11, AT), "soc_percent": (5, AT)}
    observed_at, text = dump_readings(readings)
    assert text == '{"position":[52.09,5.11],"soc_percent":5}'
    assert read_readings(text, observed_at) == found


def test_readings_of_an_event_of_before_are_read() -> None:
    assert read_readings(old(latitude_deg=(52.09, ISO), soc_percent=(5, ISO)), None) == {
        "latitude_deg": (52.09, AT),
        "soc_percent": (5, AT),
    }


def test_a_reading_of_another_time_has_it_beside_its_value() -> None:
    before = AT - timedelta(seconds=15)
    readings = [Reading("position", (52.09, 5.11), before), Reading("soc_percent", 5, AT)]
    observed_at, text = dump_readings(readings)
    assert (observed_at, text) == (AT, '{"position":[[52.09,5.11],-15000000],"soc_percent":5}')
    assert read_readings(text, observed_at)["latitude_deg"] == (52.09, before)


@given(
    st.lists(
        st.builds(
            Reading, st.sampled_from(["soc_percent", "speed_kmh", "charging_status"]), values, times
        ),
        min_size=1,
    )
)
def test_readings_of_an_event_come_back_exactly(readings: list[Reading]) -> None:
    try:
        observed_at, text = dump_readings(readings)
    except UnitPoisoned:
        assert any("\x00" in str(reading.value) for reading in readings)
        return
    expected = {signal: (value, at) for signal, value, at in readings}
    assert read_readings(text, observed_at) == expected
    assert observed_at == max(at for _, at in expected.values())


def test_a_value_with_nul_is_poison_and_its_spelling_is_not() -> None:
    with pytest.raises(UnitPoisoned) as poisoned:
        dump_readings([Reading("charging_status", "a\x00", AT)])
    assert poisoned.value.sqlstate == "22P05"
    dump_readings([Reading("charging_status", "a\\u0000", AT)])


def test_no_document_is_an_empty_one() -> None:
    assert read_document(None) == read_document("{}") == {}
