"""The output of the reading commands: rich tables for people, CSV for programs.

Owns columns and colours. Decides nothing: states and reasons are the API's. Every cell is a `Text`,
which rich shows unchanged. In a plain string, rich would read [brackets] and :words: of a
customer's name as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

STATES = ("healthy", "delayed", "stale", "configured-no-data", "awaiting-first-data")
STATE_STYLE = {
    "healthy": "green",
    "delayed": "yellow",
    "stale": "red",
    "configured-no-data": "magenta",
    "awaiting-first-data": "cyan",
}
_CSV_COLUMNS = (
    "workspace_id",
    "vehicle_id",
    "vehicle_name",
    "device_id",
    "provider_id",
    "external_id",
    "state",
    "reason",
    "freshness_age_seconds",
    "last_update_received_at",
    "last_confirmed_at",
    "provider_lag_seconds",
)
_LAST_CSV_COLUMNS = ("party", "away_for_seconds", "last_observed_at")


def health_table(
    title: str, items: Iterable[Mapping[str, Any]], *, with_workspace: bool = False
) -> Table:
    """Return one line per device: its names, state, reason, whose fault it is, and its ages."""
    table = _empty(title)
    if with_workspace:
        table.add_column("workspace")
    for column in (
        "vehicle",
        "device",
        "state",
        "reason",
        "whose",
        "age",
        "away",
        "last update received",
        "old signals",
    ):
        table.add_column(
            column,
            justify="right" if column in {"age", "away"} else "left",
            no_wrap=column != "old signals",
        )
    for item in items:
        state = str(item["state"])
        _add_row(
            table,
            *([str(item["workspace_id"])] if with_workspace else []),
            str(item["vehicle_name"]),
            str(item["device_id"]),
            Text(state, STATE_STYLE.get(state, "white")),
            str(item["reason"]),
            str(item.get("party", "-")),
            duration(item.get("freshness_age_seconds")),
            duration(item.get("away_for_seconds")),
            _instant(item.get("last_update_received_at")),
            _short(item.get("old_signals") or ()),
        )
    return table


def health_csv(pages: Iterable[Mapping[str, Any]]) -> str:
    """Return CSV with a header and one line per device of the API's health report."""
    # Imported here: it brings the whole web framework, which the other reading commands do not
    # need.
    from api.spreadsheet import write_csv

    rows = [
        [
            *(item[column] for column in _CSV_COLUMNS),
            "; ".join(item["old_signals"]),
            page["evaluated_at"],
            *(item[column] for column in _LAST_CSV_COLUMNS),
        ]
        for page in pages
        for item in page["items"]
    ]
    return write_csv((*_CSV_COLUMNS, "old_signals", "evaluated_at", *_LAST_CSV_COLUMNS), rows)


def _short(signals: Sequence[str]) -> str:
    """Return the first two names, and the number of the others."""
    named, more = signals[:2], len(signals) - 2
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def runtime_tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """Yield a table of all shards, then those of the shard that answered.

    Its leases, actors, mailbox lanes and database connections; deferred submissions if there are
    any.
    """
    process = report["process"]
    own, ingest = process["shard"], process["ingest"]
    yield _shards_table(report["shards"])
    yield _leases_table(own["shard_id"], own["owned"]["workspaces"])
    yield _actors_table({**process["actors"]["children"], **own["owned"]["actors"]["children"]})
    yield _lanes_table(ingest["mailbox"]["lanes"])
    if ingest["deferred"]["submissions"]:
        yield _deferred_table(ingest["deferred"])
    yield _database_table(process["database"])


def _shards_table(shards: Iterable[Mapping[str, Any]]) -> Table:
    columns = (
        "shard",
        "epoch",
        "state",
        "heartbeat good until",
        "leases",
        "queue",
        "oldest",
        "restarts",
        "parked",
    )
    table = _plain("shards", columns)
    for shard in shards:
        vital = shard.get("statistics") or {}
        _add_row(
            table,
            str(shard["shard_id"]),
            str(shard["epoch"]),
            str(shard["state"]) + (", draining" if shard.get("draining") else ""),
            _instant(shard.get("expires_at")),
            str(vital.get("workspaces", "-")),
            str(vital.get("pending", "-")),
            duration(vital.get("oldest_waiting_seconds")),
            str(vital.get("restarts", "-")),
            ", ".join(vital.get("parked") or ()) or "none",
        )
    return table


def _leases_table(shard_id: str, workspaces: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _plain(
        f"leases of {shard_id}", ("workspace", "token", "streams open", "next start", "cycles")
    )
    for workspace_id, workspace in sorted(workspaces.items()):
        streams = workspace["streams"].values()
        _add_row(
            table,
            workspace_id,
            str(workspace["token"]),
            f"{sum(stream['open'] for stream in streams)} of {len(streams)}",
            _instant(workspace["next_start_at"]),
            ", ".join(
                f"{outcome} {count}" for outcome, count in sorted(workspace["outcomes"].items())
            )
            or "none yet",
        )
    return table


def _actors_table(children: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the actors that do not run or were restarted; the title counts all of them."""
    odd = {
        name: child
        for name, child in children.items()
        if child["state"] != "running" or child["restarts"]
    }
    table = _plain(
        f"actors: {len(children)}, to look at: {len(odd)}",
        ("actor", "state", "restarts", "since", "error"),
    )
    for name, child in sorted(odd.items()):
        error = child["last_error"] or {}
        _add_row(
            table,
            name,
            child["state"],
            str(child["restarts"]),
            _instant(child["since"]),
            f"{error.get('type', '')} {error.get('message', '')}".strip(),
        )
    return table


def _lanes_table(lanes: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = ("lane", "waiting", "capacity", "peak", "waiting senders", "refused")
    table = _plain("mailbox lanes, in updates", columns)
    for name, lane in lanes.items():
        counts = ("waiting_size", "capacity", "peak_size", "parked_senders", "refused_items")
        _add_row(table, name, *(str(lane[count]) for count in counts))
    return table


def _deferred_table(deferred: Mapping[str, Any]) -> Table:
    """Return the totals, and the two workspaces that have waited longest with the age of each."""
    columns = ("submissions", "updates", "locked rows", "oldest", "workspaces")
    table = _plain("deferred submissions", columns)
    ages = deferred["oldest_seconds_by_workspace"].items()
    _add_row(
        table,
        *(str(deferred[count]) for count in ("submissions", "updates", "locked_rows")),
        duration(deferred["oldest_seconds"]),
        _short([f"{workspace_id} {duration(seconds)}" for workspace_id, seconds in ages]),
    )
    return table


def _database_table(database: Mapping[str, Any]) -> Table:
    version = database["server_version"]
    title = "PostgreSQL, version unknown" if version is None else f"PostgreSQL {version}"
    table = _plain(title, ("connections for", "in use", "waiting"))
    for purpose, pool in database["pools"].items():
        _add_row(table, purpose, f"{pool['in_use']} of {pool['pool_size']}", str(pool["waiting"]))
    return table


def _plain(title: str, columns: Iterable[str]) -> Table:
    table = _empty(title)
    for column in columns:
        table.add_column(column, no_wrap=column != "error")
    return table


def _empty(title: str) -> Table:
    return Table(
        title=Text(title, "table.title"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )


def _add_row(table: Table, *cells: str | Text) -> None:
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


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
