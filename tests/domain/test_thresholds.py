"""The order of thresholds, and which of them applies to a device."""

from __future__ import annotations

from dataclasses import asdict, replace
from math import nan
from typing import Any

import pytest

from domain.model import Policy, PolicyOverride
from domain.thresholds import (
    OVERRIDABLE,
    Thresholds,
    check_override,
    check_policy,
    is_in_order,
    resolve_thresholds,
)
from tests.domain.fixtures import BUS_7, HARBOUR_LINES, TRAM_AND_BUS


def resolve(provider: Any = None, device: Any = None, expected: float | None = None) -> Thresholds:
    connection = replace(
        TRAM_AND_BUS, override=PolicyOverride(**(provider or {})), expected_update_seconds=expected
    )
    return resolve_thresholds(
        HARBOUR_LINES, connection, replace(BUS_7, override=PolicyOverride(**(device or {})))
    )


@pytest.mark.parametrize(
    ("provider", "device", "limits"),
    [
        ({}, {}, (4320, 10800, 3600)),
        ({"delayed_after_seconds": 500}, {}, (500, 10800, 3600)),
        ({"stale_after_seconds": 1000}, {"delayed_after_seconds": 400}, (400, 1000, 3600)),
        ({"grace_seconds": 60}, {}, (4320, 10800, 60)),
    ],
)
def test_a_documented_period_leaves_what_people_set(
    provider: Any, device: Any, limits: tuple[float, ...]
) -> None:
    """It raises neither the grace nor an overridden limit; one that was stated raises both."""
    connection = replace(
        TRAM_AND_BUS,
        override=PolicyOverride(**provider),
        expected_update_seconds=3600,
        period_is_documented=True,
    )
    found = resolve_thresholds(
        HARBOUR_LINES, connection, replace(BUS_7, override=PolicyOverride(**device))
    )
    assert (found.delayed_after_seconds, found.stale_after_seconds, found.grace_seconds) == limits


@pytest.mark.parametrize(
    ("provider", "device", "expected", "limits", "source"),
    [
        ({}, {}, None, (360, 900, 3600), "workspace"),
        ({"delayed_after_seconds": 500}, {}, None, (500, 900, 3600), "provider"),
        (
            {"delayed_after_seconds": 500},
            {"stale_after_seconds": 700},
            None,
            (500, 700, 3600),
            "device",
        ),
        ({}, {"delayed_after_seconds": 1800}, None, (1800, 1800, 3600), "device"),
        ({"grace_seconds": 10}, {"grace_seconds": 20}, None, (360, 900, 20), "device"),
        ({}, {}, 900, (1080, 2700, 3600), "expected_update_seconds"),
        ({}, {}, 3600, (4320, 10800, 10800), "expected_update_seconds"),
        ({}, {}, 60, (360, 900, 3600), "workspace"),
        (
            {},
            {"delayed_after_seconds": 5000},
            3600,
            (5000, 10800, 10800),
            "expected_update_seconds",
        ),
    ],
)
def test_the_nearest_place_that_sets_a_threshold_decides(
    provider: Any,
    device: Any,
    expected: float | None,
    limits: tuple[float, float, float],
    source: str,
) -> None:
    applied = Thresholds(300.0, *limits, expected, source)
    resolved = resolve(provider, device, expected)
    assert resolved == applied._replace(period_seconds=expected or 0.0)


@pytest.mark.parametrize(
    ("interval", "expected", "limits", "source"),
    [
        (60, None, (360, 900, 3600), "workspace"),
        (300, None, (360, 900, 3600), "workspace"),
        (600, None, (720, 1800, 3600), "poll_interval_seconds"),
        (3600, None, (4320, 10800, 3600), "poll_interval_seconds"),
        (300, 3600, (4680, 11700, 11700), "expected_update_seconds"),
        (300, 100, (480, 1200, 3600), "expected_update_seconds"),
    ],
)
def test_polls_that_come_rarely_raise_the_limits(
    interval: int, expected: float | None, limits: tuple[float, float, float], source: str
) -> None:
    """The defaults hold at 300 s, and nothing alternates at 600. The grace is left alone."""
    workspace = replace(HARBOUR_LINES, poll_interval_seconds=interval)
    connection = replace(TRAM_AND_BUS, transport="poll", expected_update_seconds=expected)
    period = interval + (expected or 0.0)
    resolved = resolve_thresholds(workspace, connection, BUS_7)
    assert resolved == Thresholds(300.0, *limits, expected, source)._replace(period_seconds=period)


@pytest.mark.parametrize(
    ("transport", "limits"),
    [("stream", (720, 1800)), ("poll", (720, 1800)), ("push", (360, 900))],
)
def test_a_stream_counts_its_polls_for_what_lives_on_calls(
    transport: Any, limits: tuple[float, float]
) -> None:
    workspace = replace(HARBOUR_LINES, poll_interval_seconds=600)
    connection = replace(TRAM_AND_BUS, transport=transport)
    resolved = resolve_thresholds(workspace, connection, BUS_7, lives_on_calls=True)
    assert (resolved.delayed_after_seconds, resolved.stale_after_seconds) == limits


@pytest.mark.parametrize("transport", ["stream", "push"])
def test_what_comes_unasked_does_not_wait_for_a_poll(transport: Any) -> None:
    workspace = replace(HARBOUR_LINES, poll_interval_seconds=3600)
    limits = resolve_thresholds(workspace, replace(TRAM_AND_BUS, transport=transport), BUS_7)
    assert limits == Thresholds(300.0, 360, 900, 3600, None, "workspace")


@pytest.mark.parametrize(
    ("policy", "fields"),
    [
        (Policy(), []),
        (Policy(delayed_after_seconds=300.0), []),
        (Policy(delayed_after_seconds=299.9), ["delayed_after_seconds"]),
        (Policy(stale_after_seconds=360.1), []),
        (Policy(stale_after_seconds=360.0), ["stale_after_seconds"]),
        (Policy(freshness_target_seconds=0.0), ["freshness_target_seconds"]),
        (Policy(grace_seconds=0.0), ["grace_seconds"]),
        (Policy(grace_seconds=nan), ["grace_seconds"]),
        (Policy(600.0, 500.0, 400.0, 1.0), ["delayed_after_seconds", "stale_after_seconds"]),
    ],
)
def test_a_policy_is_target_up_to_delayed_below_stale(policy: Policy, fields: list[str]) -> None:
    assert [fault.field for fault in check_policy(policy)] == fields


@pytest.mark.parametrize("name", OVERRIDABLE)
def test_an_override_is_above_zero(name: str) -> None:
    assert check_override(PolicyOverride(**{name: 0.1})) == []
    assert [fault.field for fault in check_override(PolicyOverride(**{name: 0.0}))] == [name]


@pytest.mark.parametrize(
    ("delayed", "stale", "right"),
    [
        (1.0, 1.1, True),
        (1.0, 1.0, False),
        (2.0, 1.0, False),
        (None, 1.0, True),
        (1.0, None, True),
    ],
)
def test_delayed_comes_before_stale(
    delayed: float | None, stale: float | None, right: bool
) -> None:
    assert is_in_order(delayed, stale) is right


def test_a_policy_has_every_threshold_that_can_be_overridden() -> None:
    assert set(OVERRIDABLE) == {*asdict(Policy())} - {"freshness_target_seconds"}
