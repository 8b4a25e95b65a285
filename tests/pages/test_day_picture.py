"""The day of a device as lanes and lines, from the API's JSON."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from api.pages.day_picture import BAD, GOOD, AgeLimits, DayPicture
from api.pages.edge_words import CONNECTION_EDGES, DEVICE_EDGES
from api.pages.time_window import TimeSpan

NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW: Final = TimeSpan(NOON, NOON + timedelta(hours=1))
LIMITS: Final = AgeLimits(timedelta(minutes=6), timedelta(minutes=15))
SCHEMA: Final = Path(__file__).parents[2] / "storage" / "schema.sql"


def at(minutes: float) -> str:
    return (NOON + timedelta(minutes=minutes)).isoformat()


def picture(**parts: Any) -> DayPicture:
    day: dict[str, Any] = {
        "begins_at": at(0),
        "ends_at": at(60),
        "bucket_seconds": 60.0,
        **{key: [] for key in ("receipts", "gaps", "cycles", "refusals")},
        **{key: [] for key in ("connection_edges", "device_edges")},
    }
    return DayPicture({**day, **parts}, WINDOW, LIMITS, "Europe/Berlin")


def cycles(minutes: float, outcome: str, answer: str | None = "ok") -> dict[str, Any]:
    slots = {"first_slot_at": at(minutes), "last_slot_at": at(minutes)}
    return {**slots, "outcome": outcome, "answer": answer, "cycles": 1}


def edge(minutes: float, kind: str, detail: str | None = None) -> dict[str, Any]:
    return {"at": at(minutes), "kind": kind, "fault": None, "detail": detail}


def test_a_gap_is_half_high_from_delayed_and_full_from_stale() -> None:
    gap = {"begins_at": at(0), "ends_at": at(30), "seconds": 1800.0}
    lane = picture(gaps=[gap]).lanes()[1]
    assert [(mark.kind, mark.left, mark.width, mark.height) for mark in lane.marks] == [
        ("delayed", "10.000%", "15.000%", "50.000%"),
        ("stale", "25.000%", "25.000%", "100.000%"),
    ]
    assert lane.marks[0].says == "13:00:00 to 13:30:00: no data for 30 min"


def test_a_pause_within_the_limit_is_no_gap() -> None:
    gap = {"begins_at": at(0), "ends_at": at(5), "seconds": 300.0}
    assert picture(gaps=[gap]).happenings() == []


def test_cycles_with_the_same_trouble_are_one_line() -> None:
    told = picture(
        cycles=[
            cycles(0, "completed"),
            *(cycles(n, "missed") for n in (5, 10)),
            cycles(15, "completed"),
        ]
    ).happenings()
    assert [(one.mark, one.what.split(":")[0]) for one in told] == [(BAD, "2 cycles missed")]


def test_a_good_cycle_without_the_devices_connection_is_trouble() -> None:
    (told,) = picture(cycles=[cycles(5, "partial", "timed out")]).happenings()
    assert (told.mark, told.detail) == (BAD, "the device's connection: timed out")


def test_a_bad_edge_lasts_until_the_next_one_of_its_fact() -> None:
    edges = [edge(-30, "stream_closed"), edge(15, "call_failed"), edge(30, "stream_opened")]
    marks = picture(connection_edges=edges).lanes()[4].marks
    assert [(mark.kind, mark.left, mark.width) for mark in marks] == [
        ("edge-bad", "0.000%", "50.000%"),
        ("edge-good", "50.000%", "0.150%"),
        ("edge-bad", "25.000%", "75.000%"),
    ]


def test_an_edge_before_the_window_is_no_line_of_the_table() -> None:
    told = picture(device_edges=[edge(-5, "named"), edge(5, "left_out", "not in it")]).happenings()
    assert [(one.mark, one.detail) for one in told] == [(BAD, "not in it")]


def test_lines_are_newest_first() -> None:
    told = picture(device_edges=[edge(5, "refused"), edge(9, "accepted")]).happenings()
    assert [one.mark for one in told] == [GOOD, BAD]


@pytest.mark.parametrize(
    ("table", "known"), [("connection_events", CONNECTION_EDGES), ("device_events", DEVICE_EDGES)]
)
def test_every_kind_of_edge_has_words(table: str, known: Any) -> None:
    found = re.search(rf"CONSTRAINT {table}_kind_check(.*?)\)\)", SCHEMA.read_text(), re.DOTALL)
    assert found is not None
    assert set(re.findall(r"'(\w+)'", found[1])) == set(known)
