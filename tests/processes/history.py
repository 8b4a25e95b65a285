"""Judge the stored history after everything that was done to the processes that wrote it.

Owns the rules (acceptance behaviour 2; FR-015), stated apart from the code that keeps them: it
shares nothing with domain/acceptance.py or storage/. Pure: rows in, sentences out. A good history
gives no sentence. `rows.py` fetches the rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    Key = tuple[str, str]  # workspace_id, device_id
    Document = Mapping[str, tuple[object, datetime]]  # signal -> value, observed_at


class Event(NamedTuple):
    """One row of events. `readings` are those that advanced their signal.

    `assignment` is that of the device; each begins without a history of its own.
    """

    workspace_id: str
    device_id: str
    sequence: int
    recorded_at: datetime
    epoch: int
    trace_id: str
    readings: Document
    assignment: int = 1

    @property
    def key(self) -> Key:
        return self.workspace_id, self.device_id


class DeviceRow(NamedTuple):
    """One device's row of device_state and snapshot, which belong to its present assignment."""

    workspace_id: str
    device_id: str
    state_version: int
    snapshot_version: int
    document: Document
    assignment: int = 1


class Acknowledged(NamedTuple):
    """An update whose answer was "accepted", as this version of the device."""

    workspace_id: str
    device_id: str
    version: int
    trace_id: str


TRANSACTION: Final = timedelta(seconds=10)  # at most; the gateway has the server end longer ones


class Logged(NamedTuple):
    """One `telematics_update_accepted` record."""

    trace_id: str
    updates: int
    committed_at: datetime


class Generation(NamedTuple):
    """What one process logged of its commits.

    A killed process may have committed units that it did not log, one of each writer.
    """

    epoch: int
    logged: Sequence[Logged]
    killed: bool

    @property
    def certain_before(self) -> datetime | None:
        """The instant before which every stored event must have been logged.

        None if the process ended in order: then all events must have been. `committed_at` is read
        at the beginning of a unit, so events of the last logged unit may have been recorded after
        it. Another writer's unit may have begun before that, by less than a transaction may last.
        """
        return self.logged[-1].committed_at - TRANSACTION if self.killed else None


def find_faults(events: Iterable[Event], devices: Iterable[DeviceRow]) -> list[str]:
    """Find where snapshots, versions and event history disagree."""
    by_device: defaultdict[Key, list[Event]] = defaultdict(list)
    for event in events:
        by_device[event.key].append(event)
    known = {(row.workspace_id, row.device_id): row for row in devices}
    faults = [f"{key}: events of no device" for key in by_device.keys() - known.keys()]
    for key, row in known.items():
        history = sorted(by_device[key], key=lambda event: event.sequence)
        faults += [f"{'/'.join(key)}: {fault}" for fault in _faults_of_device(row, history)]
    return faults


def _faults_of_device(row: DeviceRow, history: Sequence[Event]) -> Iterable[str]:
    sequences = [event.sequence for event in history]
    if sequences != list(range(1, len(history) + 1)):
        yield f"sequences are {_shorten(sequences)}, not 1 to {len(history)}"
    if not row.state_version == row.snapshot_version == len(history):
        yield f"state {row.state_version}, snapshot {row.snapshot_version}, events {len(history)}"
    for before, after in pairwise(history):
        if after.epoch < before.epoch:
            yield f"epoch {after.epoch} wrote sequence {after.sequence} after epoch {before.epoch}"
        if after.recorded_at < before.recorded_at:
            yield f"sequence {after.sequence} was recorded before {before.sequence}"
        if after.assignment < before.assignment:
            yield f"assignment {after.assignment} at {after.sequence} after {before.assignment}"
    folded: Document = {}
    for assignment, part in groupby(history, key=lambda event: event.assignment):
        values, standing_still = _fold(part)
        yield from standing_still
        folded = values if assignment == row.assignment else {}
    if dict(row.document) != folded:
        wrong = sorted(
            signal
            for signal in folded.keys() | row.document.keys()
            if folded.get(signal) != row.document.get(signal)
        )
        yield f"the snapshot is not the fold of its events in {wrong}"


def _fold(history: Iterable[Event]) -> tuple[dict[str, tuple[object, datetime]], list[str]]:
    """Fold events into the newest value of each signal; at equal times the first value stays.

    Returns also the readings that should not be in an event, because they did not advance.
    """
    folded: dict[str, tuple[object, datetime]] = {}
    faults = []
    for event in history:
        for signal, (value, observed_at) in event.readings.items():
            if signal in folded and observed_at <= folded[signal][1]:
                faults.append(f"sequence {event.sequence} holds a {signal} that was not newer")
            else:
                folded[signal] = (value, observed_at)
        if not event.readings:
            faults.append(f"sequence {event.sequence} holds nothing")
    return folded, faults


def find_unstored(acknowledged: Iterable[Acknowledged], events: Iterable[Event]) -> list[str]:
    """Find acknowledged updates that are not in the history exactly once and as acknowledged."""
    stored = Counter(Acknowledged(*event.key, event.sequence, event.trace_id) for event in events)
    return [
        f"acknowledged, but stored {stored[each]} times: {each}"
        for each in acknowledged
        if stored[each] != 1
    ]


def find_miscounted(expected: Mapping[str, Collection[int]], events: Iterable[Event]) -> list[str]:
    """Find traces with a number of events that they may not have."""
    stored = Counter(event.trace_id for event in events)
    return [
        f"trace {trace_id} has {stored[trace_id]} events, not {sorted(counts)}"
        for trace_id, counts in expected.items()
        if stored[trace_id] not in counts
    ]


def find_unlogged(generations: Iterable[Generation], events: Iterable[Event]) -> list[str]:
    """Find where the processes' records and the events that they wrote differ, both ways."""
    by_epoch: defaultdict[int, list[Event]] = defaultdict(list)
    for event in events:
        by_epoch[event.epoch].append(event)
    return [fault for each in generations for fault in _compare(each, by_epoch[each.epoch])]


def _compare(generation: Generation, events: Sequence[Event]) -> Iterable[str]:
    logged: Counter[str] = Counter()
    for record in generation.logged:
        logged[record.trace_id] += record.updates
    stored = Counter(event.trace_id for event in events)
    limit = generation.certain_before
    open_ended = (
        set()
        if limit is None
        else {event.trace_id for event in events if event.recorded_at >= limit}
    )
    for trace_id in logged.keys() | stored.keys():
        more_is_fine = trace_id in open_ended and stored[trace_id] >= logged[trace_id]
        if stored[trace_id] != logged[trace_id] and not more_is_fine:
            yield (
                f"epoch {generation.epoch} trace {trace_id}: "
                f"logged {logged[trace_id]}, stored {stored[trace_id]}"
            )


def _shorten(sequences: Sequence[int]) -> str:
    text = ", ".join(map(str, sequences[:20]))
    return f"{text}, …" if len(sequences) > 20 else text
