"""The frame benchmark's feed: what is sent, and what must be stored of it.

Pure. Vehicles report in turn, one label a frame. Some labels come once, early: nothing newer makes
up for such a frame if it is lost. The order of the vehicles moves from turn to turn, so that no
regular loss hits only some of them. A vehicle's frames carry times one millisecond apart, so the
time of a stored reading says which of its frames it came from, and the history of a vehicle can be
checked frame by frame.
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
RARE_PERCENT = (1, 4, 10, 20, 40)  # how far into the feed each of them is sent, once by each vehicle
STEP = 7  # vehicles that the order moves on from turn to turn

LABELS = tuple(SIGNALS)
ALL_SIGNALS = SIGNALS | RARE_SIGNALS

Readings = dict[str, tuple[float, int]]  # signal -> value, time in epoch milliseconds


class Feed(NamedTuple):
    """`turns` data points of each of so many vehicles. `started_ms` is the first one's time, epoch
    milliseconds.
    """

    vehicles: int
    turns: int
    started_ms: int

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
        """Turn -> the label that is sent in it instead of the usual one."""
        return {self.turns * percent // 100: label for percent, label in zip(RARE_PERCENT, RARE_SIGNALS, strict=True)}

    def label(self, turn: int) -> str:
        return self.rare().get(turn) or LABELS[turn % len(LABELS)]

    def value(self, vehicle: int, turn: int) -> float:
        """Inside what every signal may be."""
        return round((turn * self.vehicles + vehicle) % 9973 / 100, 2)

    def payloads(self) -> Iterator[bytes]:
        """All frames as text, in the order in which they are sent."""
        for turn in range(self.turns):
            label, at = self.label(turn), self.started_ms + turn
            for place in range(self.vehicles):
                vehicle = (place + STEP * turn) % self.vehicles
                value = self.value(vehicle, turn)
                point = {"vid": vid_of(vehicle), "label": label, "time": at, "value": value}
                yield orjson.dumps({"type": "vehicles", "payload": point})

    def merged(self, vehicle: int, after: int, last: int) -> Readings:
        """What a merge of this vehicle's frames with turns in (after, last] holds: each signal's
        newest reading.
        """
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
            ALL_SIGNALS[label]: (self.value(vehicle, turn), self.started_ms + turn) for label, turn in newest.items()
        }


def new_feed(vehicles: int, frames: int, now: datetime) -> Feed:
    """At least so many frames. The feed begins an hour ago, so that nothing in it lies in the
    future.
    """
    return Feed(vehicles, -(-frames // vehicles), int(now.timestamp() * 1000) - 3_600_000)


def vid_of(vehicle: int) -> str:
    return f"bus_{vehicle:05d}"


def vehicle_of(vid: str) -> int:
    return int(vid.removeprefix("bus_"))
