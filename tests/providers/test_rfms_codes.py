"""Codes and words for "not available" in rFMS records."""

from __future__ import annotations

import pytest

from domain.model import Reading
from tests.providers.rfms_shapes import AT, CREATED, read_statuses, status_of


@pytest.mark.parametrize(("altitude", "read"), [(5600, 5691.875), (5500, 5500), (-40, -40)])
def test_an_altitude_that_j1939_cannot_mean_is_a_code(altitude: int, read: float) -> None:
    position = {"altitude": altitude, "positionDateTime": CREATED}
    page = read_statuses(status_of(snapshotData={"gnssPosition": position}))
    assert [reading.value for reading in page.samples[0].readings] == [read]


@pytest.mark.parametrize("word", ["N/A", "NOT AVAILABLE", "not_available", "null", "None", "n.a."])
def test_a_word_for_not_available_is_handed_on_to_be_counted(word: str) -> None:
    position = {"latitude": 52.0, "longitude": word, "heading": word, "positionDateTime": word}
    snapshot = {
        "hybridBatteryPackRemainingCharge": word,
        "estimatedTimeBatteryPackChargingCompleted": word,
        "gnssPosition": position,
    }
    page = read_statuses(status_of(snapshotData=snapshot))
    assert page.malformed == ()
    (sample,) = page.samples
    signals = ("soc_percent", "charging_complete_at", "position", "heading_deg")
    assert sample.readings == tuple(Reading(name, "NOT_AVAILABLE", AT) for name in signals)
