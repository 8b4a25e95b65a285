"""Documents: the stored form of a device's held values, and of the readings of an event.

A document is {"soc_percent": [88.5, stated, arrival, reception, changed], …}: the entries of
domain.held, the stated time in microseconds since 1970, the others relative to it
(docs/decisions/0022). Documents of before have entries of two members, [88.5,
"2026-05-01T10:00:00Z"], and the halves of a position as entries of their own. They are read as
well, and the next update of the device writes them anew.

Readings of an event are values by signal, and one stated time for all of them; a value with another
stated time has the microseconds between the two beside it. Events of before have a time for each
value (docs/decisions/0055). A position there is one reading, too.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from domain.held import MICROSECOND, Held, name_values, to_micros
from domain.position import HALVES, LATITUDE, LONGITUDE, POSITION
from ports.ingest import UnitPoisoned
from storage.unit.steps import dump_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.held import Document
    from domain.model import Reading, Value

_OLD = 'Z"]'  # ends an array with a text: no entry of today does
_NUL = "\\u0000"


def read_document(text: str | None) -> Document:
    """Return a stored document as it is compared; an empty one for None."""
    if not text:
        return {}
    document: Document = orjson.loads(text)
    if _OLD in text:
        return _renew(document)
    position: Any = document.get(POSITION)
    if position is not None:
        position[0] = tuple(position[0])  # as it arrives
    return document


def read_values(text: str) -> dict[str, Held]:
    """Return the held values of a stored document, by the names on the wire."""
    return name_values(read_document(text))


def dump_document(document: Document) -> str:
    """Return the document as it is stored. Raises UnitPoisoned, see dump_json."""
    return dump_json(document)


def dump_readings(readings: Sequence[Reading]) -> tuple[datetime, str]:
    """Return the newest stated time of an event's readings, and the readings as they are stored.

    The last one of a signal counts. Raises UnitPoisoned for a value that PostgreSQL's text cannot
    hold: json would take it, and fail whoever reads it.
    """
    newest = readings[0].observed_at
    entries: dict[str, Any] = {}
    for signal, value, at in readings:
        if at is not newest and at != newest:
            newest, entries = _time_entries(readings)
            break
        entries[signal] = value
    text = dump_json(entries)
    if _NUL in text and _NUL in text.replace("\\\\", ""):
        raise UnitPoisoned("22P05", "a value of the event holds a NUL character")
    return newest, text


def _time_entries(readings: Sequence[Reading]) -> tuple[datetime, dict[str, Any]]:
    """Return the newest stated time, and the entries: a value of another time has it beside it."""
    last = {signal: (value, at) for signal, value, at in readings}
    newest = max(at for _, at in last.values())
    return newest, {
        signal: value if at == newest else (value, (at - newest) // MICROSECOND)
        for signal, (value, at) in last.items()
    }


def read_readings(text: str, observed_at: datetime | None) -> dict[str, tuple[Value, datetime]]:
    """Return the readings of a stored event, by the names on the wire.

    Without `observed_at`, the text is that of an event of before. The instants have the UTC
    singleton as timezone, which fromisoformat gives since Python 3.11.
    """
    entries = orjson.loads(text)
    if observed_at is None:
        parse = datetime.fromisoformat
        found = {signal: (value, parse(at)) for signal, (value, at) in entries.items()}
    else:
        found = {
            signal: (entry[0], observed_at + entry[1] * MICROSECOND)
            if _is_timed(signal, entry)
            else (entry, observed_at)
            for signal, entry in entries.items()
        }
    position = found.pop(POSITION, None)
    if position is not None:
        pair, at = position
        found.update({name: (half, at) for name, half in zip(HALVES, pair, strict=True)})
    return found


def _is_timed(signal: str, entry: Any) -> bool:
    """Return whether the entry has a time of its own; event_readings (schema.sql) says the same."""
    return isinstance(entry, list) and (signal != POSITION or isinstance(entry[0], list))


def _renew(document: Document) -> Document:
    """Return a document of before in today's form.

    The arrival of such a value was not kept: its stated time stands for it. Halves of a position
    with equal times become one. Others are left out: the vehicle may never have been where they
    point to.
    """
    renewed: Document = {}
    for signal, (value, at) in document.items():
        renewed[signal] = Held(value, *(to_micros(datetime.fromisoformat(at)),) * 2).entry
    latitude, longitude = renewed.pop(LATITUDE, None), renewed.pop(LONGITUDE, None)
    if latitude and longitude and latitude[1] == longitude[1]:
        renewed[POSITION] = ((latitude[0], longitude[0]), *latitude[1:])
    return renewed
