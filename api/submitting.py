"""The way from a request to the ingest actor and back: hand over, wait for the commit, report.

An answer of 200 means committed. It must never retry by itself: the client is told of a full lane,
and of a commit that takes too long. A client's retry is safe, since acceptance refuses updates that
it has seen.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import trio
from pydantic import Field

from api.problem_types import OUTCOME_UNKNOWN, OVERLOADED
from api.problems import FaultyPart, Problem
from api.services import ApiServices
from api.shapes import AnswerModel
from domain.model import Outcome, Reason, Receipt, Result, Submission
from runtime.mailbox import LaneFull, MailboxClosed
from runtime.reply import Reply

FULL_RETRY_SECONDS = 1.0
CLOSED_RETRY_SECONDS = 5.0


class UpdateResult(AnswerModel):
    """The outcome of one update. Only an `accepted` one changed the snapshot, to `version`.

    `detail` names the readings that were dropped, also for an accepted update. `errors` point into
    the item.
    """

    outcome: Outcome
    reason: Reason | None = None
    device_id: str | None = None
    version: int | None = None
    detail: str | None = None
    errors: list[FaultyPart] = Field(default_factory=list)


ResultDocument: TypeAlias = dict[str, Any]  # one as UpdateResult describes it


class IngestAnswer(AnswerModel):
    """One result per update, in order."""

    results: list[UpdateResult]


async def commit(
    services: ApiServices, submission: Submission, *, taken: int = 0
) -> list[ResultDocument]:
    """Return the results of what a client sent, after their commit. Raises like wait_for_commit.

    Notes that the client sent something for its connections.
    """
    submission.facts += services.senders.facts_of(submission, services.clock.now())
    results = await wait_for_commit(services, submission, taken=taken)
    _tell_data(services, submission, results)
    return [present_result(result) for result in results]


async def wait_for_commit(
    services: ApiServices, submission: Submission, *, taken: int = 0
) -> Sequence[Result]:
    """Return the results of the submission's updates, after their commit.

    Waits `ingest_timeout_seconds` at most. Raises Problem 503 when the lane is full, when this
    process stops, or when the outcome is not known in time. `taken` is the number of updates of the
    same request that are committed already; the refusal mentions them.
    """
    so_far = f"only the first {taken} updates were" if taken else "nothing was"
    reply: Reply[Receipt | None] = Reply()
    submission.resolve = reply.resolve
    try:
        services.ingest.submit_nowait(submission)
    except LaneFull:
        detail = f"The ingest lane is full; {so_far} taken."
        raise Problem(OVERLOADED, detail, retry_after_seconds=FULL_RETRY_SECONDS) from None
    except MailboxClosed:
        detail = f"This process is about to stop; {so_far} taken."
        raise Problem(OVERLOADED, detail, retry_after_seconds=CLOSED_RETRY_SECONDS) from None
    receipt = None
    with trio.move_on_after(services.ingest_timeout_seconds):
        receipt = await reply.wait()
    if receipt is None:
        raise Problem(OUTCOME_UNKNOWN, retry_after_seconds=FULL_RETRY_SECONDS)
    return receipt.results


def _tell_data(services: ApiServices, submission: Submission, results: Sequence[Result]) -> None:
    """Submit which devices' data came, if that is due. Does not wait.

    Without room in the lane it is told of later data.
    """
    facts = services.senders.data_of(submission, results, services.clock.now())
    if facts:
        told = Submission(origin=submission.origin, trace_id=submission.trace_id, facts=facts)
        with suppress(LaneFull, MailboxClosed):
            services.ingest.submit_nowait(told)


def present_result(result: Result) -> ResultDocument:
    """Return the result as UpdateResult describes it.

    No model is made of it: for the 500 results of an answer that took longer than their commit.
    """
    return {
        "outcome": result.outcome,
        "reason": result.reason,
        "device_id": result.device_id,
        "version": result.version,
        "detail": result.detail,
        "errors": (),
    }


# The same as acceptance's result for a device that is not configured: a key must not learn which
# workspaces exist.
UNKNOWN_DEVICE = present_result(Result(Outcome.REJECTED, Reason.UNKNOWN_DEVICE))
