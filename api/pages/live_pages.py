"""What each live page watches: the table of streams.

A page that shows devices is told of their rows; one that counts them, of the counts. Parts that are
made of more than that are fetched anew after news of their topic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.keys import Scope
from api.pages.live_rows import row_id
from api.pages.live_watch import Topic, Watch

if TYPE_CHECKING:
    from api.pages.page import Pages

WORKSPACE = "/workspaces/<workspace_id>"


def declare_live(pages: Pages) -> None:
    @pages.live("/")
    async def watch_fleet() -> Watch:
        return Watch(counts=None, regions={"fleet": Topic.STATES})

    @pages.live("/worklist")
    async def watch_worklist() -> Watch:
        return Watch(counts=None, regions={"worklist": Topic.STATES})

    @pages.live("/plan")
    async def watch_plan() -> Watch:
        return Watch(regions={"plan": Topic.CLOCK})

    @pages.live("/runtime")
    async def watch_runtime() -> Watch:
        return Watch(regions={"runtime": Topic.CLOCK})

    _declare_of_workspace(pages)


def _declare_of_workspace(pages: Pages) -> None:
    @pages.live(WORKSPACE)
    async def watch_workspace(workspace_id: str) -> Watch:
        one = frozenset({workspace_id})
        regions = dict.fromkeys(("devices", "map", "counts"), Topic.STATES)
        regions |= dict.fromkeys(("connections", "cycles"), Topic.CYCLES)
        return Watch(rows=one, counts=one, regions=regions)

    @pages.live(f"{WORKSPACE}/devices/<device_id>")
    async def watch_device(workspace_id: str, device_id: str) -> Watch:
        return Watch(
            rows=frozenset({workspace_id}),
            only=frozenset({row_id(workspace_id, device_id)}),
            regions={"why": Topic.CYCLES, "day": Topic.CYCLES, "values": Topic.CYCLES},
        )

    @pages.live(f"{WORKSPACE}/admin", scope=Scope.READ)
    async def watch_cutover(workspace_id: str) -> Watch:
        regions = dict.fromkeys(("stand", "history"), Topic.CONFIGURATION)
        regions |= dict.fromkeys(("parity", "guardrails", "sync", "legacy"), Topic.CYCLES)
        return Watch(follows=frozenset({workspace_id}), regions=regions)
