"""An update as JSON that is read back as the same update, so that it can be accepted later.

Owns this form alone. Names and texts that a provider chose passed the connection's scrubber before
they became an update, so the JSON holds no secret of the connection.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from domain.model import CanonicalUpdate, Reading

if TYPE_CHECKING:
    from domain.model import Value


def dump_update(update: CanonicalUpdate) -> bytes:
    """Return the update as JSON. Raises TypeError for values that JSON cannot hold."""
    named = update._asdict() | {"readings": [tuple(reading) for reading in update.readings]}
    return orjson.dumps(named, option=orjson.OPT_UTC_Z)


def read_update(text: bytes) -> CanonicalUpdate:
    """Return the update of which dump_update made the text.

    Raises TypeError, ValueError or KeyError for a text that is not of an update. A NaN is read as
    None: compare with the update before the text is kept.
    """
    named: dict[str, Any] = orjson.loads(text)
    parse = datetime.fromisoformat
    reception_at, arrivals = named["reception_at"], named["arrivals"]
    return CanonicalUpdate(
        named["workspace_id"],
        named["provider_id"],
        named["device_id"],
        named["external_id"],
        named["vehicle_id"],
        tuple(
            Reading(signal, _read_value(value), parse(at))
            for signal, value, at in named["readings"]
        ),
        parse(named["received_at"]),
        named["trace_id"],
        None if reception_at is None else parse(reception_at),
        None if arrivals is None else tuple(map(parse, arrivals)),
    )


def is_read_back(update: CanonicalUpdate, text: bytes) -> bool:
    """Return whether the text is read back as this update."""
    try:
        return read_update(text) == update
    except (TypeError, ValueError, KeyError):
        return False


def _read_value(value: Any) -> Value:
    """Return a reading's value. JSON has a list for a pair."""
    read: Value = tuple(value) if isinstance(value, list) else value
    return read
