"""The frame benchmark's feed: the frames that are sent, and the readings that must be stored.

Pure. Vehicles report in turn, one label a frame. Some labels come only once, early, so that no
newer frame hides the loss of such a frame. The order of the vehicles moves from turn to turn, so
that a regular loss hits all of them. The times of a vehicle's frames are one millisecond apart, so
the time of a stored reading tells its frame, and the history of a vehicle can be checked frame by
frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

SIGNALS = {
    "soc": "soc_percent",
    "odo": "odometer_km",
    "speed": "speed_kmh",
    "current": "battery_current_a",
    "voltage": "battery_voltage_v",
}
RARE_SIGNALS = {
    "energy_used_per_day": "energy_used_today_kwh",
    "odo_reference_per_day": "distance_today_km",
    "analyses.estimated_range": "range_km",
    "fuel": "fuel_level_l",
    "fuel_used_per_day": "fuel_used_today_l",
}
RARE_PERCENT = (1, 4, 10, 20, 40)  # how far into the feed each vehicle sends each rare label, once
STEP = 7  # by so many vehicles the order moves on from turn to turn

LABELS = tuple(SIGNALS)
ALL_SIGNALS = SIGNALS | RARE_SIGNALS

Readings = dict[str, tuple[float, int]]  # signal -> value, time in epoch milliseconds


class Feed(NamedTuple):
    """`turns` data points of each of `vehicles` vehicles.

    `started_ms` is the time of the first one, in epoch milliseconds. A vehicle sends `burst` of
    them one after the other, before the next vehicle's turn.
    """

    vehicles: int
    turns: int
    started_ms: int
    burst: int = 1

    @property
    def frames(self) -> int:
        return self.vehicles * self.turns

    @property
    def last_ms(self) -> int:
        """The time of every vehicle's last frame."""
        return self.started_ms + self.turns - 1

    def vids(self) -> list[str]:
        return [vid_of(number) for number in range(self.vehicles)]

    def rare(self) -> dict[int, str]:
        """Return turn -> the label that is sent in this turn instead of the usual one."""
        return {
            self.turns * percent // 100: label
            for percent, label in zip(RARE_PERCENT, RARE_SIGNALS, strict=True)
        }

    def label(self, turn: int) -> str:
        return self.rare().get(turn) or LABELS[turn % len(LABELS)]

    def value(self, vehicle: int, turn: int) -> float:
        """Return a value that lies in the valid range of every signal."""
        return round((turn * self.vehicles + vehicle) % 9973 / 100, 2)

    def payloads(self) -> Iterator[bytes]:
        """Yield all frames as text, in the order in which they are sent."""
        labels = [self.label(turn) for turn in range(self.turns)]
        for first in range(0, self.turns, self.burst):
            turns = range(first, min(first + self.burst, self.turns))
            for place in range(self.vehicles):
                vehicle = (place + STEP * first) % self.vehicles
                for turn in turns:
                    yield self._payload(vehicle, turn, labels[turn])

    def _payload(self, vehicle: int, turn: int, label: str) -> bytes:
        value, at = self.value(vehicle, turn), self.started_ms + turn
        point = {"vid": vid_of(vehicle), "label": label, "time": at, "value": value}
        return orjson.dumps({"type": "vehicles", "payload": point})

    def merged(self, vehicle: int, after: int, last: int) -> Readings:
        """Return each signal's newest reading of this vehicle's frames in turns (after, last]."""
        rare = self.rare()
        newest = {label: turn for turn, label in sorted(rare.items()) if after < turn <= last}
        missing = set(LABELS)
        for turn in range(last, after, -1):
            if turn not in rare and (label := LABELS[turn % len(LABELS)]) in missing:
                newest[label] = turn
                missing.remove(label)
            if not missing:
                break
        return {
            ALL_SIGNALS[label]: (self.value(vehicle, turn), self.started_ms + turn)
            for label, turn in newest.items()
        }


def new_feed(vehicles: int, frames: int, now: datetime) -> Feed:
    """Return a feed of at least `frames` frames.

    It begins an hour before `now`, so that no reading lies in the future.
    """
    return Feed(vehicles, -(-frames // vehicles), int(now.timestamp() * 1000) - 3_600_000)


def vid_of(vehicle: int) -> str:
    return f"bus_{vehicle:05d}"


def vehicle_of(vid: str) -> int:
    return int(vid.removeprefix("bus_"))
