"""What the frame benchmark sends: the same frames for the service and for the reference, and how it must end.

Pure. Vehicles report in turn, one label a frame, with times a millisecond apart, so that the last frame of each
(vid, label) holds its final value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    from datetime import datetime

LABELS = ("soc", "odo", "speed", "power", "voltage")
SIGNALS = dict(zip(LABELS, ("soc_percent", "odometer_km", "speed_kmh", "power_kw", "battery_voltage_v"), strict=True))


class Feed(NamedTuple):
    """`frames` data points over so many vehicles. `started_ms` is the first one's time, epoch milliseconds."""

    vehicles: int
    frames: int
    started_ms: int

    def vids(self) -> list[str]:
        return [f"bus_{number:04d}" for number in range(self.vehicles)]

    def point(self, number: int) -> tuple[str, str, int, float]:
        """(vid, label, time, value) of one frame; values stay inside what every signal may be."""
        vehicle = number % self.vehicles
        label = LABELS[number // self.vehicles % len(LABELS)]
        return f"bus_{vehicle:04d}", label, self.started_ms + number // 100, round(number % 9973 / 100, 2)

    def payload(self, number: int) -> bytes:
        vid, label, at, value = self.point(number)
        point = {"vid": vid, "label": label, "time": at, "value": value}
        return orjson.dumps({"type": "vehicles", "payload": point})

    def wire(self) -> bytes:
        """All frames as a server sends them: unmasked text frames (RFC 6455, 5.2), one after the other."""
        out = bytearray()
        for number in range(self.frames):
            payload = self.payload(number)
            out += b"\x81" + _length(len(payload)) + payload
        return bytes(out)

    def final_values(self) -> dict[tuple[str, str], float]:
        """(vid, signal) -> value that must be committed at the end: newest time wins, at equal times the first."""
        newest: dict[tuple[str, str], tuple[int, float]] = {}
        for number in range(max(0, self.frames - 200 * self.vehicles * len(LABELS)), self.frames):
            vid, label, at, value = self.point(number)
            held = newest.get((vid, SIGNALS[label]))
            if held is None or at > held[0]:
                newest[vid, SIGNALS[label]] = (at, value)
        return {key: value for key, (_, value) in newest.items()}


def new_feed(vehicles: int, frames: int, now: datetime) -> Feed:
    """A feed that begins an hour ago, so that nothing in it lies in the future."""
    return Feed(vehicles, frames, int(now.timestamp() * 1000) - 3_600_000)


def _length(size: int) -> bytes:
    return bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
