"""The ledger: refusals by reason and signal with a sample, newest first."""

import base64
from typing import Literal

from pydantic import Field
from quart import Response, request

from api.bodies import Instant, json_response, read_query
from api.cursors import PageQuery
from api.keys import Scope
from api.operations import Operations
from api.paging import Paging, cut_page
from api.services import ApiServices
from api.shapes import AnswerModel
from domain.model import Outcome, Reason
from ports.reads import RejectionRow


class SampleAnswer(AnswerModel):
    """The first 4 kB of the refused record, cleared of the connection's secret.

    `text` is null when they are not UTF-8.
    """

    base64: str
    text: str | None


class RejectionAnswer(AnswerModel):
    """Refusals of one device or external id, for one reason and signal, in one hour.

    With a signal, `occurrences` counts readings; without one, updates or records. A signal that is
    not in the catalogue is `unknown`, and `detail` names it. The facts are those of the first
    refusal. Later ones are counted up within a minute. `hour` is null in rows of an older release,
    which have the refusals of one commit.
    """

    rejection_id: int
    recorded_at: Instant
    origin: Literal["stream", "poll", "http", "envelope"]
    provider_id: str | None
    device_id: str | None
    external_id: str | None
    outcome: Outcome
    reason: Reason | None
    detail: str | None
    occurrences: int
    trace_id: str
    sample: SampleAnswer | None
    signal: str | None
    hour: Instant | None
    last_at: Instant


class RejectionList(AnswerModel):
    items: list[RejectionAnswer]
    next_cursor: str | None


class RejectionQuery(PageQuery):
    reason: Reason | None = Field(None, description="only refusals of this reason")


def declare_rejections(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET",
        "/workspaces/{workspace_id}/rejections",
        scope=Scope.READ,
        query=RejectionQuery,
        response=RejectionList,
        tag="rejections",
    )
    async def list_rejections(workspace_id: str) -> Response:
        """List what was refused, newest first by the first refusal of each row."""
        query = read_query(request, RejectionQuery)
        reason = None if query.reason is None else str(query.reason)
        kind = f"rejections {workspace_id} {reason}"
        rows = await services.reads.list_rejections(
            workspace_id,
            before=paging.key_after(query.cursor, kind),
            reason=reason,
            limit=query.limit + 1,
        )
        page, last = cut_page(rows, query.limit)
        following = paging.encode(kind, None if last is None else (last.rejection_id,))
        return json_response(
            RejectionList(items=[_present(row) for row in page], next_cursor=following)
        )


def _present(row: RejectionRow) -> RejectionAnswer:
    sample = None if row.sample is None else present_sample(row.sample)
    return RejectionAnswer(**row._asdict() | {"sample": sample})


def present_sample(sample: bytes) -> SampleAnswer:
    try:
        text: str | None = sample.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    return SampleAnswer(base64=base64.b64encode(sample).decode("ascii"), text=text)
