"""The forms of an instant: what is read, and what says none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legacy.times import (
    NAMED_FORMATS,
    PatternFormat,
    read_epoch_milliseconds,
    read_epoch_seconds,
    read_rfc3339,
)
from tests.legacy.test_expressions import ANY_JSON

TEN = datetime(2026, 5, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2026-05-01T10:00:00Z", TEN),
        ("2026-05-01t12:00:00+02:00", TEN),
        ("2026-05-01 10:00:00.5Z", TEN + timedelta(seconds=0.5)),
        ("2026-05-01T10:00:00.123456789Z", TEN + timedelta(microseconds=123_456)),
        ("2026-05-01T10:00:00", None),
        ("2026-05-01", None),
        ("2026-02-30T10:00:00Z", None),
        ("1970-01-01T00:00:00Z", None),
        ("2026-05-01T10:00:00Z ", None),
        (1_777_629_600, None),
        (None, None),
    ],
)
def test_rfc_3339_needs_an_offset(value: Any, instant: datetime | None) -> None:
    assert read_rfc3339(value) == instant


@pytest.mark.parametrize(
    ("value", "seconds", "milliseconds"),
    [
        (TEN.timestamp(), TEN, None),
        (TEN.timestamp() * 1000, None, TEN),
        (True, None, None),
        (str(TEN.timestamp()), None, None),
        (-1, None, None),
        (1e300, None, None),
        (10**400, None, None),
    ],
)
def test_an_epoch_in_the_wrong_unit_says_no_instant(
    value: Any, seconds: datetime | None, milliseconds: datetime | None
) -> None:
    assert (read_epoch_seconds(value), read_epoch_milliseconds(value)) == (seconds, milliseconds)


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("01.05.2026 12:00:00", TEN),
        ("01.01.2026 11:00:00", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("29.03.2026 02:30:00", None),  # that night has no such hour
        ("25.10.2026 02:30:00", None),  # that night has it twice
        ("1.5.26", None),
        ("x" * 1000, None),
        (5, None),
    ],
)
def test_a_pattern_is_in_its_zone(value: Any, instant: datetime | None) -> None:
    assert PatternFormat("%d.%m.%Y %H:%M:%S", "Europe/Paris")(value) == instant


def test_a_pattern_with_an_offset_needs_no_zone() -> None:
    assert PatternFormat("%Y%m%d %H%M%S %z", None)("20260501 120000 +0200") == TEN


@given(ANY_JSON, st.sampled_from(sorted(NAMED_FORMATS)))
def test_any_value_is_an_instant_in_utc_or_none(value: Any, name: str) -> None:
    instant = NAMED_FORMATS[name](value)
    assert instant is None or instant.tzinfo is UTC
