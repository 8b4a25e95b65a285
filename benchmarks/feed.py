"""The frame benchmark's feed: what is sent, and what must be stored of it.

Pure. Vehicles report in turn, one label a frame. A vehicle's frames carry times one millisecond apart, so the time of
a stored reading says which of its frames it came from, and the history of a vehicle can be checked frame by frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    from datetime import datetime

SIGNALS = {
    "soc": "soc_percent",
    "odo": "odometer_km",
    "speed": "speed_kmh",
    "current": "battery_current_a",
    "voltage": "battery_voltage_v",
}
LABELS = tuple(SIGNALS)

Readings = dict[str, tuple[float, int]]  # signal -> value, time in epoch milliseconds


class Feed(NamedTuple):
    """`turns` data points of each of so many vehicles. `started_ms` is the first one's time, epoch milliseconds."""

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

    def value(self, vehicle: int, turn: int) -> float:
        """Inside what every signal may be."""
        return round((turn * self.vehicles + vehicle) % 9973 / 100, 2)

    def payload(self, number: int) -> bytes:
        """The frame of this number, as text."""
        turn, vehicle = divmod(number, self.vehicles)
        point = {
            "vid": vid_of(vehicle),
            "label": LABELS[turn % len(LABELS)],
            "time": self.started_ms + turn,
            "value": self.value(vehicle, turn),
        }
        return orjson.dumps({"type": "vehicles", "payload": point})

    def merged(self, vehicle: int, after: int, last: int) -> Readings:
        """What a merge of this vehicle's frames with turns in (after, last] holds: each signal's newest reading."""
        turns = [last - (last - place) % len(LABELS) for place in range(len(LABELS))]
        return {
            SIGNALS[LABELS[place]]: (self.value(vehicle, turn), self.started_ms + turn)
            for place, turn in enumerate(turns)
            if turn > after
        }


def new_feed(vehicles: int, frames: int, now: datetime) -> Feed:
    """At least so many frames. The feed begins an hour ago, so that nothing in it lies in the future."""
    return Feed(vehicles, -(-frames // vehicles), int(now.timestamp() * 1000) - 3_600_000)


def vid_of(vehicle: int) -> str:
    return f"bus_{vehicle:05d}"


def vehicle_of(vid: str) -> int:
    return int(vid.removeprefix("bus_"))
