"""Quarantine: updates that could not be stored, newest first, and the replay of one of them."""

from typing import Annotated, Literal

import trio
from pydantic import Field
from quart import Response, request

from api.auth import current_author
from api.bodies import Instant, json_response, read_query
from api.cursors import PageQuery
from api.keys import Scope
from api.operations import Operations
from api.paging import Paging, cut_page
from api.problem_types import CONFLICT, NOT_FOUND, OUTCOME_UNKNOWN
from api.problems import Problem
from api.rejections import SampleAnswer, present_sample
from api.services import ApiServices
from api.shapes import AnswerModel
from api.submitting import UpdateResult, present_result, wait_for_commit
from api.traces import current_trace_id
from domain.model import MAX_WHOLE_BYTES, CanonicalUpdate, Outcome, Reason, Submission
from ports.quarantine import QuarantinedUpdate, QuarantineEntry

_ALL = "/workspaces/{workspace_id}/quarantine"
_REPLAY = "/workspaces/{workspace_id}/quarantine/{quarantine_id}/replay"
_TAG = "quarantine"
_MAX_DIGITS = 18  # of a number that PostgreSQL's bigint always holds


class ReplayedAnswer(AnswerModel):
    """The replay that was accepted, or else the newest one."""

    at: Instant
    who: Annotated[str, Field(description="the id of a key, or `jwt:` and a subject")]
    outcome: Outcome
    reason: Reason | None
    detail: str | None


class QuarantineAnswer(AnswerModel):
    """One update that the database refused (`data_error`) or our rules failed on (`judge_error`).

    `sample` has its first 4 kB. `origin` is null in entries of an older release.
    """

    quarantine_id: str
    recorded_at: Instant
    origin: Literal["stream", "poll", "http", "envelope"] | None
    provider_id: str | None
    device_id: str | None
    external_id: str | None
    reason: Reason
    detail: str | None
    trace_id: str
    sample: SampleAnswer | None
    can_be_replayed: bool = Field(description="false: only the sample was kept")
    replayed: ReplayedAnswer | None = Field(description="null: it was not replayed")


class QuarantineList(AnswerModel):
    items: list[QuarantineAnswer]
    next_cursor: str | None


class ReplayAnswer(AnswerModel):
    """The outcome of the entry's update, as `POST /ingest` answers it."""

    quarantine_id: str
    result: UpdateResult


def declare_quarantine(operations: Operations, services: ApiServices) -> None:
    _declare_list(operations, services)
    _declare_replay(operations, services)


def _declare_list(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET", _ALL, scope=Scope.ADMIN, query=PageQuery, response=QuarantineList, tag=_TAG
    )
    async def list_quarantine(workspace_id: str) -> Response:
        """List the updates of a workspace that could not be stored, newest first."""
        query = read_query(request, PageQuery)
        kind = f"quarantine {workspace_id}"
        rows = await services.quarantine.list_quarantine(
            workspace_id, before=paging.key_after(query.cursor, kind), limit=query.limit + 1
        )
        page, last = cut_page(rows, query.limit)
        following = paging.encode(kind, None if last is None else (last.quarantine_id,))
        return json_response(
            QuarantineList(items=[_present(row) for row in page], next_cursor=following)
        )


def _declare_replay(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "POST",
        _REPLAY,
        scope=Scope.ADMIN,
        response=ReplayAnswer,
        problems=(NOT_FOUND, CONFLICT, OUTCOME_UNKNOWN),
        tag=_TAG,
    )
    async def replay_quarantined(workspace_id: str, quarantine_id: str) -> Response:
        """Submit a quarantined update once more, after what it failed on was mended.

        It is judged like an update that comes late, with the time at which it first arrived: a
        replay makes no device fresh. Twice is harmless: an update that is stored comes back as
        duplicate. The entry stays, and shows the outcome. An update that fails again is
        `quarantined` again, without a second entry. An entry of which only a sample was kept is
        409.
        """
        number = _read_number(quarantine_id)
        found = await services.quarantine.find_update(workspace_id, number)
        if found is None:
            raise Problem(NOT_FOUND, f"There is no entry {quarantine_id} in quarantine.")
        submission = _to_submission(found, _require_whole(found))
        # A client that hangs up, or a deadline, must not keep a replay that was stored out of the
        # audit. Both waits have a bound of their own.
        with trio.CancelScope(shield=True):
            (result,) = await wait_for_commit(services, submission)
            await services.quarantine.note_replay(workspace_id, number, result, by=current_author())
        return json_response({"quarantine_id": str(number), "result": present_result(result)})


def _read_number(text: str) -> int:
    """Return the entry's number; 0, which no entry has, if the text is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS else 0


def _require_whole(found: QuarantinedUpdate) -> CanonicalUpdate:
    if found.update is None:
        detail = (
            f"Only a sample of this entry was kept, so it cannot be replayed: it was larger than "
            f"{MAX_WHOLE_BYTES} bytes, is no update, has values that JSON cannot hold, or an older "
            "release wrote it. Have its sender send it again."
        )
        raise Problem(CONFLICT, detail)
    return found.update


def _to_submission(found: QuarantinedUpdate, update: CanonicalUpdate) -> Submission:
    """Return the update as a submission of its origin, without facts about its connection.

    Nobody sent anything now.
    """
    return Submission(
        origin=found.origin or "http",
        trace_id=current_trace_id() or update.trace_id,
        updates=(update,),
        is_replay=True,
    )


def _present(row: QuarantineEntry) -> QuarantineAnswer:
    replayed = row.replayed_at and {
        "at": row.replayed_at,
        "who": row.replayed_by,
        "outcome": row.replay_outcome,
        "reason": row.replay_reason,
        "detail": row.replay_detail,
    }
    return QuarantineAnswer.model_validate(
        {
            **{name: getattr(row, name) for name in _SHOWN},
            "quarantine_id": str(row.quarantine_id),
            "sample": None if row.sample is None else present_sample(row.sample),
            "can_be_replayed": row.is_whole,
            "replayed": replayed,
        }
    )


_SHOWN = tuple(name for name in QuarantineEntry._fields if name in QuarantineAnswer.model_fields)
