"""`POST /ingest`: canonical updates from machines, accepted like polls and streams (FR-011).

A body of the wrong shape is refused whole (422). Its items are judged one by one, and so are the
readings of an item. A bad reading is dropped and named. An item without a good reading is rejected
and goes to the ledger; the other items are ingested. `received_at` is the time of arrival,
whatever the client sends.
"""

from collections.abc import Sequence
from datetime import datetime

from quart import Response, request

from api.access import Access
from api.auth import current_access
from api.bodies import json_response
from api.damaged_updates import read_updates
from api.keys import Scope
from api.operations import Operations
from api.problem_types import OUTCOME_UNKNOWN
from api.problems import FaultyPart
from api.services import ApiServices
from api.submitting import UNKNOWN_DEVICE, IngestAnswer, UpdateResult, commit
from api.traces import current_trace_id
from api.update_items import BadItem, GoodItem, IngestBody, UpdateItem
from domain.ids import is_id
from domain.model import (
    CanonicalUpdate,
    InvalidItem,
    Outcome,
    Reading,
    Reason,
    Submission,
)
from domain.position import pair_positions

_MAX_FAULTS = 10
_MAX_NAMED = 5  # dropped readings that `detail` names
_MAX_DETAIL = 200


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
        items = await read_updates(request)
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

    A key must not write to another workspace, nor to its ledger.
    """
    updates: list[CanonicalUpdate] = []
    invalid: list[InvalidItem] = []
    for item in items:
        if isinstance(item, BadItem):
            workspace_id = item.id_of("workspace_id")
            if workspace_id is not None and access.sees(workspace_id):
                invalid += _to_invalid(item, workspace_id, received_at, len(updates))
        elif access.sees(item.update.workspace_id):
            update = _to_update(item.update, received_at, item.update.trace_id or trace_id)
            updates.append(update)
            invalid += _to_dropped(item, update)
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
        sample=good.sample,
        device_id=update.device_id,
        received_at=update.received_at,
        refused_whole=False,
    )
    return [
        dropped._replace(signal=signal, detail=_say(fault)) for signal, fault in good.bad_readings
    ]


def _to_invalid(
    bad: BadItem, workspace_id: str, received_at: datetime, updates_before: int
) -> list[InvalidItem]:
    """Return an item of the ledger for each bad reading, or one if more is at fault.

    It is held against the device unless a good item of the device follows: the last one decides.
    """
    refused = InvalidItem(
        workspace_id=workspace_id,
        provider_id=bad.id_of("provider_id") or "",
        external_id=bad.id_of("external_id"),
        reason=Reason.INVALID,
        detail=_first_fault(bad),
        sample=bad.sample,
        device_id=_device_id_of(bad),
        received_at=received_at,
        updates_before=updates_before,
    )
    return [
        refused._replace(signal=signal, detail=_say(fault)) for signal, fault in bad.bad_readings
    ] or [refused]


def _device_id_of(bad: BadItem) -> str | None:
    """Return the device_id if it can be one. Else the external id may still name the device."""
    device_id = bad.id_of("device_id")
    return device_id if device_id is not None and is_id(device_id) else None


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
