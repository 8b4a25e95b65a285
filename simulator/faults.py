"""The injected faults: how often, for which vehicles and when; decided by seeded chance.

Owns the list of faults, the parser of the flag and the pure decisions. Must never carry a fault
out: the stream, the log of statuses and the HTTP answers ask here and act themselves.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from textwrap import fill
from typing import Any, Final, TypeVar

from simulator.chance import draw
from simulator.windows import Trouble, Window

_F = TypeVar("_F")
HELP_WIDTH: Final = 76  # on 80 columns, within the indent and the margin of a help text


class FaultsInvalid(ValueError):
    """The text names an unknown fault or an impossible value; the message says what is allowed."""


class FrameFault(StrEnum):
    """A fault of one frame of the stream, or of one record of the rFMS log."""

    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    FUTURE = "future"
    MALFORMED = "malformed"
    NON_OBJECT = "non_object"


class AnswerFault(StrEnum):
    """A fault of one HTTP answer; the value of a status fault is its status."""

    UNAUTHORISED = "401"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    TOO_MANY = "429"
    BROKEN = "500"
    AWAY = "503"
    DROPPED = "dropped"


def _fraction(help_text: str) -> Any:
    return field(default=0.0, metadata={"kind": "fraction", "help": help_text})


def _seconds(default: float, help_text: str) -> Any:
    return field(default=default, metadata={"kind": "seconds", "help": help_text})


def _switch(help_text: str) -> Any:
    return field(default=0.0, metadata={"kind": "0 or 1", "help": help_text})


def _limits(*shares: tuple[float, _F]) -> tuple[tuple[float, _F], ...]:
    total = 0.0
    limits = []
    for share, fault in shares:
        if share > 0:
            total += share
            limits.append((total, fault))
    return tuple(limits)


def _check(name: str, kind: str, value: float) -> None:
    if kind == "fraction" and not 0.0 <= value <= 1.0:
        raise FaultsInvalid(f"{name}={value:g} is a fraction and must lie between 0 and 1")
    if kind == "0 or 1" and value not in (0.0, 1.0):
        raise FaultsInvalid(f"{name}={value:g} is a switch: 0 or 1")
    if not value >= 0.0:
        raise FaultsInvalid(f"{name}={value:g} is in seconds and must not be negative")


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Every fault by its flag's name. By default there are none.

    `starts_at` and `ends_at`, in seconds since the start, bound the faults of frames, connections
    and answers. `vehicles` (empty: all) limits those of frames and of vehicles. Fractions of
    vehicles are exact counts, rounded up.
    """

    duplicates: float = _fraction("of frames are sent twice")
    out_of_order: float = _fraction("of frames are sent after the next one of the same signal")
    malformed: float = _fraction(
        "of frames (rFMS: of answers) are cut off in the middle of the JSON"
    )
    non_object: float = _fraction(
        "of frames come with a text, number or array beside (rFMS: answers are replaced)"
    )
    future: float = _fraction("of frames carry a time ahead of the clock")
    future_seconds: float = _seconds(3600.0, "how far ahead")
    late: float = _fraction("of vehicles deliver in bursts")
    late_seconds: float = _seconds(10.0, "how often the bursts come")
    never: float = _fraction("of vehicles never report")
    silent: float = _fraction("of vehicles fall silent")
    silent_after: float = _seconds(15.0, "when they do")
    silent_for: float = _seconds(0.0, "how long they stay so; 0 is for good")
    rhythm: float = _fraction("of vehicles report only now and then")
    rhythm_every: float = _seconds(20.0, "how often")
    signal_stops: float = _fraction("of vehicles stop sending soc while the rest goes on")
    signal_stops_after: float = _seconds(10.0, "when they do")
    disconnect_every: float = _seconds(0.0, "a stream is closed about this often; 0 is never")
    disconnect_abrupt: float = field(
        default=0.5,
        metadata={"kind": "fraction", "help": "of those closings come without a handshake"},
    )
    latency: float = _seconds(0.0, "before every answer and handshake")
    http_401: float = _fraction("of answers")
    http_403: float = _fraction("of answers")
    http_404: float = _fraction("of answers")
    http_429: float = _fraction("of answers")
    http_500: float = _fraction("of answers")
    http_503: float = _fraction("of answers")
    http_drop: float = _fraction("of requests: the connection is closed without an answer")
    retry_after: float = _seconds(5.0, "the wait that a 429 or 503 asks for")
    # Quirks of single vehicles; the names are those of simulator.quirks.Quirk.
    malformed_records: float = _fraction(
        "of vehicles send records with an unreadable time, all of them"
    )
    clock_ahead: float = _fraction("of vehicles have a clock that is far ahead")
    clock_ahead_seconds: float = _seconds(3600.0, "how far")
    clock_fast: float = _fraction("of vehicles have a clock that is a little fast")
    clock_fast_seconds: float = _seconds(240.0, "how much")
    clock_behind: float = _fraction("of vehicles have a clock that is behind")
    clock_set_back: float = _fraction("of vehicles set their clock back, at quirks_after")
    clock_behind_seconds: float = _seconds(900.0, "how far behind or back")
    repeats: float = _fraction("of vehicles repeat one record for ever, from quirks_after on")
    left_out: float = _fraction("of vehicles leave the account, at quirks_after")
    vehicle_errors: float = _fraction(
        "of vehicles fall silent at quirks_after, and the state endpoint has an error for them "
        "(rFMS: only silent)"
    )
    loose_types: float = _fraction("of vehicles have numbers as text, and times in odd forms")
    position_without_time: float = _fraction("of vehicles leave positionDateTime out (rFMS)")
    refused_signal: float = _fraction("of vehicles always send a state of charge of 140 percent")
    bad_bytes: float = _fraction(
        "of vehicles send NaN, 1e400, half a surrogate pair or (rFMS) a Latin-1 byte"
    )
    half_position: float = _fraction("of vehicles send a longitude of 655.35")
    fill_values: float = _fraction("of vehicles send position 0/0 and counters of all ones")
    same_second: float = _fraction("of vehicles send two records in each second's name (rFMS)")
    first_record_old: float = _fraction("of vehicles send one old record, and no more")
    first_record_age: float = _seconds(90 * 86_400.0, "how old")
    other_case: float = _fraction("of vehicles send their id in the other case")
    empties_buffer: float = _fraction(
        "of vehicles first send old records, as a unit does that came from another vehicle"
    )
    buffer_age: float = _seconds(7200.0, "how old these are")
    quirks_after: float = _seconds(15.0, "when the quirks begin that begin later")
    # Troubles of a whole account, again and again.
    outage_every: float = _seconds(0.0, "the account is away about this often; 0 is never")
    outage_for: float = _seconds(30.0, "how long: every answer is 503 and streams are cut")
    quota_every: float = _seconds(0.0, "the account's quota is used up this often; 0 is never")
    quota_for: float = _seconds(30.0, "how long: every answer is 429 and streams are cut")
    refusal_every: float = _seconds(0.0, "the credential is refused this often; 0 is never")
    refusal_for: float = _seconds(30.0, "how long: every answer is 401 and streams are cut")
    held_back_seconds: float = _seconds(0.0, "the vendor keeps everything back for so long")
    # Answers that are legal, and odd.
    legal_forms: float = _fraction(
        "of answers take a rare legal form: 204 or no list for nothing new, byte order mark, "
        "several gzip members, a content coding that is none"
    )
    unwrapped: float = _switch("statuses come without their vehicleStatusResponse (rFMS)")
    created_order: float = _switch("pages are in the order of creation, without links (rFMS)")
    unsorted_pages: float = _switch("pages are in no order, without links (rFMS)")
    starts_at: float = _seconds(0.0, "faults begin")
    ends_at: float = _seconds(float("inf"), "faults end")
    vehicles: tuple[str, ...] = field(
        default=(), metadata={"kind": "names", "help": "only these, joined by '+'"}
    )

    def __post_init__(self) -> None:
        for one in fields(self):
            if one.metadata["kind"] != "names":
                _check(one.name, one.metadata["kind"], getattr(self, one.name))
        for what, limits in (("frame", self.frame_limits), ("answer", self.answer_limits)):
            if limits and limits[-1][0] > 1.0 + 1e-9:
                raise FaultsInvalid(f"the fractions of {what} faults add up to more than 1")

    @cached_property
    def frame_limits(self) -> tuple[tuple[float, FrameFault], ...]:
        """Rising bounds for one draw, so that a frame has at most one fault."""
        return _limits(
            (self.duplicates, FrameFault.DUPLICATE),
            (self.out_of_order, FrameFault.OUT_OF_ORDER),
            (self.future, FrameFault.FUTURE),
            (self.malformed, FrameFault.MALFORMED),
            (self.non_object, FrameFault.NON_OBJECT),
        )

    @cached_property
    def answer_limits(self) -> tuple[tuple[float, AnswerFault], ...]:
        return _limits(
            (self.http_401, AnswerFault.UNAUTHORISED),
            (self.http_403, AnswerFault.FORBIDDEN),
            (self.http_404, AnswerFault.NOT_FOUND),
            (self.http_429, AnswerFault.TOO_MANY),
            (self.http_500, AnswerFault.BROKEN),
            (self.http_503, AnswerFault.AWAY),
            (self.http_drop, AnswerFault.DROPPED),
        )

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The account's recurring troubles; at an instant of two, the first counts."""
        return tuple(
            window
            for window in (
                Window(Trouble.OUTAGE, self.outage_every, self.outage_for),
                Window(Trouble.QUOTA, self.quota_every, self.quota_for),
                Window(Trouble.REFUSAL, self.refusal_every, self.refusal_for),
            )
            if window.every
        )

    def is_active(self, elapsed: float) -> bool:
        return self.starts_at <= elapsed < self.ends_at

    def concerns(self, vehicle_id: str) -> bool:
        return not self.vehicles or vehicle_id in self.vehicles


NO_FAULTS: Final = Faults()


def pick(limits: tuple[tuple[float, _F], ...], number: float) -> _F | None:
    """Return the fault whose share of the unit interval contains `number`, if any."""
    for limit, fault in limits:
        if number < limit:
            return fault
    return None


def frame_fault(faults: Faults, seed: int, signal: int, turn: int) -> FrameFault | None:
    """Return the fault of the `turn`-th frame of a signal, or None.

    It is the same for the same seed, whichever clients listen.
    """
    return pick(faults.frame_limits, draw(seed, signal, turn)) if faults.frame_limits else None


def answer_fault(faults: Faults, seed: int, request: int) -> AnswerFault | None:
    """Return the fault of the `request`-th answer of a tenant, or None."""
    return pick(faults.answer_limits, draw(seed, -1, request)) if faults.answer_limits else None


def parse_faults(text: str) -> Faults:
    """Read `name=value,name=value`; empty text means no faults.

    Raises FaultsInvalid with a message that names the remedy.
    """
    values: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in item.partition("="))
        if not equals:
            raise FaultsInvalid(
                f"{item!r}: a fault is written name=value, for instance duplicates=0.05"
            )
        values[name] = _parse_value(name, value)
    return Faults(**values)


def _parse_value(name: str, value: str) -> float | tuple[str, ...]:
    kinds = {one.name: one.metadata["kind"] for one in fields(Faults)}
    if name not in kinds:
        near = difflib.get_close_matches(name, kinds, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise FaultsInvalid(f"unknown fault {name!r}.{hint} Allowed: {', '.join(sorted(kinds))}")
    if kinds[name] == "names":
        return tuple(value.split("+"))
    try:
        return float(value)
    except ValueError:
        raise FaultsInvalid(f"{name}={value!r}: a number is needed ({kinds[name]})") from None


def describe_faults() -> str:
    """Return a paragraph for each fault, for a command's help on 80 columns."""
    return "\n".join(
        fill(
            f"{one.name} ({one.metadata['kind']}): {one.metadata['help']}",
            width=HELP_WIDTH,
            subsequent_indent="    ",
        )
        for one in fields(Faults)
    )


def seconds_to_disconnect(faults: Faults, seed: int, connection: int) -> float:
    """Return how long a connection lives: between 0.5 and 1.5 times `disconnect_every`."""
    if not faults.disconnect_every:
        return float("inf")
    return faults.disconnect_every * (0.5 + draw(seed, -2, connection))


def is_abrupt(faults: Faults, seed: int, connection: int) -> bool:
    return draw(seed, -3, connection) < faults.disconnect_abrupt
