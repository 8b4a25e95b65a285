"""The items of `POST /ingest`: their shape, and how good ones are told from bad ones.

Plainly good items do not come here: api/plain_updates.py reads them. A bad reading costs itself,
and an item without a good reading is bad as a whole. It must never refuse one item for another.
"""

import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, Self, TypeAlias, cast

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from api.bodies import Instant, RequestModel, pointer_to
from api.item_limits import (
    MAX_MAGNITUDE,
    MAX_READINGS,
    MAX_SIGNAL,
    MAX_TEXT,
    MAX_TRACE_ID,
    TRACE_ID_PATTERN,
)
from api.plain_updates import Arrival, read_plain
from api.problems import FaultyPart
from api.shapes import MAX_OWN_NAME, ExternalId, Identifier, VehicleId
from domain.model import (
    MAX_SAMPLE_BYTES,
    MAX_UPDATES_PER_SUBMISSION,
    CanonicalUpdate,
    Reading,
)
from domain.position import pair_positions
from domain.refusals import UNKNOWN_SIGNAL


def _check_value(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("give a boolean, a number or text")
    if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) < MAX_MAGNITUDE):
        raise ValueError("give a number below 2 to the 63rd")
    return value


class ReadingItem(RequestModel):
    signal: Annotated[
        str, Field(min_length=1, max_length=MAX_SIGNAL, description="GET /signals has their names")
    ]
    value: Annotated[
        bool | int | float | Annotated[str, Field(max_length=MAX_TEXT)],
        BeforeValidator(_check_value),
        Field(description="of the signal's kind, in its unit and range: GET /signals"),
    ]
    observed_at: Annotated[
        Instant, Field(description="the vehicle's own time, at most 5 minutes ahead of ours")
    ]


class UpdateItem(RequestModel):
    """The readings of one device, named by `device_id`, by `external_id`, or by both.

    All ids that it names must belong to the same device: else it is an `identity_conflict`. An
    `external_id` is unique within workspace and provider.
    """

    workspace_id: Identifier
    provider_id: Identifier
    device_id: Identifier | None = None
    external_id: ExternalId | None = None
    vehicle_id: VehicleId | None = Field(
        None, description="the vehicle that the device must have; left out, it is not compared"
    )
    readings: Annotated[list[ReadingItem], Field(min_length=1, max_length=MAX_READINGS)]
    trace_id: Annotated[str, Field(max_length=MAX_TRACE_ID, pattern=TRACE_ID_PATTERN)] | None = (
        Field(
            None, description="finds the update in events and logs; left out, it is the request's"
        )
    )
    received_at: Instant | None = Field(
        None,
        description="only logged: freshness age counts from the arrival",
    )

    @model_validator(mode="after")
    def _names_a_device(self) -> Self:
        if self.device_id is None and self.external_id is None:
            raise ValueError("give device_id or external_id")
        return self

    def to_update(self, arrival: Arrival) -> CanonicalUpdate:
        """Return the item as the domain knows it."""
        arrival.note_claim(self.received_at)
        readings = [Reading(part.signal, part.value, part.observed_at) for part in self.readings]
        return CanonicalUpdate(
            self.workspace_id,
            self.provider_id,
            self.device_id,
            self.external_id,
            self.vehicle_id,
            pair_positions(readings),
            arrival.received_at,
            self.trace_id or arrival.trace_id,
        )


class MendedItem(NamedTuple):
    """An item of which only good readings are left.

    `dropped` has the faults of the bad ones, `bad_readings` the signal and the first fault of each,
    and `sample` the whole as it was sent.
    """

    update: CanonicalUpdate
    dropped: Sequence[FaultyPart]
    bad_readings: Sequence[tuple[str, FaultyPart]]
    sample: bytes


class BadItem(NamedTuple):
    """An item that could not become an update, and why.

    `item` is what could be read of it, `sample` the whole as it was sent. `bad_readings` has the
    signal and the first fault of each reading, if only readings are at fault.
    """

    item: Any
    faults: Sequence[FaultyPart]
    sample: bytes
    bad_readings: Sequence[tuple[str, FaultyPart]] = ()

    def id_of(self, name: str) -> str | None:
        """Return the id of this name, if it can be read.

        A whole number is an external id, too: some clients write a vehicle's number as one.
        """
        value = self.item.get(name) if isinstance(self.item, dict) else None
        if type(value) is int and name == "external_id":
            value = str(value)
        return value.strip()[:MAX_OWN_NAME] if isinstance(value, str) else None


Item: TypeAlias = CanonicalUpdate | MendedItem | BadItem


def sample_of(item: Any) -> bytes:
    """Return the item as the ledger keeps it."""
    # Not orjson, which refuses a number of more than 64 bits: the item may be bad because of one.
    return json.dumps(item, ensure_ascii=False).encode(errors="replace")[:MAX_SAMPLE_BYTES]


def _sort_item(value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Item:
    arrival: Arrival = cast("Arrival", info.context)
    try:
        return _read_item(value, validate, arrival)
    except ValidationError as error:
        faults, bad = _faults_of(error, value), _bad_readings(error)
        named = _name_readings(error, faults, value) if bad else []
    good = (
        [reading for index, reading in enumerate(value["readings"]) if index not in bad]
        if bad
        else []
    )
    if not good:
        return BadItem(value, faults, sample_of(value), named)
    try:
        update = _read_item({**value, "readings": good}, validate, arrival)
    except ValidationError as error:  # by a validator that runs only when all members are valid
        return BadItem(value, [*_faults_of(error, value), *faults], sample_of(value))
    return MendedItem(update, faults, named, sample_of(value))


def _read_item(
    value: Any, validate: ValidatorFunctionWrapHandler, arrival: Arrival
) -> CanonicalUpdate:
    plain = read_plain([value], arrival)
    if plain is not None:
        return plain[0]
    item: UpdateItem = validate(value)
    return item.to_update(arrival)


def _bad_readings(error: ValidationError) -> frozenset[int]:
    """Return the indexes of the bad readings; empty when another member of the item is bad."""
    places = [
        fault["loc"][:2]
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    if any(len(place) < 2 or place[0] != "readings" for place in places):
        return frozenset()
    return frozenset(int(place[1]) for place in places)


def _name_readings(
    error: ValidationError, faults: Sequence[FaultyPart], item: Any
) -> list[tuple[str, FaultyPart]]:
    """Return signal and first fault of each bad reading; UNKNOWN_SIGNAL if it names none."""
    first: dict[int, FaultyPart] = {}
    places = error.errors(include_url=False, include_context=False, include_input=False)
    for place, fault in zip(places, faults, strict=True):
        first.setdefault(int(place["loc"][1]), fault)
    readings = {index: item["readings"][index] for index in first}
    signals = {
        index: reading.get("signal") if isinstance(reading, dict) else None
        for index, reading in readings.items()
    }
    return [
        (name if isinstance(name := signals[index], str) else UNKNOWN_SIGNAL, fault)
        for index, fault in first.items()
    ]


def _faults_of(error: ValidationError, item: Any) -> list[FaultyPart]:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        FaultyPart(
            pointer=pointer_to(fault["loc"], item),
            detail=fault["msg"].removeprefix("Value error, "),
        )
        for fault in faults
    ]


class IngestBody(RequestModel):
    """Its context is an Arrival: the validator turns each item into an Item of that arrival."""

    updates: list[Annotated[UpdateItem, WrapValidator(_sort_item)]] = Field(
        max_length=MAX_UPDATES_PER_SUBMISSION
    )
