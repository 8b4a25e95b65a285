"""The first page: all workspaces, those with trouble first, and whether it is us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import request

from api.pages.contract import ContractRefused, Question
from api.pages.is_it_us import answer_is_it_us
from api.pages.rendering import render_part
from api.pages.shared_parts import SharedParts
from api.pages.viewer import current_viewer
from api.pages.words import party_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup

    from api.pages.page import Pages
    from api.pages.viewer import Viewer


def declare_fleet(pages: Pages) -> None:
    parts = SharedParts()

    @pages.page("/", "fleet.html")
    async def show_fleet() -> dict[str, Any]:
        key = (current_viewer().access.workspaces, request.args.get("cursor"))
        return {"part": await parts.show(key, make_part)}

    async def make_part() -> Markup:
        viewer = current_viewer()
        fleet = await pages.ask.get(viewer, "/fleet", cursor=request.args.get("cursor"))
        shards = await ask_shards(pages, viewer)
        values = {
            "fleet": fleet,
            "totals": find_totals(fleet, is_whole="cursor" not in request.args),
            "rows": [_to_row(item) for item in fleet["items"]],
            "answer": answer_is_it_us(fleet, shards),
            "sees_runtime": shards is not None,
            "is_first_page": "cursor" not in request.args,
        }
        return await render_part("fleet_part.html", values)


async def ask_shards(pages: Pages, viewer: Viewer) -> list[Mapping[str, Any]] | None:
    """Return the shards; None if the viewer's key is limited to workspaces."""
    if viewer.access.workspaces is not None:
        return None
    try:
        found = await pages.ask.demand(viewer, Question("/runtime"))
    except ContractRefused:
        return None
    shards: list[Mapping[str, Any]] = found.json["shards"]
    return shards


def find_totals(fleet: Mapping[str, Any], *, is_whole: bool) -> dict[str, int]:
    """Return all devices by state.

    Those that legacy systems show are known of one page only, so they count if there is only one.
    """
    counts: dict[str, int] = fleet["counts"]
    if not is_whole or fleet["next_cursor"] is not None:
        return counts
    shown = [item["counts"] for item in fleet["items"] if item["counts"] is not None]
    return {state: sum(each[state] for each in shown) for state in counts}


def _to_row(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the table shows of a workspace."""
    counts, parties, objective = item["counts"], item["parties"], item["objective"]
    share, aim = objective["fresh_share"], objective["objective_share"]
    return {
        **item,
        "devices": None if counts is None else sum(counts.values()),
        "whose": None
        if parties is None
        else [(party_name(party), count) for party, count in parties.items()],
        "share": share,
        "is_missed": share is not None and share < aim,
        "burn": [(each["burn_rate"], each["window_seconds"]) for each in objective["burn_rates"]],
    }
