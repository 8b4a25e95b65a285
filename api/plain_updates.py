"""The common way of a body of `POST /ingest`: items in which every member is plainly good.

Owns the check that items are plainly good, and the updates that are made of such items. It may
leave to the models of api/update_items.py what they would take. It must never take what they would
refuse, nor make another update of it: a test compares both.

Items are read together, one member of all of them after the other, so that nearly all the work is
done in C. The models take ten times as long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final

from api.bodies import read_instant
from api.item_limits import (
    MAX_MAGNITUDE,
    MAX_READINGS,
    MAX_SIGNAL,
    MAX_TEXT,
    MAX_TRACE_ID,
    TRACE_ID_PATTERN,
)
from api.shapes import MAX_OWN_NAME, PRINTABLE
from domain.ids import are_ids
from domain.model import CanonicalUpdate, Reading
from domain.position import HALVES, pair_positions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

_MEMBERS: Final = frozenset(
    (
        "workspace_id",
        "provider_id",
        "device_id",
        "external_id",
        "vehicle_id",
        "readings",
        "trace_id",
        "received_at",
    )
)
_PRINTABLE: Final = re.compile(PRINTABLE)
_TRACE_ID: Final = re.compile(TRACE_ID_PATTERN)
_VALUE_TYPES: Final = frozenset((bool, int, float, str))


@dataclass(slots=True)
class Arrival:
    """What is the same for all items of a request, and the oldest arrival that its client claims.

    The claim is only logged.
    """

    received_at: datetime
    trace_id: str
    oldest_claim: datetime | None = None

    def note_claim(self, claim: datetime | None) -> None:
        if claim is not None and (self.oldest_claim is None or claim < self.oldest_claim):
            self.oldest_claim = claim


def read_plain(items: Sequence[Any], arrival: Arrival) -> list[CanonicalUpdate] | None:
    """Return the updates of items that were read from strict JSON.

    None if one of the items is not plainly good: then the models judge it.
    """
    try:
        return _read_items(items, arrival)
    except (KeyError, TypeError, ValueError):  # a member is missing, of another type, or not good
        return None


def _read_items(items: Sequence[Any], arrival: Arrival) -> list[CanonicalUpdate]:
    _require(all(map(_MEMBERS.issuperset, items)))
    workspaces = [item["workspace_id"] for item in items]
    providers = [item["provider_id"] for item in items]
    devices = [item.get("device_id") for item in items]
    externals = [item.get("external_id") for item in items]
    vehicles = [item.get("vehicle_id") for item in items]
    traces = [item.get("trace_id") for item in items]
    claims = [item.get("received_at") for item in items]
    _require(are_ids({*workspaces, *providers}) and are_ids(_given(devices)))
    _require(all(device or external for device, external in zip(devices, externals, strict=True)))
    _require(all(map(_is_own_name, chain(_given(externals), _given(vehicles)))))
    _require(all(map(_is_trace_id, _given(traces))))
    claimed = [read_instant(claim) for claim in _given(claims)]
    readings = _read_readings([item["readings"] for item in items])
    updates = zip(
        workspaces,
        providers,
        devices,
        externals,
        vehicles,
        readings,
        repeat(arrival.received_at),
        [trace or arrival.trace_id for trace in traces],
        repeat(None),
        repeat(None),
        strict=False,  # three of them have no end
    )
    made = _make_all(CanonicalUpdate, updates)
    for claim in claimed:
        arrival.note_claim(claim)
    return made


def _read_readings(lists: Sequence[Any]) -> Iterator[tuple[Reading, ...]]:
    """Return the readings of each item, positions in pairs."""
    lengths = list(map(len, lists))
    _require(set(map(type, lists)) <= {list} and 0 not in lengths)
    _require(max(lengths, default=0) <= MAX_READINGS)
    readings = list(chain.from_iterable(lists))
    signals = [reading["signal"] for reading in readings]
    values = [reading["value"] for reading in readings]
    times = [reading["observed_at"] for reading in readings]
    _require(set(map(len, readings)) <= {3})
    names = set(signals)
    _require(all(isinstance(name, str) and 0 < len(name) <= MAX_SIGNAL for name in names))
    _check_values(values)
    instants = {text: read_instant(text) for text in set(times)}
    made = _make_all(Reading, zip(signals, values, map(instants.__getitem__, times), strict=True))
    return _cut(made, lengths, has_halves=not names.isdisjoint(HALVES))


def _cut(
    readings: Sequence[Reading], lengths: Iterable[int], *, has_halves: bool
) -> Iterator[tuple[Reading, ...]]:
    end = 0
    for length in lengths:
        start, end = end, end + length
        cut = readings[start:end]
        yield pair_positions(cut) if has_halves else tuple(cut)


def _check_values(values: Sequence[Any]) -> None:
    types = set(map(type, values))
    _require(types <= _VALUE_TYPES)
    numbers: Sequence[Any] = values
    if str in types:
        _require(max(len(value) for value in values if type(value) is str) <= MAX_TEXT)
        numbers = [value for value in values if type(value) is not str]
    _require(-MAX_MAGNITUDE < min(numbers, default=0) <= max(numbers, default=0) < MAX_MAGNITUDE)


def _is_own_name(name: str) -> bool:
    """Return whether it is a name as the customer or the provider gives it, as it stands."""
    return (
        _PRINTABLE.fullmatch(name) is not None
        and len(name) <= MAX_OWN_NAME
        and name == name.strip()
    )


def _is_trace_id(text: str) -> bool:
    return _TRACE_ID.fullmatch(text) is not None and len(text) <= MAX_TRACE_ID


def _given(members: Iterable[Any]) -> list[Any]:
    return [member for member in members if member is not None]


def _require(is_good: bool) -> None:
    if not is_good:
        raise ValueError("not plainly good")


def _make_all(kind: type, rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Return a named tuple of each row. Calling the class takes four times as long."""
    return list(map(tuple.__new__, repeat(kind), rows))
