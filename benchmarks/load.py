"""The update benchmark's load, and an independent model of its result.

Pure, and without the product's types and rules: the model states the acceptance behaviour of the
specification anew, so that a fault in the product's rule is not repeated in the model. Most updates
are news. Of forty updates, one is partly news, one a repetition, one late, and one a contradiction.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from benchmarks.names import UPDATES

SIGNALS = ("soc_percent", "odometer_km", "speed_kmh", "latitude_deg", "longitude_deg")
BEGAN_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
UPDATES_PER_SUBMISSION = 500  # the most that a submission holds
UPDATES_PER_UNIT = 1_000  # the most that the ingest actor commits at once
MIN_UPDATES_PER_DEVICE = 3  # with fewer, a constant sequence would look right

Readings = dict[str, tuple[float, int]]  # signal -> value, time in epoch milliseconds

_KINDS = {3: "partial", 13: "duplicate", 23: "stale", 33: "conflict"}


class Update(NamedTuple):
    """One update of one device; times in epoch milliseconds."""

    device_id: str
    received_ms: int
    readings: tuple[tuple[str, float, int], ...]


class Load(NamedTuple):
    """`updates` updates with 5 signals each, of `devices` devices that report in turn."""

    updates: int
    devices: int

    def device_ids(self) -> list[str]:
        return [device_of(number) for number in range(self.devices)]

    def make(self) -> list[Update]:
        return [self._update(number) for number in range(self.updates)]

    def after_the_end(self) -> list[Update]:
        """Return updates of a few devices, all of them news, for a session that is over."""
        turns = self.updates // self.devices + 10
        return [
            self._update(turns * self.devices + device) for device in range(min(10, self.devices))
        ]

    def _update(self, number: int) -> Update:
        turn, device = divmod(number, self.devices)
        kind = _KINDS.get((device + turn) % 40) if turn else None
        readings = _readings(device, turn)
        if kind == "partial":
            readings = readings[:3] + _readings(device, turn - 1)[3:]
        elif kind == "duplicate":
            readings = _readings(device, turn - 1)
        elif kind == "stale":
            readings = _readings(device, turn - 2)
        elif kind == "conflict":
            readings = tuple(
                (name, value + 0.25, at) for name, value, at in _readings(device, turn - 1)
            )
        return Update(device_of(device), BEGAN_MS + number, readings)


class Event(NamedTuple):
    """One accepted update as history must contain it: the readings that advanced."""

    sequence: int
    readings: Readings


class Expected(NamedTuple):
    """The events and documents that must be stored, by device, and the counts of outcomes."""

    events: dict[str, list[Event]]
    documents: dict[str, Readings]
    outcomes: dict[str, int]


def expect(load: Load) -> Expected:
    """Return what must be stored after the load.

    For each signal the newest value wins; at equal times the stored one stays. An update without
    an advance is a conflict, else stale, else a duplicate.
    """
    events: dict[str, list[Event]] = {device_id: [] for device_id in load.device_ids()}
    documents: dict[str, Readings] = {device_id: {} for device_id in events}
    outcomes: Counter[str] = Counter()
    for update in load.make():
        document = documents[update.device_id]
        news = {
            name: (value, at)
            for name, value, at in update.readings
            if name not in document or at > document[name][1]
        }
        if news:
            document.update(news)
            history = events[update.device_id]
            history.append(Event(len(history) + 1, news))
            outcomes["accepted"] += 1
        else:
            outcomes[_refusal(update, document)] += 1
    return Expected(events, documents, dict(outcomes))


def device_of(number: int) -> str:
    return f"bus_{number:05d}"


def workspace_of(device_id: str, size: int) -> str:
    """Return the workspace of a device where each has `size` devices; with 0, all are in one."""
    return f"{UPDATES}-{int(device_id[4:]) // size:04d}" if size else UPDATES


def _refusal(update: Update, document: Readings) -> str:
    held = [(document[name], (value, at)) for name, value, at in update.readings]
    if any(at == stored[1] and value != stored[0] for stored, (value, at) in held):
        return "conflict"
    return "stale" if any(at < stored[1] for stored, (_, at) in held) else "duplicate"


def _readings(device: int, turn: int) -> tuple[tuple[str, float, int], ...]:
    at = BEGAN_MS + turn * 1000
    return tuple(
        (name, (device + 7 * turn + place) % 80 + 0.5, at) for place, name in enumerate(SIGNALS)
    )
