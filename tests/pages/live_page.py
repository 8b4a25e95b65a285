"""A live page without a browser: it keeps what a stream's events say, as static/live.js does."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from api.pages.live_difference import find_difference

if TYPE_CHECKING:
    from api.pages.live_board import LiveBoard
    from api.pages.live_watch import Watch
    from tests.api.harness import Harness


@dataclass
class LivePage:
    """What a page shows. `seen` is the tick up to which it was told everything."""

    watch: Watch
    seen: int = 0
    rows: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)
    regions: list[str] = field(default_factory=list)
    not_live: str | None = None
    open_stack: ExitStack = field(default_factory=ExitStack)

    def open(self, board: LiveBoard) -> None:
        """Watch, as a stream does while it is open."""
        self.open_stack.enter_context(board.open(self.watch))

    def take(self, board: LiveBoard) -> int:
        """Take what is new on the board; return in how many documents it came."""
        documents = [orjson.loads(each) for each in find_difference(board, self.watch, self.seen)]
        for document in documents:
            self.apply(document)
        self.seen = board.tick_number
        return len(documents)

    def apply(self, document: dict[str, Any]) -> None:
        """Apply one document of a `change` event."""
        if document.get("reset"):
            self.rows, self.counts = {}, {}
        self.rows |= document["rows"]
        for name in document.get("gone", ()):
            self.rows.pop(name, None)
        self.counts |= document.get("counts", {})
        self.total = document.get("total", self.total)
        self.regions = document.get("regions", [])
        self.not_live = document.get("not_live", self.not_live)

    def states(self) -> dict[str, str]:
        return {name: row["state"] for name, row in self.rows.items()}


def parse_event(event: bytes) -> dict[str, str]:
    """Return the fields of one server-sent event."""
    lines = event.decode().strip().splitlines()
    return dict(line.split(": ", 1) for line in lines)


async def health_rows(harness: Harness, workspace: str = "north", **rest: Any) -> dict[str, Any]:
    """Return what the API's health report says, in the form of rows."""
    pages = await harness.walk(f"/workspaces/{workspace}/health?limit=500", **rest)
    return {
        f"{item['workspace_id']}/{item['device_id']}": item
        for page in pages
        for item in page["items"]
    }


async def differences(page: LivePage, harness: Harness, workspace: str = "north") -> list[str]:
    """Return what the page shows otherwise than the API does now, one sentence each."""
    found = []
    said = await health_rows(harness, workspace)
    shown = {name: row for name, row in page.rows.items() if name.startswith(f"{workspace}/")}
    if shown.keys() != said.keys():
        found.append(f"devices: {sorted(shown.keys() ^ said.keys())}")
    for name in shown.keys() & said.keys():
        row, item = shown[name], said[name]
        ours = {key: row[key] for key in ("state", "reason", "party", "old")}
        ours |= {"heard_at": row["heard_at"], "observed_at": row["observed_at"]}
        theirs = {key: item[key] for key in ("state", "reason", "party")}
        theirs |= {"old": item["old_signals"], "heard_at": item["last_update_received_at"]}
        theirs |= {"observed_at": item["last_observed_at"]}
        if ours != theirs:
            found.append(f"{name}: {ours} is shown, the API says {theirs}")
    return found
