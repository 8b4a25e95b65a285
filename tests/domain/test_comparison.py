"""The comparison of plain news says what the comparison of any update says, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain import comparison
from domain.held import Held, to_instant, to_micros
from domain.model import CanonicalUpdate, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SIGNALS = ("soc_percent", "odometer_km", "charging", "charging_status", "position", "no_signal")
instants = st.sampled_from(
    [NOON + timedelta(seconds=seconds) for seconds in (-20, -1, 0, 0.000001, 20)]
    + [NOON.astimezone(timezone(timedelta(hours=2))), datetime(1999, 1, 1, tzinfo=UTC)]
)
values = st.sampled_from(
    [50.0, 50, 51.5, -1, 1e9, True, "A", (52.1, 5.1), (52.1, 95.0), float("nan")]
)
readings = st.builds(Reading, st.sampled_from(SIGNALS), values, instants)
micros = instants.filter(lambda at: at.year > 2000).map(to_micros)
held = st.builds(Held, values, micros, micros, st.none() | micros, st.none() | micros)


def update_of(given_readings: Sequence[Reading], **rest: Any) -> CanonicalUpdate:
    return CanonicalUpdate("w", "p", "d", None, None, tuple(given_readings), NOON, "t", **rest)


def both(
    update: CanonicalUpdate, document: dict[str, Held]
) -> tuple[comparison.Comparison | None, comparison.Comparison]:
    """Return what the comparison of plain news says, and what the one of any update says."""
    entries = {signal: one.entry for signal, one in document.items()}
    quick = comparison._compare_news(update, entries)
    whole = comparison._compare(update, entries, None)
    if whole is None:
        dropped: list[Any] = []
        whole = comparison._compare(comparison._clean(update, 300.0, dropped), entries, dropped)
    assert whole is not None
    return quick, whole._replace(advanced=tuple(whole.advanced))


@given(
    st.lists(readings, max_size=4)
    | st.lists(readings, min_size=2, max_size=2).map(
        lambda two: [two[0], two[1]._replace(observed_at=two[0].observed_at)]
    ),
    st.dictionaries(st.sampled_from(SIGNALS), held),
    st.none() | instants.filter(lambda at: at.tzinfo is UTC),
)
@example([Reading("soc_percent", 50.0, NOON)] * 2, {}, None)
@example([Reading("soc_percent", 50.0, NOON)], {"soc_percent": Held(50.0, 1, 0)}, None)
def test_plain_news_are_compared_as_any_update_is(
    given_readings: list[Reading], document: dict[str, Held], reception_at: datetime | None
) -> None:
    quick, whole = both(update_of(given_readings, reception_at=reception_at), document)
    assert quick is None or quick._replace(advanced=tuple(quick.advanced)) == whole


def test_each_time_and_value_is_compared_as_in_any_update() -> None:
    times = [to_micros(NOON) + micros for micros in (-20_000_000, -1, 0, 1, 20_000_000)]
    quick_ways = 0
    for stated, held_stated, delay, value, changed in product(
        times, times, (-11_000_000, -1, 0, 5), (50.0, 51.0), (None, -7)
    ):
        entry = (50.0, held_stated, delay, None, changed)
        reading = Reading("soc_percent", value, to_instant(stated))
        quick, whole = both(update_of([reading]), {"soc_percent": Held.of(entry)})
        assert quick is None or quick._replace(advanced=tuple(quick.advanced)) == whole
        quick_ways += quick is not None
    assert quick_ways == 2 * 2 * 2 * 3  # of stated and held times, delays, values and changes


BEFORE = to_micros(NOON) - 60_000_000


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (50.0, Held(50.0, BEFORE, BEFORE, None, BEFORE - 5)),
        (51.0, Held(50.0, BEFORE, BEFORE, None, BEFORE - 5)),
        (50.0, Held(50.0, BEFORE, BEFORE)),
        (50.0, Held(50.0, BEFORE, BEFORE + 3, BEFORE + 2, BEFORE)),
        (50.0, None),
    ],
)
def test_plain_news_take_the_quick_way(value: float, found: Held | None) -> None:
    document = {} if found is None else {"soc_percent": found}
    update = update_of([Reading("soc_percent", value, NOON), Reading("position", (1.0, 2.0), NOON)])
    quick, whole = both(update, document)
    assert quick is not None
    assert quick._replace(advanced=tuple(quick.advanced)) == whole
