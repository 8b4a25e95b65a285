"""What the reading commands print: rich tables for people, JSON and CSV for programs.

Owns columns and colours. Decides nothing: states and reasons are the API's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

STATES = ("healthy", "delayed", "stale", "configured-no-data", "awaiting-first-data")
STATE_STYLE = {
    "healthy": "green",
    "delayed": "yellow",
    "stale": "red",
    "configured-no-data": "magenta",
    "awaiting-first-data": "cyan",
}


def health_table(title: str, items: Iterable[Mapping[str, Any]], *, with_workspace: bool = False) -> Table:
    """One line per device: who, state, why, how long ago."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    if with_workspace:
        table.add_column("workspace")
    for column in ("vehicle", "device", "state", "reason", "age", "last update received", "old signals"):
        table.add_column(column, justify="right" if column == "age" else "left", no_wrap=column != "old signals")
    for item in items:
        state = str(item["state"])
        table.add_row(
            *([str(item["workspace_id"])] if with_workspace else []),
            str(item["vehicle_name"]),
            str(item["device_id"]),
            f"[{STATE_STYLE.get(state, 'white')}]{state}[/]",
            str(item["reason"]),
            duration(item.get("freshness_age_seconds")),
            str(item.get("last_update_received_at") or "never")[:19].replace("T", " "),
            ", ".join(item.get("old_signals") or ()),
        )
    return table


def runtime_tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """What an operator asks first: the shards and what they own, then the answering shard's actors and queues."""
    shards = Table(title="shards", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("shard", "epoch", "state", "heartbeat", "workspaces", "queue", "oldest", "restarts", "parked"):
        shards.add_column(column, no_wrap=True)
    for shard in report["shards"]:
        vital = shard.get("statistics") or {}
        shards.add_row(
            str(shard["shard_id"]),
            str(shard["epoch"]),
            str(shard["state"]) + (" draining" if shard.get("draining") else ""),
            str(shard.get("expires_at") or "-")[:19].replace("T", " "),
            str(vital.get("workspaces", "-")),
            str(vital.get("pending", "-")),
            duration(vital.get("oldest_waiting_seconds")),
            str(vital.get("restarts", "-")),
            ", ".join(vital.get("parked") or ()) or "none",
        )
    yield shards


def duration(seconds: float | None) -> str:
    """12 s, 3 min 20 s, 2 h 5 min, 4 d 3 h; a dash for never."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    for unit, above, size, below in (("d", "h", 86_400, 3_600), ("h", "min", 3_600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // below} {above}"
    return f"{whole} s"
