"""The first page: all workspaces, those with trouble first, and whether it is us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api.pages.viewer import current_viewer

if TYPE_CHECKING:
    from api.pages.page import Pages


def declare_fleet(pages: Pages) -> None:
    @pages.page("/", "fleet.html")
    async def show_fleet() -> dict[str, Any]:
        found = await pages.ask.get(current_viewer(), "/workspaces", limit=500)
        return {"workspaces": found["items"], "evaluated_at": found["evaluated_at"]}
