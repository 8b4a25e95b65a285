"""A device's day as lanes of marks, and as a table of what happened.

From the JSON of the API to the values of the template: where a mark is, which kind it has, and what
it says. Each kind has a shape of its own in static/device.css, so colour never says it alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from api.pages.edge_words import edge_words
from api.pages.time_window import TimeSpan, percent
from api.pages.times import parse_instant, show_age
from api.pages.words import meaning

if TYPE_CHECKING:
    from api.pages.edge_words import EdgeWords

GOOD, WARN, BAD, PLAIN = "good", "warn", "bad", "plain"
MAX_HAPPENINGS: Final = 200
_LEAST_WIDTH: Final = 0.15  # percent: a pixel and a half of 1,000
_OUTCOMES: Final = {"completed": GOOD, "running": PLAIN, "skipped": PLAIN, "requested": PLAIN}

Day = Mapping[str, Any]


class LaneMark(NamedTuple):
    """One mark of a lane. Places are in percent of the lane; `says` is its text."""

    kind: str
    left: str
    width: str
    top: str
    height: str
    says: str


class Lane(NamedTuple):
    """A row of the picture. `summary` says it in one sentence."""

    name: str
    summary: str
    marks: Sequence[LaneMark]


class Happening(NamedTuple):
    """A line of the table. `until` is None for what happened at one moment."""

    at: datetime
    until: datetime | None
    mark: str
    what: str
    detail: str


class AgeLimits(NamedTuple):
    """The ages from which the device is delayed and stale; None: not known."""

    delayed: timedelta | None = None
    stale: timedelta | None = None


class DayPicture:
    """The lanes and the happenings of one day."""

    def __init__(self, day: Day, window: TimeSpan, limits: AgeLimits, zone: str) -> None:
        self._day = day
        self._window = window
        self._limits = limits
        self._zone = ZoneInfo(zone)
        self._step = timedelta(seconds=day["bucket_seconds"])

    def lanes(self) -> list[Lane]:
        return [
            self._heard(),
            self._gaps(),
            self._cycles(),
            self._refused(),
            self._edges("Connection", self._day["connection_edges"]),
            self._edges("Provider's word", self._day["device_edges"]),
        ]

    def happenings(self) -> list[Happening]:
        """Return what happened, newest first: everything but receipts and good cycles."""
        found = [
            *map(self._tell_gap, self._long_gaps()),
            *map(self._tell_cycles, _join_alike(self._day["cycles"])),
            *map(self._tell_refusal, self._day["refusals"]),
            *map(self._tell_edge, self._in_window("connection_edges")),
            *map(self._tell_edge, self._in_window("device_edges")),
        ]
        return sorted(found, key=lambda one: one.at, reverse=True)

    # --- receipts and gaps

    def _heard(self) -> Lane:
        receipts = self._day["receipts"]
        most = max((each["updates"] for each in receipts), default=1)
        marks = []
        for each in receipts:
            at, count = parse_instant(each["begins_at"]), each["updates"]
            height = 25 + 75 * math.log1p(count) / math.log1p(most)
            says = f"{self._span(at, at + self._step)}: {_count(count, 'update')}"
            marks.append(self._mark("heard", at, at + self._step, says, height=height))
        total = sum(each["updates"] for each in receipts)
        last = f", the last at {self._clock(receipts[-1]['last_at'])}" if receipts else ""
        return Lane("Heard", f"{_count(total, 'update')}{last}.", marks)

    def _long_gaps(self) -> list[Mapping[str, Any]]:
        """Return the gaps in which the device became delayed at least."""
        least = self._limits.delayed or timedelta(0)
        return [gap for gap in self._day["gaps"] if gap["seconds"] > least.total_seconds()]

    def _gaps(self) -> Lane:
        gaps = self._long_gaps()
        marks = [mark for gap in gaps for mark in self._mark_gap(gap)]
        if not gaps:
            return Lane("Gaps", "No gap that is longer than the limit.", [])
        longest = show_age(max(gap["seconds"] for gap in gaps))
        return Lane("Gaps", f"{_count(len(gaps), 'gap')}, the longest {longest}.", marks)

    def _mark_gap(self, gap: Mapping[str, Any]) -> Iterator[LaneMark]:
        """Yield the part from which the device is delayed, and that from which it is stale."""
        begins_at = parse_instant(gap["begins_at"])
        ends_at = parse_instant(gap["ends_at"] or self._day["ends_at"])
        says = f"{self._span(begins_at, ends_at)}: no data for {show_age(gap['seconds'])}"
        delayed_at = begins_at + (self._limits.delayed or timedelta(0))
        stale_at = ends_at if self._limits.stale is None else begins_at + self._limits.stale
        yield self._mark("delayed", delayed_at, min(stale_at, ends_at), says, height=50)
        if stale_at < ends_at:
            yield self._mark("stale", stale_at, ends_at, says)

    def _tell_gap(self, gap: Mapping[str, Any]) -> Happening:
        at = parse_instant(gap["begins_at"])
        until = None if gap["ends_at"] is None else parse_instant(gap["ends_at"])
        stale = self._limits.stale
        mark = BAD if stale and gap["seconds"] > stale.total_seconds() else WARN
        what = "no data from then until now" if until is None else "no data"
        return Happening(at, until, mark, what, f"for {show_age(gap['seconds'])}")

    # --- cycles

    @staticmethod
    def _is_bad(cycles: Mapping[str, Any]) -> bool:
        return _kind_of(cycles) in {WARN, BAD}

    def _cycles(self) -> Lane:
        marks = []
        for each in self._day["cycles"]:
            first, last = parse_instant(each["first_slot_at"]), parse_instant(each["last_slot_at"])
            kind = _kind_of(each)
            says = f"{self._span(first, last)}: {_say_cycles(each)}"
            height = {GOOD: 35, PLAIN: 20, WARN: 65, BAD: 100}[kind]
            marks.append(self._mark(f"cycle-{kind}", first, last, says, height=height))
        bad = sum(each["cycles"] for each in self._day["cycles"] if self._is_bad(each))
        total = sum(each["cycles"] for each in self._day["cycles"])
        return Lane("Cycles", f"{_count(total, 'cycle')}, {bad} with trouble.", marks)

    def _tell_cycles(self, cycles: Mapping[str, Any]) -> Happening:
        first, last = parse_instant(cycles["first_slot_at"]), parse_instant(cycles["last_slot_at"])
        until = last if last > first else None
        return Happening(first, until, _kind_of(cycles), _say_cycles(cycles), _answer_of(cycles))

    # --- refusals

    def _refused(self) -> Lane:
        refusals = self._day["refusals"]
        marks = []
        for each in refusals:
            hour = parse_instant(each["hour"])
            says = f"{self._span(hour, hour + timedelta(hours=1))}: {_say_refusal(each)}"
            marks.append(self._mark("refused", hour, hour + timedelta(hours=1), says, height=70))
        total = sum(each["occurrences"] for each in refusals)
        return Lane("Refused", f"{total} refused." if total else "Nothing was refused.", marks)

    def _tell_refusal(self, refusal: Mapping[str, Any]) -> Happening:
        first, last = parse_instant(refusal["first_at"]), parse_instant(refusal["last_at"])
        detail = refusal["detail"] or meaning("Reason", refusal["reason"] or "")
        until = last if last > first else None
        return Happening(first, until, BAD, f"refused: {_say_refusal(refusal)}", detail)

    # --- edges

    def _edges(self, name: str, edges: Sequence[Mapping[str, Any]]) -> Lane:
        facts = list(dict.fromkeys(edge_words(edge["kind"]).fact for edge in edges))
        marks = [
            mark
            for row, fact in enumerate(facts)
            for mark in self._mark_fact(fact, edges, row, 100 / len(facts))
        ]
        inside = [edge for edge in edges if parse_instant(edge["at"]) >= self._window.begins_at]
        bad = [fact for fact in facts if not _last_of(fact, edges).is_good]
        now = f" Now: {', '.join(_last_of(fact, edges).words for fact in bad)}." if bad else ""
        changes = _count(len(inside), "change") if inside else "No change"
        return Lane(name, f"{changes}.{now}", marks)

    def _mark_fact(
        self, fact: str, edges: Sequence[Mapping[str, Any]], row: int, height: float
    ) -> Iterator[LaneMark]:
        """Yield a band while a bad edge holds, and a tick for each good one."""
        own = [edge for edge in edges if edge_words(edge["kind"]).fact == fact]
        ends = [parse_instant(edge["at"]) for edge in own[1:]] + [self._window.ends_at]
        for edge, end in zip(own, ends, strict=True):
            at, words = parse_instant(edge["at"]), edge_words(edge["kind"])
            says = f"{self._clock(at)}: {_say_edge(edge, words)}"
            if not words.is_good:
                yield self._mark("edge-bad", at, end, says, top=row * height, height=height * 0.9)
            elif at >= self._window.begins_at:
                yield self._mark("edge-good", at, at, says, top=row * height, height=height * 0.9)

    def _in_window(self, name: str) -> Iterable[Mapping[str, Any]]:
        return (e for e in self._day[name] if parse_instant(e["at"]) >= self._window.begins_at)

    @staticmethod
    def _tell_edge(edge: Mapping[str, Any]) -> Happening:
        words = edge_words(edge["kind"])
        mark = GOOD if words.is_good else BAD
        fault = edge["fault"] and (meaning("FaultClass", edge["fault"]) or edge["fault"])
        why = filter(None, (fault, edge["detail"]))
        return Happening(parse_instant(edge["at"]), None, mark, words.words, "; ".join(why))

    # --- places and times

    def _mark(
        self,
        kind: str,
        begins_at: datetime,
        ends_at: datetime,
        says: str,
        *,
        height: float = 100,
        top: float | None = None,
    ) -> LaneMark:
        left, right = self._window.left_of(begins_at), self._window.left_of(ends_at)
        width = max(_LEAST_WIDTH, right - left)
        above = 100 - height if top is None else top
        return LaneMark(kind, percent(left), percent(width), percent(above), percent(height), says)

    def _clock(self, at: Any) -> str:
        return f"{parse_instant(at).astimezone(self._zone):%H:%M:%S}"

    def _span(self, begins_at: datetime, ends_at: datetime) -> str:
        first, last = self._clock(begins_at), self._clock(ends_at)
        return first if first == last else f"{first} to {last}"


def _join_alike(cycles: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the cycles with trouble; those that follow each other with the same one are joined."""
    joined: list[dict[str, Any]] = []
    before: tuple[Any, ...] | None = None
    for each in cycles:
        alike = each["outcome"], each["answer"]
        if _kind_of(each) in {WARN, BAD}:
            if alike == before:
                joined[-1]["cycles"] += each["cycles"]
                joined[-1]["last_slot_at"] = each["last_slot_at"]
            else:
                joined.append(dict(each))
        before = alike
    return list(joined)


def _kind_of(cycles: Mapping[str, Any]) -> str:
    kind = _OUTCOMES.get(cycles["outcome"], WARN if cycles["outcome"] == "partial" else BAD)
    return BAD if cycles["answer"] not in {None, "ok"} else kind


def _say_cycles(cycles: Mapping[str, Any]) -> str:
    said = meaning("CycleOutcome", cycles["outcome"]) or cycles["outcome"]
    outcome = cycles["outcome"].replace("_", " ")
    return f"{_count(cycles['cycles'], 'cycle')} {outcome}: {said}"


def _answer_of(cycles: Mapping[str, Any]) -> str:
    answer = cycles["answer"]
    return "" if answer in {None, "ok"} else f"the device's connection: {answer}"


def _say_refusal(refusal: Mapping[str, Any]) -> str:
    why = (refusal["reason"] or refusal["outcome"]).replace("_", " ")
    what = refusal["signal"] or "whole updates"
    return f"{what}, {why}, {_count(refusal['occurrences'], 'time')}"


def _say_edge(edge: Mapping[str, Any], words: EdgeWords) -> str:
    detail = edge["detail"] or edge["fault"]
    return f"{words.words}: {detail}" if detail else words.words


def _last_of(fact: str, edges: Sequence[Mapping[str, Any]]) -> EdgeWords:
    return next(
        words for edge in reversed(edges) if (words := edge_words(edge["kind"])).fact == fact
    )


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
