"""The body of `POST /ingest`, plainly good or not, also if single items are no strict JSON.

Owns the second reading of a body whose first, strict reading failed. NaN, a wrong byte or a quote
too many in one item must not cost the other items of its request: the client would send the same
500 items again and again. It takes up to six times as long as the first reading, so it is done in a
thread, one body at a time.
"""

import json
from functools import partial
from typing import Any

import orjson

from api.bodies import in_thread, parse_json, validate_body
from api.plain_updates import Arrival, read_plain
from api.problem_types import MALFORMED_JSON
from api.problems import FaultyPart, Problem
from api.update_items import BadItem, IngestBody, Item
from domain.model import MAX_SAMPLE_BYTES, MAX_UPDATES_PER_SUBMISSION, CanonicalUpdate
from runtime.damaged_json import Damaged, Limits, read_damaged

NOT_JSON = FaultyPart(pointer="", detail="not JSON: a number, text or bracket in it is wrong")
LIMITS = Limits(brackets=250_000, damaged=MAX_UPDATES_PER_SUBMISSION)
_IDS = ("workspace_id", "provider_id", "device_id", "external_id")


async def read_updates(raw: bytes, arrival: Arrival) -> list[Item]:
    """Return the items of a request's body, in order.

    Raises Problem as api.bodies.read_json does. Text that is not JSON is refused whole (400) only
    if the fault is around the items.
    """
    try:
        return _read(raw, arrival)
    except Problem as problem:
        if problem.kind is not MALFORMED_JSON:
            raise
        found = await in_thread(partial(_read_again, arrival), raw)
        if found is None:
            raise
        return found


def _read(raw: bytes, arrival: Arrival) -> list[Item]:
    """Return the items of strict JSON. Raises Problem."""
    document = parse_json(raw)
    plain = read_plain(document["updates"], arrival) if _may_be_plain(document) else None
    if plain is not None:
        return list(plain)
    items: list[Any] = validate_body(raw, document, IngestBody, arrival).updates
    return items  # the validator of the model made these of them


def _may_be_plain(document: Any) -> bool:
    if type(document) is not dict or list(document) != ["updates"]:
        return False
    updates = document["updates"]
    return type(updates) is list and len(updates) <= MAX_UPDATES_PER_SUBMISSION


def _read_again(arrival: Arrival, raw: bytes) -> list[Item] | None:
    """Return the items, or None if what is around them cannot be read either.

    Raises Problem for a body of the wrong shape.
    """
    try:
        document = read_damaged(raw, "updates", limits=LIMITS)
        updates = document["updates"] if type(document) is dict else []
        damaged = {place: one for place, one in enumerate(updates) if type(one) is Damaged}
        unread = {place: one for place, one in damaged.items() if not _is_read(one)}
        for place, one in damaged.items():
            updates[place] = None if place in unread else _to_strict(one.value)
        strict = orjson.dumps(document)
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    items = _read(strict, arrival)
    for place, one in damaged.items():
        sample, item = one.raw[:MAX_SAMPLE_BYTES], items[place]
        if place in unread:
            items[place] = _unread(one, sample)
        elif not isinstance(item, CanonicalUpdate):  # which has lost nothing that a reading needs
            items[place] = item._replace(sample=sample)
    return items


def _is_read(one: Damaged) -> bool:
    """Return whether everything but single readings of the item is strict JSON."""
    if not isinstance(one.value, dict) or not isinstance(one.value.get("readings"), list):
        return False
    return _is_strict({name: part for name, part in one.value.items() if name != "readings"})


def _to_strict(item: dict[str, Any]) -> dict[str, Any]:
    """Return the item with null in the place of values in its readings that are no strict JSON."""
    return {**item, "readings": [_to_strict_reading(reading) for reading in item["readings"]]}


def _to_strict_reading(reading: Any) -> Any:
    if not isinstance(reading, dict):
        return reading if _is_strict(reading) else None
    return {
        name: value if _is_strict(value) else None
        for name, value in reading.items()
        if _is_strict(name)
    }


def _is_strict(value: Any) -> bool:
    """Return whether strict JSON can hold the value.

    orjson would write null for NaN, and the standard library lone surrogates.
    """
    try:
        orjson.dumps(value)
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _unread(one: Damaged, sample: bytes) -> BadItem:
    """Return an item that can be read in part only, with those of its ids that can be read."""
    ids = one.value if isinstance(one.value, dict) else {name: one.text_of(name) for name in _IDS}
    return BadItem({name: ids.get(name) for name in _IDS}, [NOT_JSON], sample)
