"""From a request to the ingest actor and back: hand over, wait for the commit, report what became of each update.

An answer of 200 means committed. It must never retry by itself: a full lane and an answer that cannot be waited for
are told to the client, for whom a retry is safe (acceptance refuses what it has already seen).
"""

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
    """What became of one update. Only `accepted` changed the snapshot; `version` is the snapshot's after it.

    `detail` names readings that were dropped, also on an accepted update. `errors` point into the item.
    """

    outcome: Outcome
    reason: Reason | None = None
    device_id: str | None = None
    version: int | None = None
    detail: str | None = None
    errors: list[FaultyPart] = Field(default_factory=list)


class IngestAnswer(AnswerModel):
    """One result per update, in order."""

    results: list[UpdateResult]


# Word for word what acceptance says of a device that nobody configured: a key must not learn which workspaces exist.
UNKNOWN_DEVICE = UpdateResult(outcome=Outcome.REJECTED, reason=Reason.UNKNOWN_DEVICE)


async def commit(services: ApiServices, submission: Submission, *, taken: int = 0) -> list[UpdateResult]:
    """The results of the submission's updates, after their commit. Raises Problem 503.

    `taken` is how many updates of the same request are committed already; a refusal must not deny them.
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
    return [_present(result) for result in receipt.results]


def _present(result: Result) -> UpdateResult:
    return UpdateResult(
        outcome=result.outcome,
        reason=result.reason,
        device_id=result.device_id,
        version=result.version,
        detail=result.detail,
    )
