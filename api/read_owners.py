"""Whose values an answer shows: core's or the legacy system's, by the flag or the query.

The flag is read from the database in each request, so a change holds from the next request on. One
answer about a workspace has one source: the source is chosen before anything is read from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from api.bodies import RequestModel
from api.problem_types import (
    LEGACY_MISSING,
    LEGACY_UNFIT,
    LEGACY_UNREACHABLE,
    SOURCE_CHANGED,
)
from api.problems import Problem
from domain.cutover import ReadOwner

if TYPE_CHECKING:
    from api.cursors import Cursor
    from api.services import ApiServices
    from domain.model import Workspace
    from ports.reads import FleetQuery, FleetRow

# Of an operation that shows one workspace.
READ_PROBLEMS = (LEGACY_MISSING, LEGACY_UNREACHABLE, LEGACY_UNFIT)
# Of one that shows it page by page.
LIST_PROBLEMS = (*READ_PROBLEMS, SOURCE_CHANGED)
SERVED_BY_DESCRIPTION = "whose values these are: by the workspace's `read_owner`, or as asked"


class ReadOwnerQuery(RequestModel):
    """The query parameter of what both systems can show."""

    read_owner: ReadOwner | None = Field(
        None,
        description="whose values to show, instead of the workspace's `read_owner`. `legacy` needs "
        "a configured legacy system",
    )


async def find_legacy_fleet(
    services: ApiServices, workspace: Workspace, wanted: ReadOwner | None, query: FleetQuery
) -> FleetRow | None:
    """Return the fleet whose values the legacy system shows; None if core shows them.

    `workspace` is as this request has read it. Raises Problem 409 if the legacy system was asked
    for, and there is none.
    """
    if (wanted or workspace.cutover.read_owner) is ReadOwner.CORE:
        return None
    fleet = await services.reads.load_fleet(workspace.workspace_id, query)
    if wanted is None and (fleet is None or fleet.workspace.cutover.read_owner is ReadOwner.CORE):
        return None  # core has taken over a moment ago
    if fleet is not None and fleet.legacy is not None:
        return fleet
    raise Problem(
        LEGACY_MISSING,
        "The workspace has no legacy system to read from: configure `legacy` at `…/cutover`, or "
        "leave out `read_owner`.",
    )


def source_of(owner: ReadOwner) -> str:
    """Return what cursors say of a list of one workspace."""
    return "" if owner is ReadOwner.CORE else owner.value


def refuse_other_source(cursor: Cursor | None, source: str) -> None:
    """Raise Problem 409 if the list was begun under another source.

    Its next page would leave devices out, or show them twice.
    """
    if cursor is not None and cursor.source != source:
        raise source_changed()


def source_changed() -> Problem:
    return Problem(
        SOURCE_CHANGED,
        "The list was begun when another system was read. Start again without a cursor. In a list "
        "of one workspace, `read_owner` keeps one source for all pages.",
    )
