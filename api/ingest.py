"""`POST /ingest`: canonical updates from machines, accepted like polls and streams (FR-011).

A body of the wrong shape is refused whole (422). Its items are judged one by one, and so are the
readings of an item. A bad reading is dropped and named. An item without a good reading is rejected
and goes to the ledger; the other items are ingested. `received_at` is the time of arrival,
whatever the client sends.
"""

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple, Self, cast

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from quart import Response, request

from api.auth import Access, current_access
from api.bodies import Instant, RequestModel, json_response, pointer_to, read_json
from api.keys import Scope
from api.operations import Operations
from api.problem_types import OUTCOME_UNKNOWN
from api.problems import FaultyPart
from api.services import ApiServices
from api.shapes import ExternalId, Identifier, VehicleId
from api.submitting import UNKNOWN_DEVICE, IngestAnswer, UpdateResult, commit
from api.traces import current_trace_id
from domain.model import (
    MAX_SAMPLE_BYTES,
    MAX_UPDATES_PER_SUBMISSION,
    CanonicalUpdate,
    InvalidItem,
    Outcome,
    Reading,
    Reason,
    Submission,
)
from domain.position import pair_positions
from domain.refusals import UNKNOWN_SIGNAL

MAX_READINGS = 100
_MAX_FAULTS = 10
_MAX_NAMED = 5  # dropped readings that `detail` names
_MAX_DETAIL = 200


def _check_value(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("give a boolean, a number or text")
    if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) < 2**63):
        raise ValueError("give a number below 2 to the 63rd")
    return value


class ReadingItem(RequestModel):
    signal: Annotated[str, Field(min_length=1, max_length=64)]
    value: Annotated[
        bool | int | float | Annotated[str, Field(max_length=256)], BeforeValidator(_check_value)
    ]
    observed_at: Instant


class UpdateItem(RequestModel):
    """The readings of one device, named by `device_id` or by `external_id`.

    An `external_id` is unique within workspace and provider.
    """

    workspace_id: Identifier
    provider_id: Identifier
    device_id: Identifier | None = None
    external_id: ExternalId | None = None
    vehicle_id: VehicleId | None = None
    readings: Annotated[list[ReadingItem], Field(min_length=1, max_length=MAX_READINGS)]
    trace_id: Annotated[str, Field(max_length=64, pattern=r"^[\x20-\x7e]+$")] | None = None
    received_at: Instant | None = Field(
        None,
        description="only logged: freshness age counts from the arrival",
    )

    @model_validator(mode="after")
    def _names_a_device(self) -> Self:
        if self.device_id is None and self.external_id is None:
            raise ValueError("give device_id or external_id")
        return self


class GoodItem(NamedTuple):
    """An item with at least one good reading.

    `dropped` has the faults of the bad ones, `bad_readings` the signal and the first fault of each,
    and `item` the whole as it was sent.
    """

    update: UpdateItem
    dropped: Sequence[FaultyPart] = ()
    bad_readings: Sequence[tuple[str, FaultyPart]] = ()
    item: Any = None


class BadItem(NamedTuple):
    """An item that could not become an update, and why."""

    item: Any
    faults: Sequence[FaultyPart]


def _sort_item(value: Any, validate: ValidatorFunctionWrapHandler) -> GoodItem | BadItem:
    try:
        return GoodItem(validate(value))
    except ValidationError as error:
        faults, bad = _faults_of(error, value), _bad_readings(error)
        named = _name_readings(error, faults, value) if bad else []
    good = (
        [reading for index, reading in enumerate(value["readings"]) if index not in bad]
        if bad
        else []
    )
    if not good:
        return BadItem(value, faults)
    try:
        return GoodItem(validate({**value, "readings": good}), faults, named, value)
    except ValidationError as error:  # by a validator that runs only when all members are valid
        return BadItem(value, [*_faults_of(error, value), *faults])


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
    # The validator turns each item into a GoodItem or a BadItem.
    updates: list[Annotated[UpdateItem, WrapValidator(_sort_item)]] = Field(
        max_length=MAX_UPDATES_PER_SUBMISSION
    )


def declare_ingest(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "POST",
        "/ingest",
        scope=Scope.INGEST,
        request=IngestBody,
        response=IngestAnswer,
        problems=(OUTCOME_UNKNOWN,),
        tag="ingest",
    )
    async def ingest() -> Response:
        """Submit up to 500 updates. Answers after their commit: one result per update, in order.

        A bad reading is dropped, and `detail` and `errors` name it. An update without a good
        reading is rejected as invalid. A retry is safe: updates that were accepted before come back
        as duplicate. An update of a workspace that the key does not see is rejected as
        unknown_device, like an update of a device that is not configured.
        """
        body = await read_json(request, IngestBody)
        items = cast("list[GoodItem | BadItem]", body.updates)
        return json_response(IngestAnswer(results=await _ingest(services, current_access(), items)))


async def _ingest(
    services: ApiServices, access: Access, items: Sequence[GoodItem | BadItem]
) -> list[UpdateResult]:
    submission = _to_submission(items, access, services.clock.now(), current_trace_id() or "")
    _log_arrival(services, items, submission)
    nothing = not submission.updates and not submission.invalid
    results = iter([] if nothing else await commit(services, submission))
    answers = []
    for item in items:
        if isinstance(item, BadItem):
            answers.append(_refuse(item))
        else:
            result = next(results) if access.sees(item.update.workspace_id) else UNKNOWN_DEVICE
            answers.append(_name_dropped(result, item.dropped))
    return answers


def _to_submission(
    items: Sequence[GoodItem | BadItem], access: Access, received_at: datetime, trace_id: str
) -> Submission:
    """Return the items that may be submitted: those of workspaces that the key sees.

    A key must not write to another workspace, nor to its ledger. An item that is refused whole is
    held against its device unless a good item of the device follows: the last one decides.
    """
    updates: list[CanonicalUpdate] = []
    invalid: list[InvalidItem] = []
    later: set[tuple[str | None, ...]] = set()  # devices with a good item behind this one
    for item in reversed(items):
        if isinstance(item, BadItem):
            workspace_id = _text(item, "workspace_id")
            if workspace_id is not None and access.sees(workspace_id):
                refused = _to_invalid(item, workspace_id, received_at)
                invalid.append(refused._replace(refused_whole=_device_of(refused) not in later))
        elif access.sees(item.update.workspace_id):
            update = _to_update(item.update, received_at, item.update.trace_id or trace_id)
            updates.append(update)
            later.add(_device_of(update))
            invalid += _to_dropped(item, update)
    updates.reverse()
    invalid.reverse()
    return Submission(
        origin="http", trace_id=trace_id, updates=tuple(updates), invalid=tuple(invalid)
    )


def _to_update(item: UpdateItem, received_at: datetime, trace_id: str) -> CanonicalUpdate:
    return CanonicalUpdate(
        item.workspace_id,
        item.provider_id,
        item.device_id,
        item.external_id,
        item.vehicle_id,
        pair_positions(
            [
                Reading(reading.signal, reading.value, reading.observed_at)
                for reading in item.readings
            ]
        ),
        received_at,
        trace_id,
    )


def _device_of(item: CanonicalUpdate | InvalidItem) -> tuple[str | None, ...]:
    return (item.workspace_id, item.provider_id, item.device_id, item.external_id)


def _to_dropped(good: GoodItem, update: CanonicalUpdate) -> list[InvalidItem]:
    """Return an item of the ledger for each reading that could not be read."""
    if not good.bad_readings:
        return []
    dropped = InvalidItem(
        workspace_id=update.workspace_id,
        provider_id=update.provider_id,
        external_id=update.external_id,
        reason=Reason.INVALID,
        detail="",
        sample=_sample_of(good.item),
        device_id=update.device_id,
        received_at=update.received_at,
        refused_whole=False,
    )
    return [
        dropped._replace(signal=signal, detail=_say(fault)) for signal, fault in good.bad_readings
    ]


def _to_invalid(bad: BadItem, workspace_id: str, received_at: datetime) -> InvalidItem:
    return InvalidItem(
        workspace_id=workspace_id,
        provider_id=_text(bad, "provider_id") or "",
        external_id=_text(bad, "external_id"),
        reason=Reason.INVALID,
        detail=_first_fault(bad),
        sample=_sample_of(bad.item),
        device_id=_text(bad, "device_id"),
        received_at=received_at,
    )


def _sample_of(item: Any) -> bytes:
    # Not orjson, which refuses a number of more than 64 bits: the item may be bad because of one.
    return json.dumps(item, ensure_ascii=False).encode(errors="replace")[:MAX_SAMPLE_BYTES]


def _text(bad: BadItem, name: str) -> str | None:
    value = bad.item.get(name) if isinstance(bad.item, dict) else None
    return value[:128] if isinstance(value, str) else None


def _refuse(bad: BadItem) -> UpdateResult:
    return UpdateResult(
        outcome=Outcome.REJECTED,
        reason=Reason.INVALID,
        detail=_first_fault(bad),
        errors=list(bad.faults[:_MAX_FAULTS]),
    )


def _first_fault(bad: BadItem) -> str:
    return _say(bad.faults[0])


def _name_dropped(result: UpdateResult, dropped: Sequence[FaultyPart]) -> UpdateResult:
    """Return the result with the readings dropped here, beside those that acceptance dropped."""
    if not dropped:
        return result
    named = [_say(fault) for fault in dropped[:_MAX_NAMED]]
    if len(dropped) > _MAX_NAMED:
        named.append(f"and {len(dropped) - _MAX_NAMED} more")
    detail = "; ".join([result.detail, *named] if result.detail else named)
    return result.model_copy(update={"detail": detail, "errors": list(dropped[:_MAX_FAULTS])})


def _say(fault: FaultyPart) -> str:
    return f"{fault.pointer or '/'}: {fault.detail}"[:_MAX_DETAIL]


def _log_arrival(
    services: ApiServices, items: Sequence[GoodItem | BadItem], submission: Submission
) -> None:
    claimed = [
        item.update.received_at
        for item in items
        if isinstance(item, GoodItem) and item.update.received_at
    ]
    services.log.debug(
        "telematics_ingest_request_received",
        items=len(items),
        updates=len(submission.updates),
        invalid=len(submission.invalid),
        oldest_claimed_received_at=min(claimed, default=None),
    )
