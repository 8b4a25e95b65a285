"""Acceptance under every order and repetition of a feed, against a model of three lines."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from domain.acceptance import judge
from domain.model import Outcome
from tests.domain.fixtures import NOW, ago, fold, reading, update, values_of

if TYPE_CHECKING:
    from domain.acceptance import DeviceFold
    from domain.model import CanonicalUpdate, Result

Document = dict[str, tuple[Any, Any]]

# Few signals and instants, so that ties, repetitions and lateness are common. A value follows from
# signal and instant unless it is asked to contradict, since which of two contradicting values stays
# depends on the order by design.
instants = st.integers(0, 12).map(lambda minutes: ago(minutes=minutes))
signals = st.sampled_from(["soc_percent", "speed_kmh", "odometer_km"])
consistent_readings = st.builds(
    lambda signal, at: reading(signal, at.minute, at), signals, instants
)
any_readings = st.one_of(
    consistent_readings,
    st.builds(reading, signals, st.sampled_from([1, 2, -5, float("nan"), True]), instants),
    st.builds(reading, signals, st.just(3), st.just(NOW + timedelta(hours=1))),
)


def updates_of(readings: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Updates that were received when their readings had been observed (see test_order.py)."""
    return st.builds(
        lambda several, at: update(
            *several,
            received_at=max([at, *(r.observed_at for r in several if r.observed_at <= NOW)]),
        ),
        st.lists(readings, min_size=1, max_size=4),
        instants,
    )


def feed(device: DeviceFold, updates: list[CanonicalUpdate]) -> list[Result]:
    return [judge(item, device) for item in updates]


def newest_of(updates: list[CanonicalUpdate]) -> Document:
    """The model: per signal the reading with the greatest time."""
    document: Document = {}
    for item in updates:
        for signal, value, at in item.readings:
            if signal not in document or at > document[signal][1]:
                document[signal] = (value, at)
    return document


@given(
    st.lists(updates_of(consistent_readings), max_size=12).flatmap(
        lambda f: st.tuples(st.just(f), st.permutations(f))
    )
)
def test_fr_015_order_and_repetition_do_not_change_the_snapshot(feeds: Any) -> None:
    straight, shuffled = feeds
    device, other = fold(), fold()
    feed(device, straight)
    feed(other, [*shuffled, *straight, *shuffled])
    assert values_of(device) == values_of(other) == newest_of(straight)
    assert device.last_observed_at == other.last_observed_at


@given(st.lists(updates_of(any_readings), max_size=12))
def test_acceptance_2_the_snapshot_is_the_fold_of_its_events(
    updates: list[CanonicalUpdate],
) -> None:
    device = fold()
    feed(device, updates)
    rebuilt = {
        item.signal: (item.value, item.observed_at)
        for event in device.events
        for item in event.readings
    }
    assert values_of(device) == rebuilt


@given(st.lists(updates_of(any_readings), max_size=12))
def test_versions_have_no_gaps_and_count_what_was_accepted(updates: list[CanonicalUpdate]) -> None:
    device = fold()
    results = feed(device, updates)
    accepted = [result.version for result in results if result.outcome is Outcome.ACCEPTED]
    assert (
        accepted
        == [event.sequence for event in device.events]
        == list(range(1, device.version + 1))
    )


@given(st.lists(updates_of(any_readings), max_size=12))
def test_fr_015_a_replay_accepts_nothing_and_changes_nothing(
    updates: list[CanonicalUpdate],
) -> None:
    device = fold()
    feed(device, updates)
    document, version, received = (
        dict(device.document),
        device.version,
        device.last_update_received_at,
    )
    assert Outcome.ACCEPTED not in {result.outcome for result in feed(device, updates)}
    assert (device.document, device.version, device.last_update_received_at) == (
        document,
        version,
        received,
    )


@given(st.lists(updates_of(any_readings), max_size=12))
def test_no_instant_of_a_device_ever_moves_back(updates: list[CanonicalUpdate]) -> None:
    device = fold()
    seen: list[Document] = []
    for item in updates:
        judge(item, device)
        times = {signal: (None, at) for signal, (_, at) in values_of(device).items()}
        for name in (
            "last_update_received_at",
            "last_observed_at",
            "last_changed_at",
        ):
            if (at := getattr(device, name)) is not None:
                times[name] = (None, at)
        seen.append(times)
    for before, after in pairwise(seen):
        assert all(after[name][1] >= at for name, (_, at) in before.items())


@given(st.lists(updates_of(any_readings), max_size=12))
def test_last_update_received_is_the_newest_accepted_arrival(
    updates: list[CanonicalUpdate],
) -> None:
    device = fold()
    results = feed(device, updates)
    arrivals = [
        item.received_at
        for item, result in zip(updates, results, strict=True)
        if result.outcome is Outcome.ACCEPTED
    ]
    assert device.last_update_received_at == max(arrivals, default=None)
