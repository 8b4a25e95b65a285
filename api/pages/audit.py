"""The audit: who changed what, when, from where, and what it was before.

Its filters are in the address. The whole audit has keys too and needs the scope admin; that of a
workspace needs control.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from quart import request

from api.keys import Scope
from api.pages.contract import path_of
from api.pages.differences import describe
from api.pages.times import parse_instant
from api.pages.viewer import current_viewer
from domain.changes import ChangeKind

if TYPE_CHECKING:
    from api.pages.page import Pages, Values

ENTRIES: Final = 50
_FILTERS: Final = ("kind", "subject", "who", "since", "until", "part_of")
_TIMES: Final = ("since", "until")


def declare_audit(pages: Pages) -> None:
    @pages.page("/audit", "audit.html", scope=Scope.ADMIN)
    async def show_audit() -> Values:
        return await _show(pages, None)

    @pages.page("/workspaces/<workspace_id>/audit", "audit.html", scope=Scope.CONTROL)
    async def show_workspace_audit(workspace_id: str) -> Values:
        return await _show(pages, workspace_id)


async def _show(pages: Pages, workspace_id: str | None) -> Values:
    viewer = current_viewer()
    root = "" if workspace_id is None else path_of("workspaces", workspace_id)
    filters = {name: request.args[name] for name in _FILTERS if request.args.get(name)}
    query = {name: _as_asked(name, value) for name, value in filters.items()}
    found = await pages.ask.get(
        viewer, f"{root}/audit", **query, cursor=request.args.get("cursor"), limit=ENTRIES
    )
    return {
        "workspace": None if not root else await pages.ask.get(viewer, root),
        "entries": [describe(entry) for entry in found["items"]],
        "next_cursor": found["next_cursor"],
        "filters": filters,
        "kinds": [kind.value for kind in ChangeKind],
        "is_first": "cursor" not in request.args,
    }


def _as_asked(name: str, value: str) -> str:
    """Return a filter as the API takes it. A form's time has no zone: it is taken as UTC.

    What is no time is sent as it is; the API says what is wrong with it.
    """
    if name not in _TIMES:
        return value
    try:
        at = parse_instant(f"{value}Z" if _lacks_zone(value) else value)
    except ValueError:
        return value
    return at.astimezone(UTC).isoformat()


def _lacks_zone(value: str) -> bool:
    time: Any = value.partition("T")[2]
    return not time.endswith("Z") and "+" not in time and "-" not in time
