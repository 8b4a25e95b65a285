"""The true story of one fleet: what was wrong with which vehicle, when, and whose fault it was.

Owns the telling: it turns the faults that were set, and the connections that ended, into episodes.
A test compares a service's verdicts with it. Pure.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from simulator.faults import Faults
from simulator.quirks import STOP_DATA, Quirk, party_of
from simulator.windows import PARTIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from simulator.provider import StreamLogEntry
    from simulator.reporting import Reporting
    from simulator.roster import Roster


class Episode(NamedTuple):
    """One cause from `since` to `until`, in seconds since the epoch. `until` is None if it lasts.

    `vehicle_id` is None if the whole account is concerned. `party` is the side at fault: provider,
    customer or device. `stops_data` says whether nothing usable comes meanwhile, so that a vehicle
    is late because of it.
    """

    vehicle_id: str | None
    cause: str
    party: str
    since: float
    until: float | None
    stops_data: bool


def tell(roster: Roster, started_at: float, streams: Iterable[StreamLogEntry]) -> list[Episode]:
    """Return every episode of a fleet so far. `started_at` is when the simulator started."""
    told = [
        Episode(
            vehicle_id,
            cause,
            party,
            started_at + since,
            _wall(started_at, until),
            _stops_data(cause),
        )
        for vehicle_id, cause, party, since, until in _of_changes(roster)
    ]
    return told + list(_of_streams(streams))


def _wall(started_at: float, until: float) -> float | None:
    return None if until == inf else started_at + until


# What these send can be used, if it is read as the documents say.
_HARMLESS: Final = frozenset(
    {
        *("late", "held_back", "answer_faults"),
        *map(str, set(Quirk) - STOP_DATA),
    }
)


def _stops_data(cause: str) -> bool:
    return cause not in _HARMLESS and not cause.startswith("signal_stops")


_Told = tuple[str | None, str, str, float, float]


def _of_changes(roster: Roster) -> Iterator[_Told]:
    """Yield the episodes of manners and faults, in elapsed seconds; each lasts until it changes."""
    changes = list(roster.changes)
    ends = _ends(roster)
    for change, end in zip(changes, ends, strict=True):
        if isinstance(change.manner, Faults):
            spans: Iterable[_Told] = _of_faults(change.manner, roster.elapsed)
        elif change.vehicle_id is not None:
            spans = _of_manner(change.vehicle_id, change.manner, change.elapsed)
        for vehicle_id, cause, party, since, until in spans:
            begin, finish = max(since, change.elapsed), min(until, end)
            if begin < finish:
                yield vehicle_id, cause, party, begin, finish


def _ends(roster: Roster) -> list[float]:
    """Return when each change was replaced by a later one of the same vehicle, or of the faults."""
    ends: list[float] = []
    following: dict[str | None, float] = {}
    for change in reversed(roster.changes):
        ends.append(following.get(change.vehicle_id, inf))
        following[change.vehicle_id] = change.elapsed
    return ends[::-1]


def _of_faults(faults: Faults, elapsed: float) -> Iterator[_Told]:
    for window in faults.windows:
        for since, until in window.spans(elapsed):
            if faults.is_active(since):
                yield None, str(window.trouble), PARTIES[window.trouble], since, until
    if faults.held_back_seconds:
        yield None, "held_back", "provider", faults.starts_at, faults.ends_at
    if faults.answer_limits or faults.latency:
        yield None, "answer_faults", "provider", faults.starts_at, faults.ends_at


def _of_manner(vehicle_id: str, manner: Reporting, since: float) -> Iterator[_Told]:
    if manner.never:
        yield vehicle_id, "never", "device", since, inf
    elif manner.silent_after_seconds is not None:
        until = manner.silent_until_seconds
        end = inf if until is None else since + until
        yield vehicle_id, "silent", "device", since + manner.silent_after_seconds, end
    if manner.every_seconds is not None:
        yield vehicle_id, "rhythm", "device", since, inf
    if manner.late_seconds is not None:
        yield vehicle_id, "late", "device", since, inf
    for label, after in manner.stopped_labels:
        yield vehicle_id, f"signal_stops {label}", "device", since + after, inf
    if manner.quirk is not None:
        begin = since + manner.quirk_after_seconds
        yield vehicle_id, str(manner.quirk), party_of(manner.quirk), begin, inf


def _of_streams(streams: Iterable[StreamLogEntry]) -> Iterator[Episode]:
    """Yield the gaps between a stream that a fault ended, and the next one."""
    closed_at: float | None = None
    for entry in streams:
        if closed_at is not None:
            yield Episode(None, "disconnect", "provider", closed_at, entry.opened_at, True)
        by_fault = entry.ending in ("closed_by_fault", "cut_by_fault")
        closed_at = entry.closed_at if by_fault else None
    if closed_at is not None:
        yield Episode(None, "disconnect", "provider", closed_at, None, True)
