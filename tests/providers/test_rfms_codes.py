"""Codes for "not available" that only rFMS has."""

from __future__ import annotations

import orjson
import pytest

from providers.rfms.wire import read_page

AT = "2026-03-01T12:00:00Z"


@pytest.mark.parametrize(("altitude", "read"), [(5600, 5691.875), (5500, 5500), (-40, -40)])
def test_an_altitude_that_j1939_cannot_mean_is_a_code(altitude: int, read: float) -> None:
    position = {"altitude": altitude, "positionDateTime": AT}
    status = {"vin": "V", "createdDateTime": AT, "snapshotData": {"gnssPosition": position}}
    body = {"vehicleStatusResponse": {"vehicleStatuses": [status]}, "moreDataAvailable": False}
    page = read_page(orjson.dumps(body))
    assert [reading.value for reading in page.samples[0].readings] == [read]
