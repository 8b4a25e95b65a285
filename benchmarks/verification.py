"""The checks before a figure is printed: each takes rows and returns one sentence for each fault.

Pure, and independent of the product's code. The first word of a sentence is the kind of the fault:
rows, sequences, readings, identities, fence, fsync, history, health.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from benchmarks.feed import vehicle_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from benchmarks.feed import Feed
    from benchmarks.load import Expected, Readings

DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")
# The least share of the windows that passed for which a vehicle must have events; a busy machine
# merges windows.
WINDOWS_SEEN = 0.25
# Each of three writers begins and ends with a unit that is not full, and may find too little once.
_UNITS_NOT_FULL = 9
_SHOWN = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NotVerified(Exception):
    """The work that was timed was not done right; no figure is printed."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Stored(NamedTuple):
    """The stored rows of one workspace: events by (device, sequence), the rest by device."""

    events: Sequence[tuple[str, int, str]]
    states: Mapping[str, int]
    snapshots: Mapping[str, tuple[int, str]]


def require(faults: Collection[str]) -> None:
    """Raise NotVerified when there are faults."""
    if faults:
        raise NotVerified(*faults)


def check_stored(stored: Stored, expected: Expected) -> list[str]:
    """Check rows, sequences and readings of the update benchmark against the model."""
    faults = _check_rows(stored, expected) + check_sequences(stored.events)
    if faults:
        return faults  # the readings would only repeat these faults
    events = [
        (device_id, event)
        for device_id, history in sorted(expected.events.items())
        for event in history
    ]
    wrong = [
        f"{device_id} {event.sequence}"
        for (device_id, event), (_, _, readings) in zip(events, stored.events, strict=True)
        if parse_readings(readings) != event.readings
    ]
    if wrong:
        faults.append(
            f"readings: {len(wrong)} events hold others than those that advanced, such as "
            f"{_some(wrong)}"
        )
    return faults + _check_snapshots(stored, expected)


def _check_rows(stored: Stored, expected: Expected) -> list[str]:
    accepted = {device_id: len(history) for device_id, history in expected.events.items()}
    by_device = Counter(device_id for device_id, _, _ in stored.events)
    versions = {device_id: version for device_id, (version, _) in stored.snapshots.items()}
    pairs: dict[str, Mapping[str, int]] = {
        "events": by_device,
        "device_state": stored.states,
        "snapshots": versions,
    }
    return [
        f"rows: {name} says {sum(found.values()):,} accepted updates of {len(found):,} devices, "
        f"the load has {sum(accepted.values()):,} of {len(accepted):,}; "
        f"{_some(_differing(found, accepted))} differ"
        for name, found in pairs.items()
        if dict(found) != accepted
    ]


def check_sequences(events: Iterable[tuple[str, int, Any]]) -> list[str]:
    """Check that each device's sequences are 1 to n, without gap or duplicate."""
    found: dict[str, list[int]] = defaultdict(list)
    for device_id, sequence, _ in events:
        found[device_id].append(sequence)
    wrong = [
        f"{device_id} has {_some(numbers)}"
        for device_id, numbers in found.items()
        if sorted(numbers) != list(range(1, len(numbers) + 1))
    ]
    if not wrong:
        return []
    return [
        f"sequences: {len(wrong)} devices do not count 1 to n without gap or duplicate; {wrong[0]}"
    ]


def _check_snapshots(stored: Stored, expected: Expected) -> list[str]:
    wrong = [
        device_id
        for device_id, document in expected.documents.items()
        if parse_readings(stored.snapshots[device_id][1]) != document
    ]
    return (
        [f"readings: {len(wrong)} snapshots differ from the model, such as {_some(wrong)}"]
        if wrong
        else []
    )


def check_counts(counts: Mapping[str, Any], expected: Expected, updates: int) -> list[str]:
    """Check the ingest actor's own counts of updates: they add up, and are those of the load."""
    outcomes = {name: number for name, number in counts["outcomes"].items() if number}
    found = {"submitted": counts["submitted"], "pending": counts["pending"], **outcomes}
    wanted = {"submitted": updates, "pending": 0, **expected.outcomes}
    if found == wanted:
        return []
    return [f"identities: the ingest actor counts {_list(found)}; the load has {_list(wanted)}"]


def check_units(counts: Mapping[str, Any], updates: int, per_unit: int) -> list[str]:
    """Check that units have the default shape.

    With smaller or larger ones the reference would measure something else.
    """
    most = -(-updates // per_unit) + _UNITS_NOT_FULL
    if counts["largest_unit"] <= per_unit and counts["units"] <= most:
        return []
    return [
        f"rows: {updates:,} updates were committed in {counts['units']} units of up to "
        f"{counts['largest_unit']}"
    ]


def check_history(feed: Feed, events: Iterable[tuple[str, int, str]]) -> list[str]:
    """Check every event, in order, against the frames that were sent; none may be missing.

    An event has the newest reading of each signal among the frames since the event before it. So a
    dropped frame is noticed, even if newer ones came after it.
    """
    last: dict[str, int] = dict.fromkeys(feed.vids(), -1)
    wrong = []
    for vid, sequence, text in events:
        readings = parse_readings(text)
        turn = max((at for _, at in readings.values()), default=0) - feed.started_ms
        if vid not in last or readings != feed.merged(vehicle_of(vid), last[vid], turn):
            wrong.append(f"{vid} {sequence}")
        last[vid] = max(turn, last.get(vid, -1))
    unfinished = [vid for vid, turn in last.items() if turn != feed.turns - 1]
    faults = []
    if wrong:
        faults.append(
            f"history: {len(wrong)} events are not the merge of the frames since the one before, "
            f"such as {_some(wrong)}"
        )
    if unfinished:
        faults.append(
            f"history: the last frames of {len(unfinished)} vehicles are missing, such as "
            f"{_some(unfinished)}"
        )
    return faults


def check_granularity(
    feed: Feed, events: Iterable[tuple[str, int, str]], windows: float
) -> list[str]:
    """Check that a vehicle has events for the windows that passed, and not one at the end."""
    counted = Counter(vid for vid, _, _ in events)
    least = min(int(windows * WINDOWS_SEEN), feed.turns // feed.burst)
    poor = [vid for vid in feed.vids() if counted[vid] < least]
    if not poor:
        return []
    return [
        f"history: {len(poor)} vehicles have fewer than {least} events in {windows:.0f} windows, "
        f"such as {_some(poor)}"
    ]


def check_frames(
    feed: Feed, frames: Mapping[str, int], ingest: Mapping[str, Any], events: int
) -> list[str]:
    """Check the service's own counts: they add up, and are those of the feed.

    Every frame of the feed must have been merged.
    """
    wanted = {
        "received": feed.frames,
        "merged": feed.frames,
        "ignored": 0,
        "malformed": 0,
        "pending": 0,
    }
    found = {name: frames[name] for name in wanted}
    faults = []
    if found != wanted:
        faults.append(
            f"identities: the service counts frames as {_list(found)}; the feed has {_list(wanted)}"
        )
    outcomes = {name: number for name, number in ingest["outcomes"].items() if number}
    if (ingest["submitted"], ingest["pending"], outcomes) != (events, 0, {"accepted": events}):
        counted = {"submitted": ingest["submitted"], "pending": ingest["pending"], **outcomes}
        faults.append(
            f"identities: of updates it counts {_list(counted)}; there are {events:,} events"
        )
    return faults


def check_durable(settings: Mapping[str, str], where: str) -> list[str]:
    """Check that no setting that waits for the disk is switched off."""
    off = [
        f"{name} is {settings.get(name, 'not known')}"
        for name in DURABILITY
        if settings.get(name) != "on"
    ]
    return [f"fsync: {' and '.join(off)} {where}"] if off else []


def check_fence(before: tuple[int, int], after: tuple[int, int], refused: bool) -> list[str]:
    """Check that a session declared dead wrote nothing: (events, versions) before and after."""
    if after != before:
        return [
            f"fence: a session declared dead wrote {after[0] - before[0]} events and "
            f"{after[1] - before[1]} versions"
        ]
    return (
        []
        if refused
        else ["fence: a unit of a session declared dead was answered as if it were committed"]
    )


def check_health(answer: Mapping[str, Any], states: Mapping[str, str]) -> list[str]:
    """Check that every device comes once, in its expected state, and that the counts agree."""
    found = [(item["device_id"], item["state"]) for item in answer["items"]]
    faults = []
    if len(found) != len(states) or dict(found).keys() != states.keys():
        faults.append(
            f"health: {len(found)} items with {len(dict(found))} devices, instead of "
            f"{len(states)}, each once"
        )
    wrong = [f"{device_id} {state}" for device_id, state in found if states.get(device_id) != state]
    if wrong:
        faults.append(
            f"health: {len(wrong)} devices in another state than expected, such as {_some(wrong)}"
        )
    counts = {state: number for state, number in answer["counts"].items() if number}
    if counts != dict(Counter(states.values())):
        faults.append(
            f"health: the counts are {_list(counts)}; expected {_list(Counter(states.values()))}"
        )
    return faults


def parse_readings(text: str) -> Readings:
    """Return a stored document or event as signal -> value and time; the rest is not compared.

    A tree before the position was one reading stored its halves as two.
    """
    found = {
        name: (entry[0], _milliseconds(entry[1])) for name, entry in orjson.loads(text).items()
    }
    position = found.pop("position", None)
    if position is not None:
        (latitude, longitude), at = position
        found |= {"latitude_deg": (latitude, at), "longitude_deg": (longitude, at)}
    return found


def _milliseconds(stored: str | int) -> int:
    """Return a stored instant: RFC 3339 in events and old documents, microseconds in documents."""
    if isinstance(stored, int):
        return stored // 1000
    return (datetime.fromisoformat(stored) - _EPOCH) // timedelta(milliseconds=1)


def _differing(found: Mapping[str, int], wanted: Mapping[str, int]) -> list[str]:
    return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))


def _some(items: Sequence[object]) -> str:
    shown = ", ".join(str(item) for item in items[:_SHOWN])
    return f"{shown}, …" if len(items) > _SHOWN else shown


def _list(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())
