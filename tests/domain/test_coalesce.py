"""The coalescing buffer: newest value per signal, bounded, and every frame accounted for."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.acceptance import judge
from domain.coalesce import MAX_SIGNALS_PER_DEVICE, CoalescingBuffer, Merged
from tests.domain.fixtures import NOW, ago, fold, reading, update, values_of

if TYPE_CHECKING:
    from domain.model import Reading

    Frame = tuple[str, tuple[Reading, ...], float]


def test_the_newest_value_of_each_signal_is_what_a_window_leaves() -> None:
    buffer = CoalescingBuffer(["bus-7"])
    buffer.merge("bus-7", (reading("speed_kmh", 10, ago(seconds=2)),), 1.0)
    buffer.merge("bus-7", (reading("soc_percent", 88, ago(seconds=2)),), 1.1)
    buffer.merge("bus-7", (reading("speed_kmh", 12, ago(seconds=1)),), 1.2)

    assert buffer.drain(10) == [
        Merged(
            "bus-7",
            (reading("speed_kmh", 12, ago(seconds=1)), reading("soc_percent", 88, ago(seconds=2))),
            1.2,
        )
    ]
    assert len(buffer) == 0


def test_an_old_frame_does_not_make_waiting_values_look_fresher() -> None:
    buffer = CoalescingBuffer(["bus-7"])
    buffer.merge("bus-7", (reading("speed_kmh", 12, NOW),), 1.0)
    buffer.merge("bus-7", (reading("speed_kmh", 12, NOW),), 1.8)
    buffer.merge("bus-7", (reading("speed_kmh", 9, ago(minutes=1)),), 1.9)

    assert buffer.drain(1)[0].received == 1.0
    statistics = buffer.statistics()
    assert (statistics.repeated, statistics.outrun, statistics.superseded) == (1, 1, 0)


def test_a_contradiction_at_one_instant_keeps_the_first_value() -> None:
    buffer = CoalescingBuffer(["bus-7"])
    buffer.merge("bus-7", (reading("soc_percent", 88, NOW),), 1.0)
    buffer.merge("bus-7", (reading("soc_percent", 12, NOW),), 1.1)

    assert buffer.statistics().ties == 1
    assert buffer.drain(1) == [Merged("bus-7", (reading("soc_percent", 88, NOW),), 1.0)]


def test_whoever_waits_longest_is_drained_first() -> None:
    buffer = CoalescingBuffer(["a", "b", "c"])
    for received, external_id in enumerate("bcab"):
        buffer.merge(external_id, (reading("speed_kmh", received, NOW),), float(received))

    assert [item.external_id for item in buffer.drain(2)] == ["b", "c"]
    buffer.merge("b", (reading("speed_kmh", 1, NOW),), 9.0)
    assert [item.external_id for item in buffer.drain(2)] == ["a", "b"]


def test_a_device_is_drained_when_its_own_window_is_over() -> None:
    buffer = CoalescingBuffer(["a", "b"])
    for external_id, received in [("a", 1.0), ("b", 1.5), ("a", 1.9)]:
        buffer.merge(external_id, (reading("speed_kmh", 1, ago(seconds=-received)),), received)

    assert buffer.drain(9, opened_before=1.0) == []
    assert [item.external_id for item in buffer.drain(9, opened_before=1.1)] == ["a"]
    assert [item.external_id for item in buffer.drain(9, opened_before=2.0)] == ["b"]


@pytest.mark.parametrize("order", [1, -1])
def test_an_invalid_value_does_not_replace_a_valid_one(order: int) -> None:
    good, bad = reading("soc_percent", 88, ago(seconds=1)), reading("soc_percent", 255, NOW)
    buffer = CoalescingBuffer(["bus-7"])
    for item in [good, bad][::order]:
        buffer.merge("bus-7", (item,), 1.0)

    assert buffer.drain(1) == [Merged("bus-7", (good,), 1.0)]
    assert buffer.statistics().invalid == 1


def test_an_invalid_value_alone_is_handed_on() -> None:
    buffer = CoalescingBuffer(["bus-7"])
    buffer.merge("bus-7", (reading("soc_percent", 255, ago(seconds=1)),), 1.0)
    buffer.merge("bus-7", (reading("soc_percent", 254, NOW),), 1.1)
    assert buffer.drain(1) == [Merged("bus-7", (reading("soc_percent", 254, NOW),), 1.1)]


def test_unknown_ids_are_limited_until_they_are_drained() -> None:
    buffer = CoalescingBuffer(["known"], max_unknown=2)
    something = (reading("speed_kmh", 1, NOW),)
    taken = [
        buffer.merge(external_id, something, 0.0) for external_id in ("x", "y", "z", "x", "known")
    ]

    assert taken == [True, True, False, True, True]
    assert (buffer.statistics().overflow, buffer.statistics().pending_unknown) == (1, 2)
    buffer.drain(1)
    assert buffer.merge("z", something, 1.0)


def test_a_device_that_becomes_known_frees_an_unknown_place() -> None:
    buffer = CoalescingBuffer([], max_unknown=1)
    something = (reading("speed_kmh", 1, NOW),)
    buffer.merge("new", something, 0.0)
    buffer.replace_known(["new"])
    assert buffer.merge("other", something, 0.0)
    buffer.drain(2)
    assert buffer.statistics().pending_unknown == 0


def test_a_device_no_longer_known_takes_an_unknown_place() -> None:
    buffer = CoalescingBuffer(["retired"], max_unknown=1)
    something = (reading("speed_kmh", 1, NOW),)
    buffer.merge("retired", something, 0.0)
    buffer.replace_known([])
    assert not buffer.merge("other", something, 0.0)
    assert buffer.statistics().pending_unknown == 1


def test_signals_of_one_device_are_bounded() -> None:
    buffer = CoalescingBuffer(["bus-7"])
    buffer.merge(
        "bus-7", tuple(reading(f"signal_{n}", n) for n in range(MAX_SIGNALS_PER_DEVICE + 5)), 0.0
    )
    assert len(buffer.drain(1)[0].readings) == MAX_SIGNALS_PER_DEVICE
    assert buffer.statistics().signal_overflow == 5


def test_a_frame_without_readings_is_ignored_known_or_not() -> None:
    buffer = CoalescingBuffer(["bus-7"])
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


frames = frames_of(st.integers(0, 2))
frames_with_nonsense = frames_of(st.integers(0, 2) | st.sampled_from([-1, True, float("nan")]))


@given(frames)
def test_the_buffer_equals_a_last_writer_model(sent: list[Frame]) -> None:
    buffer = CoalescingBuffer(["a", "b"])
    model: dict[str, dict[str, Any]] = {}
    receipts: dict[str, list[float]] = {}
    for external_id, readings, received in sent:
        buffer.merge(external_id, readings, received)
        for item in readings:
            known = model.setdefault(external_id, {})
            if item.signal not in known or item.observed_at > known[item.signal].observed_at:
                known[item.signal] = item
                receipts.setdefault(external_id, []).append(received)

    expected = [
        Merged(name, tuple(known.values()), max(receipts[name])) for name, known in model.items()
    ]
    assert buffer.drain(100) == expected


@given(frames_with_nonsense, st.sets(st.integers(0, 30)))
def test_the_buffer_does_not_change_the_final_snapshot(sent: list[Frame], pauses: set[int]) -> None:
    buffer = CoalescingBuffer(["a", "b", "stranger", "other stranger"])
    straight = {name: fold(external_id=name) for name in ("a", "b", "stranger", "other stranger")}
    coalesced = deepcopy(straight)

    def flush() -> None:
        for name, readings, _ in buffer.drain(100):
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
    buffer = CoalescingBuffer(["a"], max_unknown=1)
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
