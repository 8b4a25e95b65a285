"""The history of a policy: each version with the time for which it held, newest first.

Reads the history of changes (domain/changes.py), as the audit does; it shows who, so it has the
audit's scope.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from pydantic import Field
from quart import Response, request

from api.bodies import Instant, json_response, read_query
from api.cursors import PageQuery
from api.keys import Scope
from api.operations import Operations
from api.paging import Paging, cut_page
from api.policy import PATH, TAG, PolicyAnswer
from api.services import ApiServices
from api.shapes import AnswerModel
from domain.changes import ChangeKind
from ports.changes import AuditEntry, AuditQuery


class PolicyVersion(AnswerModel):
    """A policy, and the time for which it held: from valid_from on, until before valid_until."""

    valid_from: Instant
    valid_until: Instant | None = Field(description="null: it holds now")
    who: str = Field(description="the id of a key, `jwt:` and a subject, or the name of a command")
    key_name: str | None = Field(description="the name of that key; null if there is none now")
    change_id: int = Field(description="its entry in the audit")
    policy: PolicyAnswer


class PolicyHistory(AnswerModel):
    items: list[PolicyVersion]
    next_cursor: str | None


def declare_policy_history(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET",
        f"{PATH}/history",
        scope=Scope.CONTROL,
        query=PageQuery,
        response=PolicyHistory,
        tag=TAG,
    )
    async def list_policies(workspace_id: str) -> Response:
        """List the policies that a workspace has had, newest first, with who stored them.

        Nothing is known of the time before the oldest entry of a workspace that release 0.1.0 made.
        """
        wanted = read_query(request, PageQuery)
        kind = f"policies {workspace_id}"
        cursor = paging.decode(wanted.cursor, kind)
        # The id of the last entry before this page, and its beginning: the end of the next one.
        before, until = cast(
            "tuple[int | None, datetime | None]", (None, None) if cursor is None else cursor.after
        )
        query = AuditQuery(
            within=frozenset({workspace_id}),
            kind=ChangeKind.POLICY,
            before=before,
            most=wanted.limit + 1,
        )
        page, last = cut_page(await services.changes.list_changes(query), wanted.limit)
        following = None if last is None else (last.change.change_id, last.change.at)
        return json_response(
            PolicyHistory(
                items=_present(page, until),
                next_cursor=paging.encode(kind, following),
            )
        )


def _present(entries: Sequence[AuditEntry], until: datetime | None) -> list[PolicyVersion]:
    """Return the versions, newest first; the first of them held until `until`."""
    ends = [until, *(entry.change.at for entry in entries)]
    return [
        PolicyVersion(
            valid_from=entry.change.at,
            valid_until=end,
            who=entry.change.who,
            key_name=entry.key_name,
            change_id=entry.change.change_id,
            policy=PolicyAnswer(workspace_id=entry.change.subject, **entry.change.after),
        )
        for entry, end in zip(entries, ends, strict=False)
    ]
