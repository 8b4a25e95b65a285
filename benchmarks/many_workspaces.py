"""Many small workspaces in one database, made by SQL in bulk, and a shard that runs them.

Owns their rows and the process.
"""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.bare_maker import vin_of
from benchmarks.place import fetch
from benchmarks.service import migrate_and_make_key, open_service
from benchmarks.trees import inspect, present_folder
from benchmarks.workers import open_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.place import Place
    from benchmarks.service import Service
    from benchmarks.trees import Tree
    from benchmarks.workers import Worker

PROVIDER = "maker"
# The rows that the commands of the registry would write, as of an hour ago.
_ROWS = (
    """INSERT INTO workspaces (workspace_id, name, ordinal, poll_interval_seconds, scheduled_since,
                              freshness_target_seconds, delayed_after_seconds, stale_after_seconds)
       SELECT 'w' || to_char(n, 'FM000000'), 'Workspace ' || n, n, $2::integer, now(), 300, 360, 900
       FROM generate_series(0, $1::integer - 1) AS n""",
    """INSERT INTO providers (workspace_id, provider_id, provider_type, transport, base_url,
                             credential, ids_are_vins)
       SELECT name, $2, 'rfms', 'poll', $3 || '/' || n || '/' || $4::integer, 'file:' || name, true
       FROM generate_series(0, $1::integer - 1) AS n,
            concat('w', to_char(n, 'FM000000')) AS name""",
    """INSERT INTO connection_state (workspace_id, provider_id)
       SELECT workspace_id, provider_id FROM providers""",
    """INSERT INTO devices (workspace_id, device_id, provider_id, external_id, external_key,
                           ids_are_vins, vehicle_id, vehicle_name, activated_at)
       SELECT 'w' || to_char(n, 'FM000000'), 'd' || d, $3, vin, vin, true, 'bus-' || d,
              'Bus ' || d, now() - interval '1 hour'
       FROM generate_series(0, $1::integer - 1) AS n,
            generate_series(0, $2::integer - 1) AS d,
            concat('V', to_char(n, 'FM000000'), to_char(d, 'FM000000')) AS vin""",
    """INSERT INTO assignments (workspace_id, device_id, assignment, provider_id, external_id,
                               external_key, vehicle_id, vehicle_name, effective_at)
       SELECT workspace_id, device_id, 1, provider_id, external_id, external_key, vehicle_id,
              vehicle_name, activated_at FROM devices""",
    """INSERT INTO device_state (workspace_id, device_id)
       SELECT workspace_id, device_id FROM devices""",
    """INSERT INTO snapshots (workspace_id, device_id)
       SELECT workspace_id, device_id FROM devices""",
    "ANALYZE",
)


class Fleets(NamedTuple):
    """So many workspaces of so many devices each, with this interval."""

    workspaces: int
    devices: int
    interval: int


class Prepared(NamedTuple):
    """A migrated database, and the key for its API."""

    tree: Tree
    dsn: str
    key: str


async def prepare(place: Place) -> Prepared:
    """Make a database without workspaces."""
    tree = await inspect("the present tree", present_folder())
    dsn = await place.new_database()
    return Prepared(tree, dsn, await migrate_and_make_key(tree, dsn))


async def make_rows(dsn: str, fleets: Fleets, base_url: str) -> None:
    """Make the workspaces, each with one polled connection and its devices."""
    assert vin_of(1, 2) == "V000001000002", "the statements spell the names as the maker does"
    arguments = (
        (fleets.workspaces, fleets.interval),
        (fleets.workspaces, PROVIDER, base_url, fleets.devices),
        (),
        (fleets.workspaces, fleets.devices, PROVIDER),
        (),
        (),
        (),
        (),
    )
    for statement, given in zip(_ROWS, arguments, strict=True):
        await fetch(dsn, statement, *given)


@asynccontextmanager
async def open_maker(tree: Tree) -> AsyncIterator[tuple[Worker, str]]:
    """Run the maker's server until the end of the block; yield it and its address."""
    command = tree.command("benchmarks.bare_maker")
    async with open_worker("the maker", command, tree.environment()) as maker:
        yield maker, f"http://127.0.0.1:{(await maker.hear('port'))['port']}"


@asynccontextmanager
async def open_shard(made: Prepared, fleets: Fleets) -> AsyncIterator[Service]:
    """Run `lastheard serve` on the database until the end of the block.

    Each workspace has a credential of its own, as customers have: a maker takes one call at a time
    for each.
    """
    with tempfile.TemporaryDirectory(prefix="lastheard-bench-secrets-") as folder:
        _write_secrets(Path(folder), fleets.workspaces)
        async with open_service(
            made.tree,
            made.dsn,
            made.key,
            credentials_dir=folder,
            min_poll_interval_seconds=str(min(60, fleets.interval)),
        ) as service:
            yield service


def _write_secrets(folder: Path, workspaces: int) -> None:
    for number in range(workspaces):
        (folder / f"w{number:06d}").write_text(f"token-{number}")
