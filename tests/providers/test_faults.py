"""Answers and broken exchanges become the faults that health tells people."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from domain.model import FaultClass
from providers.faults import describe_target, fault_for_error, fault_for_status, retry_after_seconds

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
PLACE = "https://provider.example/state"


@pytest.mark.parametrize(
    ("status", "fault", "permanent"),
    [
        (204, FaultClass.PROTOCOL, False),
        (302, FaultClass.CONFIGURATION, True),
        (304, FaultClass.PROTOCOL, False),
        (400, FaultClass.CONFIGURATION, True),
        (401, FaultClass.CREDENTIALS, True),
        (403, FaultClass.CREDENTIALS, True),
        (404, FaultClass.CONFIGURATION, True),
        (406, FaultClass.CONFIGURATION, True),
        (408, FaultClass.OUTAGE, False),
        (429, FaultClass.QUOTA, False),
        (500, FaultClass.OUTAGE, False),
        (503, FaultClass.OUTAGE, False),
    ],
)
def test_each_status_has_its_fault(status: int, fault: FaultClass, permanent: bool) -> None:
    made = fault_for_status(status, {}, PLACE, "", NOW)
    assert (made.fault, made.permanent, made.retry_after) == (fault, permanent, None)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.40235"}, 0.40235),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "1e9"}, 86_400.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Sun, 01 Mar 2026 12:00:30 GMT"}, 30.0),
        (
            {
                "retry-after": "Sun, 01 Mar 2026 12:00:30 GMT",
                "date": "Sun, 01 Mar 2026 12:00:20 GMT",
            },
            10.0,
        ),
        ({"retry-after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_seconds(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-rate-limit-reset": str(int(NOW.timestamp()) + 45)}, 45.0),
        (
            {
                "x-rate-limit-reset": str(int(NOW.timestamp()) + 45),
                "date": "Sun, 01 Mar 2026 12:00:15 GMT",
            },
            30.0,
        ),
        ({"x-rate-limit-reset": str(int(NOW.timestamp()) + 45), "retry-after": "5"}, 5.0),
        (
            {"x-rate-limit-reset": "2026-03-01T12:01:00.1234567Z"},
            None,
        ),  # another maker's header of the same name
        ({"x-rate-limit-reset": "0"}, 0.0),
    ],
)
def test_a_quota_says_when_its_window_starts_anew(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert fault_for_status(429, headers, PLACE, "", NOW).retry_after == seconds


def test_a_reset_header_means_nothing_but_on_a_quota() -> None:
    assert (
        fault_for_status(503, {"x-rate-limit-reset": "9999999999"}, PLACE, "", NOW).retry_after
        is None
    )


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (httpx.ConnectError("refused"), FaultClass.OUTAGE),
        (httpx.ConnectTimeout("slow"), FaultClass.OUTAGE),
        (httpx.ReadError("reset"), FaultClass.OUTAGE),
        (
            httpx.RemoteProtocolError("Server disconnected without sending a response."),
            FaultClass.OUTAGE,
        ),
        (
            httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body"
            ),
            FaultClass.OUTAGE,
        ),
        (
            httpx.RemoteProtocolError("illegal status line: bytearray(b'HTTP/1.1 hunter2')"),
            FaultClass.PROTOCOL,
        ),
        (
            httpx.RemoteProtocolError("illegal header line: b'disconnected: hunter2'"),
            FaultClass.PROTOCOL,
        ),
        (httpx.LocalProtocolError("Illegal header value b'hunter2\\n'"), FaultClass.CONFIGURATION),
    ],
)
def test_each_broken_exchange_has_its_fault(error: httpx.HTTPError, fault: FaultClass) -> None:
    made = fault_for_error(error, PLACE)
    assert made.fault is fault
    assert "hunter2" not in str(made)


def test_a_place_shows_neither_query_nor_user() -> None:
    url = httpx.URL("https://user:pw@provider.example:8443/a/b?apiKey=s3cret#x")
    assert describe_target(url) == "https://provider.example:8443/a/b"
