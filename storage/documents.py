"""Documents: the stored form of a device's held values, and of the readings of an event.

A document is {"soc_percent": [88.5, stated, arrival, reception, changed], …}: the entries of
domain.held, the stated time in microseconds since 1970, the others relative to it
(docs/decisions/0022). Documents of before have entries of two members, [88.5,
"2026-05-01T10:00:00Z"], and the halves of a position as entries of their own. They are read as
well, and the next update of the device writes them anew.

Readings of events keep the form of two members. A position there is one reading, too.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from domain.held import Held, name_values, to_micros
from domain.position import HALVES, LATITUDE, LONGITUDE, POSITION
from storage.unit.steps import dump_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.held import Document
    from domain.model import Reading, Value

_OLD = 'Z"]'  # ends an array with a text: no entry of today does


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


def dump_readings(readings: Sequence[Reading]) -> str:
    """Return an event's readings as they are stored; the last one of a signal counts."""
    return dump_json({signal: (value, observed_at) for signal, value, observed_at in readings})


def read_readings(text: str) -> dict[str, tuple[Value, datetime]]:
    """Return the readings of a stored event, by the names on the wire.

    The instants have the UTC singleton as timezone, which fromisoformat gives since Python 3.11.
    """
    parse = datetime.fromisoformat
    found = {signal: (value, parse(at)) for signal, (value, at) in orjson.loads(text).items()}
    position = found.pop(POSITION, None)
    if position is not None:
        pair, at = position
        found.update({name: (half, at) for name, half in zip(HALVES, pair, strict=True)})
    return found


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
