"""The coalescing buffer: newest value per signal, bounded, and every frame accounted for."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.acceptance import judge
from domain.coalesce import (
    MAX_SIGNALS_PER_DEVICE,
    MAX_UNKNOWN_IDS,
    CoalescingBuffer,
    Merged,
)
from domain.order import Order, Times, compare
from domain.position import POSITION
from tests.domain.fixtures import NOW, ago, fold, reading, update, values_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from domain.model import Reading

    Frame = tuple[str, tuple[Reading, ...], float]


def instant_of(monotonic: float) -> datetime:
    """NOW is the monotonic time 0."""
    return ago(seconds=-monotonic)


class Refused(list[tuple[str, object, float]]):
    """The readings that a buffer told to refuse: device, value and arrival."""

    def __call__(self, external_id: str, item: Reading, received: float) -> None:
        self.append((external_id, item.value, received))


def buffer_of(
    known: Iterable[str], *, max_unknown: int = MAX_UNKNOWN_IDS, refused: Refused | None = None
) -> CoalescingBuffer:
    refuse = Refused() if refused is None else refused
    return CoalescingBuffer(known, instant_of=instant_of, refuse=refuse, max_unknown=max_unknown)


def test_the_newest_value_of_each_signal_is_what_a_window_leaves() -> None:
    buffer = buffer_of(["bus-7"])
    buffer.merge("bus-7", (reading("speed_kmh", 10, ago(seconds=2)),), 1.0)
    buffer.merge("bus-7", (reading("soc_percent", 88, ago(seconds=2)),), 1.1)
    buffer.merge("bus-7", (reading("speed_kmh", 12, ago(seconds=1)),), 1.2)

    assert buffer.drain(10) == [
        Merged(
            "bus-7",
            (reading("speed_kmh", 12, ago(seconds=1)), reading("soc_percent", 88, ago(seconds=2))),
            1.2,
            (1.2, 1.1),
        )
    ]
    assert len(buffer) == 0


def test_an_old_frame_does_not_make_waiting_values_look_fresher() -> None:
    buffer = buffer_of(["bus-7"])
    buffer.merge("bus-7", (reading("speed_kmh", 12, NOW),), 1.0)
    buffer.merge("bus-7", (reading("speed_kmh", 12, NOW),), 1.8)
    buffer.merge("bus-7", (reading("speed_kmh", 9, ago(minutes=1)),), 1.9)

    assert buffer.drain(1)[0].received == 1.0
    statistics = buffer.statistics()
    assert (statistics.repeated, statistics.outrun, statistics.superseded) == (1, 1, 0)


def test_a_contradiction_at_one_instant_keeps_the_first_value() -> None:
    buffer = buffer_of(["bus-7"])
    buffer.merge("bus-7", (reading("soc_percent", 88, NOW),), 1.0)
    buffer.merge("bus-7", (reading("soc_percent", 12, NOW),), 1.1)

    assert buffer.statistics().ties == 1
    assert buffer.drain(1) == [Merged("bus-7", (reading("soc_percent", 88, NOW),), 1.0, (1.0,))]


def test_whoever_waits_longest_is_drained_first() -> None:
    buffer = buffer_of(["a", "b", "c"])
    for received, external_id in enumerate("bcab"):
        buffer.merge(external_id, (reading("speed_kmh", received, NOW),), float(received))

    assert [item.external_id for item in buffer.drain(2)] == ["b", "c"]
    buffer.merge("b", (reading("speed_kmh", 1, NOW),), 9.0)
    assert [item.external_id for item in buffer.drain(2)] == ["a", "b"]


def test_a_device_is_drained_when_its_own_window_is_over() -> None:
    buffer = buffer_of(["a", "b"])
    for external_id, received in [("a", 1.0), ("b", 1.5), ("a", 1.9)]:
        buffer.merge(external_id, (reading("speed_kmh", 1, ago(seconds=-received)),), received)

    assert buffer.drain(9, opened_before=1.0) == []
    assert [item.external_id for item in buffer.drain(9, opened_before=1.1)] == ["a"]
    assert [item.external_id for item in buffer.drain(9, opened_before=2.0)] == ["b"]


def test_both_halves_of_a_position_are_replaced_or_neither() -> None:
    refused = Refused()
    buffer = buffer_of(["bus-7"], refused=refused)
    places = [(52.09, 5.11), (52.1, 5.12), (48.2, 655.35), (0.0, 0.0)]
    for second, place in enumerate(places):
        buffer.merge("bus-7", (reading(POSITION, place, ago(seconds=9 - second)),), float(second))

    (drained,) = buffer.drain(1)
    assert drained.readings == (reading(POSITION, (52.1, 5.12), ago(seconds=8)),)
    assert [value for _, value, _ in refused] == [(48.2, 655.35), (0.0, 0.0)]


@pytest.mark.parametrize("order", [1, -1])
def test_an_invalid_value_does_not_replace_a_valid_one(order: int) -> None:
    good, bad = reading("soc_percent", 88, ago(seconds=1)), reading("soc_percent", 255, NOW)
    refused = Refused()
    buffer = buffer_of(["bus-7"], refused=refused)
    for item in [good, bad][::order]:
        buffer.merge("bus-7", (item,), 1.0)

    assert buffer.drain(1) == [Merged("bus-7", (good,), 1.0, (1.0,))]
    assert buffer.statistics().invalid == 1
    assert refused == [("bus-7", 255, 1.0)]


def test_an_invalid_value_alone_is_handed_on() -> None:
    refused = Refused()
    buffer = buffer_of(["bus-7"], refused=refused)
    buffer.merge("bus-7", (reading("soc_percent", 255, ago(seconds=1)),), 1.0)
    buffer.merge("bus-7", (reading("soc_percent", 254, NOW),), 1.1)
    buffer.merge("bus-7", (reading("soc_percent", 253, ago(seconds=1)),), 1.2)
    assert buffer.drain(1) == [Merged("bus-7", (reading("soc_percent", 254, NOW),), 1.1, (1.1,))]
    assert refused == [("bus-7", 255, 1.0), ("bus-7", 253, 1.2)]


def test_unknown_ids_are_limited_until_they_are_drained() -> None:
    buffer = buffer_of(["known"], max_unknown=2)
    something = (reading("speed_kmh", 1, NOW),)
    taken = [
        buffer.merge(external_id, something, 0.0) for external_id in ("x", "y", "z", "x", "known")
    ]

    assert taken == [True, True, False, True, True]
    assert (buffer.statistics().overflow, buffer.statistics().pending_unknown) == (1, 2)
    buffer.drain(1)
    assert buffer.merge("z", something, 1.0)


def test_a_device_that_becomes_known_frees_an_unknown_place() -> None:
    buffer = buffer_of([], max_unknown=1)
    something = (reading("speed_kmh", 1, NOW),)
    buffer.merge("new", something, 0.0)
    buffer.replace_known(["new"])
    assert buffer.merge("other", something, 0.0)
    buffer.drain(2)
    assert buffer.statistics().pending_unknown == 0


def test_a_device_no_longer_known_takes_an_unknown_place() -> None:
    buffer = buffer_of(["retired"], max_unknown=1)
    something = (reading("speed_kmh", 1, NOW),)
    buffer.merge("retired", something, 0.0)
    buffer.replace_known([])
    assert not buffer.merge("other", something, 0.0)
    assert buffer.statistics().pending_unknown == 1


def test_signals_of_one_device_are_bounded() -> None:
    buffer = buffer_of(["bus-7"])
    buffer.merge(
        "bus-7", tuple(reading(f"signal_{n}", n) for n in range(MAX_SIGNALS_PER_DEVICE + 5)), 0.0
    )
    assert len(buffer.drain(1)[0].readings) == MAX_SIGNALS_PER_DEVICE
    assert buffer.statistics().signal_overflow == 5


def test_a_frame_without_readings_is_ignored_known_or_not() -> None:
    buffer = buffer_of(["bus-7"])
    assert [buffer.merge("bus-7", (), 0.0), buffer.merge("x", (), 0.0)] == [False, False]
    buffer.merge("bus-7", (reading("speed_kmh", 1),), 0.0)
    assert buffer.merge("bus-7", (), 5.0) is False
    assert buffer.statistics().empty == 3
    assert buffer.drain(1)[0].received == 0.0


def frames_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "stranger", "other stranger"]),
            st.lists(
                st.builds(
                    lambda signal, minutes, value: reading(signal, value, ago(minutes=minutes)),
                    st.sampled_from(["speed_kmh", "soc_percent"]),
                    st.integers(0, 5),
                    values,
                ),
                max_size=3,
            ).map(tuple),
            st.floats(0, 100),
        ),
        max_size=30,
    )


def frames_at(offsets: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    """Frames of one device, whose stated times are so many seconds after their arrivals."""
    return st.lists(
        st.builds(
            lambda received, offset, value: (
                "a",
                (reading("soc_percent", value, instant_of(received + offset)),),
                float(received),
            ),
            st.integers(0, 30),
            offsets,
            st.integers(0, 2),
        ),
        max_size=12,
    ).map(lambda sent: sorted(sent, key=lambda one: one[2]))


frames = frames_of(st.integers(0, 2))
frames_with_wrong_clocks = frames_at(st.sampled_from([-60, -5, 0, 5, 10, 11, 20, 240]))
frames_with_nonsense = frames_of(st.integers(0, 2) | st.sampled_from([-1, True, float("nan")]))


def fold_of(sent: list[Frame]) -> dict[str, dict[str, tuple[Reading, float]]]:
    """Each device's newest readings and their arrivals, one by one by domain.order."""
    folded: dict[str, dict[str, tuple[Reading, float]]] = {}
    for external_id, readings, received in sent:
        for item in readings:
            known = folded.setdefault(external_id, {})
            held = known.get(item.signal)
            if held is None or is_newer(item, received, *held):
                known[item.signal] = (item, received)
    return folded


def is_newer(item: Reading, received: float, held: Reading, held_arrival: float) -> bool:
    if (item.value, item.observed_at) == (held.value, held.observed_at):
        return False
    arriving = Times(item.observed_at, instant_of(received))
    return compare(arriving, Times(held.observed_at, instant_of(held_arrival))) is Order.NEWER


@given(frames | frames_with_wrong_clocks)
def test_the_buffer_folds_by_the_order_of_readings(sent: list[Frame]) -> None:
    buffer = buffer_of(["a", "b"])
    for external_id, readings, received in sent:
        buffer.merge(external_id, readings, received)

    expected = []
    for name, known in fold_of(sent).items():
        arrivals = tuple(received for _, received in known.values())
        readings = tuple(item for item, _ in known.values())
        expected.append(Merged(name, readings, max(arrivals), arrivals))
    assert buffer.drain(100) == expected


def test_a_clock_that_is_fast_does_not_hold_back_the_present() -> None:
    buffer = buffer_of(["bus-7"])
    for value, stated, received in ((80, 240, 0.0), (81, -1, 5.0), (82, 5, 5.5), (83, 3, 6.0)):
        buffer.merge("bus-7", (reading("soc_percent", value, instant_of(stated)),), received)

    assert buffer.drain(1) == [
        Merged("bus-7", (reading("soc_percent", 82, instant_of(5)),), 5.5, (5.5,))
    ]
    assert (buffer.statistics().superseded, buffer.statistics().outrun) == (1, 2)


@given(frames_with_nonsense, st.sets(st.integers(0, 30)))
def test_the_buffer_does_not_change_the_final_snapshot(sent: list[Frame], pauses: set[int]) -> None:
    buffer = buffer_of(["a", "b", "stranger", "other stranger"])
    straight = {name: fold(external_id=name) for name in ("a", "b", "stranger", "other stranger")}
    coalesced = deepcopy(straight)

    def flush() -> None:
        for name, readings, *_ in buffer.drain(100):
            judge(update(*readings, external_id=name), coalesced[name])

    for index, (name, readings, received) in enumerate(sent):
        judge(update(*readings, external_id=name), straight[name])
        buffer.merge(name, readings, received)
        if index in pauses:
            flush()
    flush()
    assert {name: values_of(device) for name, device in coalesced.items()} == {
        name: values_of(device) for name, device in straight.items()
    }


@given(frames, st.integers(1, 3))
def test_every_frame_and_every_device_is_accounted_for(sent: list[Frame], limit: int) -> None:
    buffer = buffer_of(["a"], max_unknown=1)
    taken, drained = 0, 0
    for external_id, readings, received in sent:
        taken += buffer.merge(external_id, readings, received)
        if received > 80:
            drained += len(buffer.drain(limit))

    statistics = buffer.statistics()
    assert statistics.frames == len(sent) == statistics.merged + statistics.ignored
    assert statistics.merged == taken
    assert statistics.ignored == statistics.empty + statistics.overflow
    assert (statistics.drained, statistics.pending) == (drained, len(buffer))
    assert statistics.pending_unknown <= 1
