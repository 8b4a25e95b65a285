"""`POST /ingest`: canonical updates from machines, accepted like polls and streams (FR-011).

A body of the wrong shape is refused whole (422). Its items are judged one by one, and so are the
readings of an item. A bad reading is dropped and named. An item without a good reading is rejected
and goes to the ledger; the other items are ingested. `received_at` is the time of arrival,
whatever the client sends.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import compress, repeat

from quart import Response, request

from api.access import Access
from api.auth import current_access
from api.bodies import json_response, read_body
from api.damaged_updates import read_updates
from api.keys import Scope
from api.operations import Operations
from api.plain_updates import Arrival
from api.problem_types import OUTCOME_UNKNOWN
from api.problems import FaultyPart
from api.services import ApiServices
from api.submitting import UNKNOWN_DEVICE, IngestAnswer, ResultDocument, commit, present_result
from api.traces import current_trace_id
from api.update_items import BadItem, IngestBody, Item, MendedItem
from domain.ids import is_id
from domain.model import (
    CanonicalUpdate,
    InvalidItem,
    Outcome,
    Reason,
    Result,
    Submission,
)

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
        access = current_access()
        raw = await read_body(request)
        arrival = Arrival(services.clock.now(), current_trace_id() or "")
        items = await read_updates(raw, arrival)
        return json_response({"results": await _ingest(services, access, items, arrival)})


async def _ingest(
    services: ApiServices, access: Access, items: Sequence[Item], arrival: Arrival
) -> list[ResultDocument]:
    seen = _are_seen(items, access)
    submission = _to_submission(items, seen, arrival)
    _log_arrival(services, items, submission, arrival)
    nothing = not submission.updates and not submission.invalid
    results = iter([] if nothing else await commit(services, submission))
    return [
        _answer(item, results if is_seen else repeat(UNKNOWN_DEVICE))
        for item, is_seen in zip(items, seen, strict=True)
    ]


def _are_seen(items: Sequence[Item], access: Access) -> list[bool]:
    """Return for each item whether the key sees its workspace."""
    names = [_workspace_of(item) for item in items]
    seen = {name for name in set(names) if name is not None and access.sees(name)}
    return [name in seen for name in names]


def _workspace_of(item: Item) -> str | None:
    match item:
        case CanonicalUpdate():
            return item.workspace_id
        case MendedItem():
            return item.update.workspace_id
        case BadItem():
            return item.id_of("workspace_id")


def _to_submission(items: Sequence[Item], seen: Sequence[bool], arrival: Arrival) -> Submission:
    """Return the items that may be submitted: those of workspaces that the key sees.

    A key must not write to another workspace, nor to its ledger.
    """
    updates: list[CanonicalUpdate] = []
    invalid: list[InvalidItem] = []
    for item in compress(items, seen):
        match item:
            case CanonicalUpdate():
                updates.append(item)
            case MendedItem():
                updates.append(item.update)
                invalid += _to_dropped(item)
            case BadItem():
                invalid += _to_invalid(item, arrival.received_at, len(updates))
    return Submission(
        origin="http", trace_id=arrival.trace_id, updates=tuple(updates), invalid=tuple(invalid)
    )


def _answer(item: Item, results: Iterator[ResultDocument]) -> ResultDocument:
    """Return what is said of an item, with the next of `results` if it was an update."""
    match item:
        case CanonicalUpdate():
            return next(results)
        case MendedItem():
            return _name_dropped(next(results), item.dropped)
        case BadItem():
            return _refuse(item)


def _to_dropped(mended: MendedItem) -> list[InvalidItem]:
    """Return an item of the ledger for each reading that could not be read."""
    update = mended.update
    dropped = InvalidItem(
        workspace_id=update.workspace_id,
        provider_id=update.provider_id,
        external_id=update.external_id,
        reason=Reason.INVALID,
        detail="",
        sample=mended.sample,
        device_id=update.device_id,
        received_at=update.received_at,
        refused_whole=False,
    )
    return [
        dropped._replace(signal=signal, detail=_say(fault)) for signal, fault in mended.bad_readings
    ]


def _to_invalid(bad: BadItem, received_at: datetime, updates_before: int) -> list[InvalidItem]:
    """Return an item of the ledger for each bad reading, or one if more is at fault.

    It is held against the device unless a good item of the device follows: the last one decides.
    """
    refused = InvalidItem(
        workspace_id=bad.id_of("workspace_id") or "",
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


def _refuse(bad: BadItem) -> ResultDocument:
    refusal = Result(Outcome.REJECTED, Reason.INVALID, detail=_first_fault(bad))
    return present_result(refusal) | {"errors": list(bad.faults[:_MAX_FAULTS])}


def _first_fault(bad: BadItem) -> str:
    return _say(bad.faults[0])


def _name_dropped(result: ResultDocument, dropped: Sequence[FaultyPart]) -> ResultDocument:
    """Return the result with the readings dropped here, beside those that acceptance dropped."""
    if not dropped:
        return result
    named = [_say(fault) for fault in dropped[:_MAX_NAMED]]
    if len(dropped) > _MAX_NAMED:
        named.append(f"and {len(dropped) - _MAX_NAMED} more")
    detail = "; ".join([result["detail"], *named] if result["detail"] else named)
    return result | {"detail": detail, "errors": list(dropped[:_MAX_FAULTS])}


def _say(fault: FaultyPart) -> str:
    return f"{fault.pointer or '/'}: {fault.detail}"[:_MAX_DETAIL]


def _log_arrival(
    services: ApiServices, items: Sequence[Item], submission: Submission, arrival: Arrival
) -> None:
    services.log.debug(
        "telematics_ingest_request_received",
        items=len(items),
        updates=len(submission.updates),
        invalid=len(submission.invalid),
        oldest_claimed_received_at=arrival.oldest_claim,
    )
