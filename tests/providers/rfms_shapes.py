"""Statuses and pages of an rFMS maker, and how tests read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from hypothesis import strategies as st

from providers.rfms.wire import StatusPage, read_page

CREATED = "2026-03-01T12:00:00Z"
AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
POSITION_AT = datetime(2026, 3, 1, 11, 59, 50, tzinfo=UTC)
RECEIVED_AT = datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC)
VIN = "YS2R8X40005399401"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text("aZ0:-", max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=6,
)


def status_of(**fields: Any) -> dict[str, Any]:
    return {
        "vin": VIN,
        "createdDateTime": CREATED,
        "receivedDateTime": "2026-03-01T12:00:07Z",
    } | fields


def read_statuses(*statuses: Any, **fields: Any) -> StatusPage:
    page = {
        "vehicleStatusResponse": {"vehicleStatuses": list(statuses)},
        "moreDataAvailable": False,
    }
    return read_page(orjson.dumps(page | fields))


def readings_of(**snapshot: Any) -> list[tuple[str, Any]]:
    page = read_statuses(status_of(snapshotData=snapshot))
    assert page.malformed_count == 0
    return [
        (reading.signal, reading.value) for sample in page.samples for reading in sample.readings
    ]
