"""The output of the reading commands: rich tables for people.

Owns columns and colours. Decides nothing: states and reasons are the API's. How a table is made
narrower is in fitting.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from lastheard.fitting import Column, fit_table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from rich.table import Table

STATES = ("healthy", "delayed", "stale", "configured-no-data", "awaiting-first-data")
STATE_STYLE = {
    "healthy": "green",
    "delayed": "yellow",
    "stale": "red",
    "configured-no-data": "magenta",
    "awaiting-first-data": "cyan",
}


def health_table(
    title: str,
    items: Iterable[Mapping[str, Any]],
    width: int,
    *,
    with_workspace: bool = False,
) -> Table:
    """Return one line per device: its names, state, reason, whose fault it is, and its ages."""
    columns = [
        Column("workspace", shortens=True),
        Column("vehicle", shortens=True),
        Column("device", 3, shortens=True),
        Column("state"),
        Column("reason"),
        Column("whose"),
        Column("age", is_number=True),
        Column("away", 1, is_number=True),
        Column("last update (UTC)", 2),
        Column("old signals", 4, shortens=True),
    ]
    rows = [_health_row(item) for item in items]
    if not with_workspace:
        columns, rows = columns[1:], [row[1:] for row in rows]
    return fit_table(title, columns, rows, width)


def _health_row(item: Mapping[str, Any]) -> list[str | Text]:
    state = str(item["state"])
    return [
        str(item["workspace_id"]),
        str(item["vehicle_name"]),
        str(item["device_id"]),
        Text(state, STATE_STYLE.get(state, "white")),
        str(item["reason"]),
        str(item.get("party", "-")),
        duration(item.get("freshness_age_seconds")),
        duration(item.get("away_for_seconds")),
        _instant(item.get("last_update_received_at")),
        _short(item.get("old_signals") or ()),
    ]


def pause_note(items: Iterable[Mapping[str, Any]]) -> str:
    """Return what a heading says of a pause: nothing, unless an item tells of one."""
    is_paused = any(item.get("evidence", {}).get("collecting_paused") for item in items)
    return "; collecting is paused" if is_paused else ""


def describe_switched_off(pages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line about the workspace, and one about the connections, that are switched off."""
    if not pages[0].get("workspace_active", True):
        yield "Switched off: the workspace. Nothing is collected, and it is on no worklist.\n"
    connections = sorted(
        {
            str(item["provider_id"])
            for page in pages
            for item in page["items"]
            if not item["evidence"].get("connection_active", True)
        }
    )
    if connections:
        yield f"Switched off: connection {', '.join(connections)}. Nothing is collected over it.\n"


def describe_source(pages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line if the values are not core's, and one for each workspace that is missing."""
    if pages[0].get("served_by") == "legacy":
        yield "These are the values of the legacy system.\n"
    missing = {
        str(one["workspace_id"]): str(one["detail"])
        for page in pages
        for one in page.get("unavailable_workspaces", ())
    }
    for workspace_id, detail in sorted(missing.items()):
        yield f"Missing: workspace {workspace_id}. {detail}\n"


def _short(signals: Sequence[str]) -> str:
    """Return the first two names, and the number of the others."""
    named, more = signals[:2], len(signals) - 2
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def runtime_tables(report: Mapping[str, Any], width: int) -> Iterator[Table]:
    """Yield a table of all shards, then those of the shard that answered.

    Its leases, actors, mailbox lanes and database connections; deferred submissions if there are
    any.
    """
    process = report["process"]
    own, ingest = process["shard"], process["ingest"]
    yield _shards_table(report["shards"], width)
    yield _leases_table(own["shard_id"], own["owned"]["workspaces"], width)
    children = {**process["actors"]["children"], **own["owned"]["actors"]["children"]}
    yield _actors_table(children, width)
    yield _lanes_table(ingest["mailbox"]["lanes"], width)
    if ingest["deferred"]["submissions"]:
        yield _deferred_table(ingest["deferred"], width)
    yield _database_table(process["database"], width)


def _shards_table(shards: Iterable[Mapping[str, Any]], width: int) -> Table:
    columns = (
        Column("shard", shortens=True),
        Column("epoch", 2, is_number=True),
        Column("state"),
        Column("heartbeat until (UTC)", 1),
        Column("leases", is_number=True),
        Column("queue", is_number=True),
        Column("oldest", is_number=True),
        Column("restarts", 3, is_number=True),
        Column("parked", shortens=True),
    )
    return fit_table("shards", columns, map(_shard_row, shards), width)


def _shard_row(shard: Mapping[str, Any]) -> list[str | Text]:
    vital = shard.get("statistics") or {}
    return [
        str(shard["shard_id"]),
        str(shard["epoch"]),
        _shard_state(shard, vital),
        _instant(shard.get("expires_at")),
        str(vital.get("workspaces", "-")),
        str(vital.get("pending", "-")),
        duration(vital.get("oldest_waiting_seconds")),
        str(vital.get("restarts", "-")),
        ", ".join(vital.get("parked") or ()) or "none",
    ]


def _shard_state(shard: Mapping[str, Any], vital: Mapping[str, Any]) -> str:
    """Return the session's state; a paused shard takes no work, which is no draining."""
    if vital.get("paused"):
        return f"{shard['state']}, paused"
    return f"{shard['state']}, draining" if shard.get("draining") else str(shard["state"])


def _leases_table(shard_id: str, workspaces: Mapping[str, Mapping[str, Any]], width: int) -> Table:
    columns = (
        Column("workspace", shortens=True),
        Column("token", 2, is_number=True),
        Column("streams open"),
        Column("next start (UTC)", 1),
        Column("cycles", shortens=True),
    )
    rows = [
        (
            workspace_id,
            str(workspace["token"]),
            _open_streams(workspace["streams"].values()),
            _instant(workspace["next_start_at"]),
            _cycles(workspace["outcomes"]),
        )
        for workspace_id, workspace in sorted(workspaces.items())
    ]
    return fit_table(f"leases of {shard_id}", columns, rows, width)


def _open_streams(streams: Collection[Mapping[str, Any]]) -> str:
    return f"{sum(stream['open'] for stream in streams)} of {len(streams)}"


def _cycles(outcomes: Mapping[str, int]) -> str:
    told = [f"{outcome} {count}" for outcome, count in sorted(outcomes.items())]
    return ", ".join(told) or "none yet"


def _actors_table(children: Mapping[str, Mapping[str, Any]], width: int) -> Table:
    """Return the actors that do not run or were restarted; the title counts all of them."""
    odd = {
        name: child
        for name, child in children.items()
        if child["state"] != "running" or child["restarts"]
    }
    columns = (
        Column("actor", shortens=True),
        Column("state"),
        Column("restarts", is_number=True),
        Column("since (UTC)", 1),
        Column("error", shortens=True),
    )
    rows = [
        (name, child["state"], str(child["restarts"]), _instant(child["since"]), _error_of(child))
        for name, child in sorted(odd.items())
    ]
    return fit_table(f"actors: {len(children)}, to look at: {len(odd)}", columns, rows, width)


def _error_of(child: Mapping[str, Any]) -> str:
    error = child["last_error"] or {}
    return f"{error.get('type', '')} {error.get('message', '')}".strip()


def _lanes_table(lanes: Mapping[str, Mapping[str, Any]], width: int) -> Table:
    counts = ("waiting_size", "capacity", "peak_size", "parked_senders", "refused_items")
    columns = (
        Column("lane"),
        Column("waiting", is_number=True),
        Column("capacity", is_number=True),
        Column("peak", 2, is_number=True),
        Column("waiting senders", 1, is_number=True),
        Column("refused", is_number=True),
    )
    rows = [(name, *(str(lane[count]) for count in counts)) for name, lane in lanes.items()]
    return fit_table("mailbox lanes, in updates", columns, rows, width)


def _deferred_table(deferred: Mapping[str, Any], width: int) -> Table:
    """Return the totals, and the two workspaces that have waited longest with the age of each."""
    counts = ("submissions", "updates", "locked_rows")
    columns = (
        *(Column(count.replace("_", " "), is_number=True) for count in counts),
        Column("oldest", is_number=True),
        Column("workspaces", shortens=True),
    )
    ages = deferred["oldest_seconds_by_workspace"].items()
    row = (
        *(str(deferred[count]) for count in counts),
        duration(deferred["oldest_seconds"]),
        _short([f"{workspace_id} {duration(seconds)}" for workspace_id, seconds in ages]),
    )
    return fit_table("deferred submissions", columns, [row], width)


def _database_table(database: Mapping[str, Any], width: int) -> Table:
    version = database["server_version"]
    title = "PostgreSQL, version unknown" if version is None else f"PostgreSQL {version}"
    columns = (
        Column("connections for"),
        Column("in use", is_number=True),
        Column("waiting", is_number=True),
    )
    rows = [
        (purpose, f"{pool['in_use']} of {pool['pool_size']}", str(pool["waiting"]))
        for purpose, pool in database["pools"].items()
    ]
    return fit_table(title, columns, rows, width)


def _instant(text: str | None) -> str:
    """Return the instant to the second; the JSON has more digits."""
    return "-" if text is None else text[:19].replace("T", " ")


def duration(seconds: float | None) -> str:
    """Return a duration like 12 s, 3 min 20 s, 2 h 5 min or 4 d 3 h; a dash for None."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    for unit, above, size, below in (
        ("d", "h", 86_400, 3_600),
        ("h", "min", 3_600, 60),
        ("min", "s", 60, 1),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // below} {above}"
    return f"{whole} s"
