"""The cutover of a workspace: where it is on the way from its legacy system, and what stands there.

Shows what the API notes: flags, gate, parity, guardrails, the synchronised registry, the legacy
system. Changes are in cutover_changes.py.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from api.keys import Scope
from api.pages import cutover_steps
from api.pages.contract import Question, path_of
from api.pages.differences import describe
from api.pages.parity_picture import draw_parity
from api.pages.results import find_result
from api.pages.times import parse_instant
from api.pages.viewer import current_viewer
from domain.cutover import ReadOwner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from api.pages.page import Pages, Values

PATH: Final = "/workspaces/<workspace_id>/admin"
COMPARISONS: Final = 48
HISTORY: Final = 8
# The indicators are asked for their present ages only, so of a short time.
_MINUTES: Final = 10


def declare_admin(pages: Pages) -> None:
    @pages.page(PATH, "admin.html")
    async def show_admin(workspace_id: str) -> Values:
        return await show_cutover(pages, workspace_id)


async def show_cutover(
    pages: Pages, workspace_id: str, tried: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the values of the page. `tried`: what a synchronisation was asked for came of."""
    viewer, root = current_viewer(), path_of("workspaces", workspace_id)
    cutover = await pages.ask.get(viewer, f"{root}/cutover")
    found = await pages.ask.get_all(
        viewer, _list_questions(root, cutover, pages.services.clock.now())
    )
    parity, limits = found["parity"], cutover["guardrails"]
    return {
        "cutover": cutover,
        **found,
        "ages": found["indicators"]["freshness"] if "indicators" in found else None,
        "history": [describe(entry) for entry in found.get("audit", {}).get("items", ())],
        "steps": cutover_steps.list_steps(cutover),
        "here": cutover_steps.find_step(cutover),
        "next_step": cutover_steps.find_next(cutover),
        "words": cutover_steps,
        "picture": draw_parity(
            parity["items"], cutover["gate"]["max_mismatch_share"], limits["max_mismatch_share"]
        ),
        "outcomes": [one["outcome"] for one in reversed(found["cycles"]["items"])],
        "watches": cutover["read_owner"] == ReadOwner.CORE,
        "legacy_fails": is_failing(cutover),
        "tried": tried,
        "result": find_result(),
        "may_change": viewer.may(Scope.ADMIN),
    }


def _list_questions(root: str, cutover: Mapping[str, Any], now: datetime) -> dict[str, Question]:
    questions = {
        "workspace": Question(root),
        "parity": Question(f"{root}/cutover/parity", {"limit": COMPARISONS}),
        "sync": Question(f"{root}/cutover/sync"),
        "cycles": Question(f"{root}/cycles", {"limit": cutover["guardrails"]["cycles"]}),
    }
    if cutover["read_owner"] == ReadOwner.CORE:
        since = (now - timedelta(minutes=_MINUTES)).isoformat()
        questions["indicators"] = Question(f"{root}/indicators", {"from": since})
    if current_viewer().may(Scope.CONTROL):
        query = {"kind": "cutover", "limit": HISTORY}
        questions["audit"] = Question(f"{root}/audit", query)
    return questions


def is_failing(cutover: Mapping[str, Any]) -> bool:
    """Return whether the newest thing that is known of the legacy system is a failure."""
    answered, failed = cutover["legacy_answered_at"], cutover["legacy_failed_at"]
    if failed is None:
        return False
    return answered is None or parse_instant(failed) > parse_instant(answered)
