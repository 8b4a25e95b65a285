"""The feed of many streams: endless turns of frames, and the readings that must be stored.

Pure. Each stream has vehicles of its own. In a turn every vehicle of a stream reports one label;
the labels take turns. Value and time tell the turn, so a history can be checked frame by frame.
A turn is made from a pattern, so that a sender hardly costs processor time and needs no memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import orjson

from benchmarks.feed import LABELS, SIGNALS, Readings, vid_of
from benchmarks.sender import length_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIME = b'"time":1000000000000'
_VALUE = b'"value":10.'
_VALUES = 90  # of the whole part, and of the fraction


class FleetFeed(NamedTuple):
    """`vehicles` vehicles on each of `streams` streams. `started_ms` is the time of turn 0."""

    streams: int
    vehicles: int
    started_ms: int

    def vids(self, stream: int) -> list[str]:
        """Return the vehicles of one stream."""
        first = stream * self.vehicles
        return [vid_of(number) for number in range(first, first + self.vehicles)]

    def turns(self, stream: int) -> Iterator[bytes]:
        """Yield the frames of one turn after the other, as a server sends them, without end."""
        patterns = [self._pattern(stream, label) for label in LABELS]
        turn = 0
        while True:
            time = b'"time":%d' % (self.started_ms + turn)
            value = b'"value":%d.' % (10 + turn % _VALUES)
            yield patterns[turn % len(LABELS)].replace(_TIME, time).replace(_VALUE, value)
            turn += 1

    def _pattern(self, stream: int, label: str) -> bytes:
        frames = []
        for number, vid in enumerate(self.vids(stream)):
            point = {"vid": vid, "label": label, "time": 10**12, "value": _value(0, number)}
            payload = orjson.dumps({"type": "vehicles", "payload": point})
            frames.append(b"\x81" + length_of(len(payload)) + payload)
        return b"".join(frames)

    def merged(self, number: int, after: int, last: int) -> Readings:
        """Return each signal's newest reading of a vehicle's frames in turns (after, last].

        `number` is the vehicle's place in its stream.
        """
        first = max(after + 1, last - len(LABELS) + 1)
        return {
            SIGNALS[LABELS[turn % len(LABELS)]]: (_value(turn, number), self.started_ms + turn)
            for turn in range(first, last + 1)
        }


def _value(turn: int, number: int) -> float:
    """Return a value of two digits each before and behind its point, valid for every signal."""
    return round(10 + turn % _VALUES + (11 + number % (_VALUES - 1)) / 100, 2)


def check_fleet_history(
    feed: FleetFeed, events: dict[str, list[Readings]], turns: list[int]
) -> list[str]:
    """Check every event of every vehicle against the frames that were sent; none may be missing.

    `events` are by vehicle, in order. `turns` says how many turns each stream sent.
    """
    wrong, unfinished = [], []
    for stream in range(feed.streams):
        for number, vid in enumerate(feed.vids(stream)):
            after = -1
            for readings in events.get(vid, []):
                last = max(at for _, at in readings.values()) - feed.started_ms
                if readings != feed.merged(number, after, last):
                    wrong.append(vid)
                after = last
            if after != turns[stream] - 1:
                unfinished.append(vid)
    faults = []
    if wrong:
        faults.append(
            f"history: {len(wrong)} events are not the merge of the frames since the one before, "
            f"such as of {wrong[0]}"
        )
    if unfinished:
        faults.append(
            f"history: the last frames of {len(unfinished)} vehicles are missing, such as of "
            f"{unfinished[0]}"
        )
    return faults
