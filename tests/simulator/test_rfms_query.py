"""The parameters of /rfms/vehiclestatuses by the rules of rFMS 4.0."""

from __future__ import annotations

import pytest

from simulator.rfms_query import Refusal, StatusQuery, next_link, read_query

INSTANT = 1_780_000_000.0
TEXT = "2026-05-28T20:26:40Z"


@pytest.mark.parametrize(
    ("parameters", "description"),
    [
        ({}, "either starttime or latestOnly=true is needed"),
        ({"latestOnly": "false"}, "either starttime or latestOnly=true is needed"),
        ({"stoptime": TEXT}, "either starttime or latestOnly=true is needed"),
        ({"latestOnly": "true", "starttime": TEXT}, "latestOnly excludes starttime and stoptime"),
        ({"latestOnly": "true", "stoptime": TEXT}, "latestOnly excludes starttime and stoptime"),
        ({"latestOnly": "yes"}, "latestOnly must be true or false"),
        ({"starttime": "yesterday"}, "starttime is no ISO 8601 time: 'yesterday'"),
        ({"starttime": TEXT, "datetype": "sent"}, "datetype must be received or created"),
        (
            {"starttime": TEXT, "contentFilter": "ALL"},
            "contentFilter takes ACCUMULATED, SNAPSHOT, UPTIME",
        ),
    ],
)
def test_wrong_parameters_are_refused_with_the_reason(
    parameters: dict[str, str], description: str
) -> None:
    assert read_query(parameters) == Refusal(400, "InvalidParameter", description)


def test_a_full_query_is_read() -> None:
    query = read_query(
        {
            "starttime": TEXT,
            "stoptime": "2026-05-28T22:26:41.750+02:00",
            "datetype": "created",
            "vin": "YS4X",
            "triggerFilter": "TIMER,IGNITION_ON",
            "contentFilter": "SNAPSHOT",
            "after": "1780000000.5~17",
        }
    )
    assert query == StatusQuery(
        latest_only=False,
        by_created=True,
        start=INSTANT,
        stop=INSTANT + 1,
        vin="YS4X",
        triggers=frozenset({"TIMER", "IGNITION_ON"}),
        contents=frozenset({"SNAPSHOT"}),
        last_vin=None,
        after=(1_780_000_000.5, 17),
    )


@pytest.mark.parametrize("text", [TEXT, "2026-05-28T20:26:40.999Z", "2026-05-28T20:26:40"])
def test_milliseconds_are_ignored_and_no_zone_is_utc(text: str) -> None:
    query = read_query({"starttime": text})
    assert isinstance(query, StatusQuery)
    assert query.start == INSTANT


def test_a_link_keeps_the_request_s_parameters() -> None:
    link = next_link(
        "/rfms/vehiclestatuses", {"starttime": TEXT, "vin": "YS4X"}, {"after": "1.5~2"}
    )
    assert link == "/rfms/vehiclestatuses?starttime=2026-05-28T20%3A26%3A40Z&vin=YS4X&after=1.5~2"
