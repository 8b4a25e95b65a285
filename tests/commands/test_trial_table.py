"""A trial on a terminal: it fits 80 columns, and shortens no value and no time."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from lastheard.trial_table import describe_trial, trial_tables

ANSWER: dict[str, Any] = {
    "provider_id": "makers-of-trucks",
    "provider_type": "rfms",
    "outcome": "answered",
    "way": "call",
    "seconds": 0.42,
    "fault": None,
    "advice": ["Not configured as devices: 1 of 2 vehicles."],
    "vehicle_count": 2,
    "unconfigured_count": 1,
    "records": 3,
    "ignored": 0,
    "refusal_count": 2,
    "left_out": ["bus_9"],
    "vehicles": [
        {
            "external_id": "TESTVIN0000000001",
            "vehicle_name": "Bus 7 [depot] :house: of the northern harbour line",
            "readings": [
                {
                    "signal": "charging_complete_at",
                    "value": "2026-05-01T12:00:00.000000Z",
                    "observed_at": "2026-05-01T11:59:58.123456Z",
                },
                {
                    "signal": "total_energy_used_kwh",
                    "value": 4294967.25,
                    "observed_at": "2026-05-01T11:59:58.123456Z",
                },
            ],
        },
        {"external_id": "TESTVIN0000000002", "vehicle_name": None, "readings": []},
    ],
    "refusals": [
        {
            "external_id": None,
            "signal": "speed_kmh",
            "reason": "malformed",
            "detail": "createdDateTime is not a time with a zone",
            "occurrences": 2,
        }
    ],
    "errors": {"bus_8": "no access to this vehicle"},
}


def printed(width: int, answer: dict[str, Any] = ANSWER) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, soft_wrap=True)
    for table in trial_tables(answer):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_tables_fit_80_columns() -> None:
    text = printed(80)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("2026-05-01 11:59:58") == 2
    assert "4294967.25" in text
    assert "…" not in text
    assert "no device" in " ".join(text.split())


def test_names_are_no_markup() -> None:
    assert "Bus 7 [depot] :house: of the northern harbour line" in printed(200)


def test_the_lines_say_outcome_counts_and_advice() -> None:
    assert describe_trial(ANSWER).splitlines() == [
        "makers-of-trucks (rfms) answered over one call, in 0.4 s. Nothing was stored.",
        "2 vehicles, 1 of them not configured as devices; 3 records, 0 ignored, 2 refusals",
        "-> Not configured as devices: 1 of 2 vehicles.",
        "not in the answer: bus_9",
    ]


def test_counts_of_an_answer_without_vehicles() -> None:
    none = {**ANSWER, "vehicle_count": 0, "unconfigured_count": 0, "records": 1, "refusal_count": 0}
    assert describe_trial(none).splitlines()[1] == "0 vehicles; 1 record, 0 ignored, 0 refusals"


def test_true_is_written_as_in_json() -> None:
    reading = {"signal": "charging", "value": True, "observed_at": "2026-05-01T11:59:58Z"}
    vehicle = {"external_id": "bus", "vehicle_name": "7", "readings": [reading]}
    assert " true " in printed(80, {**ANSWER, "vehicles": [vehicle]})


def test_a_fault_is_said_with_its_remedy() -> None:
    fault = {"fault": "configuration", "detail": "http://x answered 404", "remedy": "Check it."}
    failed = {**ANSWER, "outcome": "failed", "fault": fault, "advice": ["Check it."]}
    assert describe_trial({**failed, "left_out": []}).splitlines()[1:] == [
        "configuration: http://x answered 404",
        "-> Check it.",
    ]
