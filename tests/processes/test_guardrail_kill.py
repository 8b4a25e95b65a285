"""`kill -9` of the shard that rolls back, at each step of the rollback: all of it or nothing, once.

A fleet reads core, and its provider answers nobody. The shard that owns it is stopped within its
transaction by a lock of the test, and killed there. A second shard takes over and finishes.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from signal import SIGKILL
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
import trio

from domain.cutover import NEW_CUTOVER
from domain.model import Policy, ProviderConnection
from domain.registry import DeviceDraft
from lastheard.simulation import run_simulator
from ports.cutovers import new_draft
from ports.legacy import LegacyConfiguration
from simulator.legacy_shape import SHAPE
from tests.processes.fleets import make_key
from tests.processes.shard import open_shard
from tests.storage.holding import holding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from lastheard.simulation import Simulated
    from storage.gateway import Database
    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres, pytest.mark.cluster]

FIRST, SECOND = "shard-1", "shard-2"
PATIENCE_SECONDS: Final = 40.0
HOLD_SECONDS: Final = 60.0
TTL_SECONDS: Final = "3"
LOCK: Final = "SELECT pg_advisory_xact_lock(4711)"
WAIT: Final = """
    CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(4711);
        RETURN NEW;
    END $$
"""


class Step(NamedTuple):
    """Where the transaction is stopped: by a trigger, or by a lock on a row.

    `is_done`: the whole transaction survives the kill.
    """

    trigger: str | None = None
    lock: str = LOCK
    is_done: bool = False


STEPS: Final = {
    "the workspace is locked": Step(lock="SELECT 1 FROM workspaces FOR NO KEY UPDATE"),
    "session and lease are held": Step(lock="SELECT 1 FROM leases FOR UPDATE"),
    "the flags are written": Step("BEFORE UPDATE OF read_owner ON workspaces"),
    "the history is written": Step("BEFORE INSERT ON changes"),
    "the event is written": Step("BEFORE INSERT ON guardrail_events"),
    "the rollback is noted": Step("BEFORE UPDATE OF rolled_back_at ON cutovers"),
    "it is committed": Step(
        "AFTER INSERT ON guardrail_events DEFERRABLE INITIALLY DEFERRED", is_done=True
    ),
}
WAITING: Final = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
      AND application_name = 'lastheard/shard-1'
      AND clock_timestamp() - query_start > interval '0.2 seconds'
"""
ALIVE: Final = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'lastheard/shard-1'
"""
STATE: Final = """
    SELECT w.read_owner, w.poll_owner, w.cutover_revision, c.rolled_back_at IS NOT NULL,
           (SELECT count(*) FROM guardrail_events WHERE kind = 'rollback'),
           (SELECT count(*) FROM changes WHERE who = 'guardrail')
    FROM workspaces w JOIN cutovers c USING (workspace_id)
"""
NOTHING: Final = ("core", "core", 2, False, 0, 0)
ALL: Final = ("legacy", "legacy", 3, True, 1, 1)


async def fetch(database: Database, statement: str) -> tuple[Any, ...]:
    row = await database.run(lambda connection: connection.fetchrow(statement))
    assert row is not None
    return tuple(row)


async def execute(database: Database, statement: str) -> None:
    await database.run(lambda connection: connection.execute(statement))


async def until(what: str, fact: Callable[[], Awaitable[bool]]) -> None:
    with trio.move_on_after(PATIENCE_SECONDS):
        while not await fact():  # noqa: ASYNC110 no event tells of another process's locks
            await trio.sleep(0.05)
        return
    raise AssertionError(f"not within {PATIENCE_SECONDS:g} s: {what}")


@asynccontextmanager
async def failing_fleet(stores: Stores, folder: Path) -> AsyncIterator[None]:
    """A fleet that reads core, beside a legacy system that answers. Its provider does not."""
    async with run_simulator("--devices", "2", "--tenants", "1", "--legacy") as simulated:
        workspace_id = simulated.tenants[0].name
        await stores.registry.put_workspace(
            workspace_id, name="Fleet", active=True, poll_interval_seconds=2, policy=Policy()
        )
        await stores.registry.put_provider(
            ProviderConnection(workspace_id, "live", "rfms", "poll", "http://127.0.0.1:9", None)
        )
        draft = DeviceDraft("bus-1", "live", "x-bus-1", "v-bus-1", "Bus 1")
        await stores.registry.put_devices(workspace_id, [draft])
        cutover = new_draft(NEW_CUTOVER)._replace(legacy=legacy_of(simulated, folder))
        limits = cutover.guardrails._replace(cycles=2, min_completed_cycles=2.0)
        await stores.cutovers.put_cutover(workspace_id, draft=cutover._replace(guardrails=limits))
        yield


def legacy_of(simulated: Simulated, folder: Path) -> LegacyConfiguration:
    secret = folder / "legacy.secret"
    assert simulated.legacy_credential is not None
    secret.write_text(simulated.legacy_credential)
    return LegacyConfiguration(simulated.http_url, f"file:{secret}", SHAPE)


@pytest.mark.parametrize("name", STEPS)
async def test_acceptance_13_sc_08_a_killed_rollback_is_all_or_nothing(
    dsn: str, database: Database, postgres_stores: Stores, tmp_path: Path, name: str
) -> None:
    step, key = STEPS[name], await make_key(postgres_stores)
    if step.trigger is not None:
        kind = "CONSTRAINT TRIGGER" if step.is_done else "TRIGGER"
        for statement in (
            WAIT,
            f"CREATE {kind} waits {step.trigger} FOR EACH ROW EXECUTE FUNCTION wait_here()",
        ):
            await execute(database, statement)
    async with failing_fleet(postgres_stores, tmp_path):
        assert await fetch(database, STATE) == NOTHING
        async with open_shard(dsn, key, shard_id=FIRST, ttl_seconds=TTL_SECONDS) as first:
            await kill_at(database, first.child, step)
        await until("the backends of the killed shard are gone", lambda: is_gone(database))
        assert await fetch(database, STATE) == (ALL if step.is_done else NOTHING)

        async with open_shard(dsn, key, shard_id=SECOND, ttl_seconds=TTL_SECONDS) as second:
            await second.child.wait_for_record("workspace_taken_up", PATIENCE_SECONDS)
            await until("it is rolled back", lambda: is_rolled_back(database))
            await trio.sleep(5.0)  # two more cycles find nothing to do
            assert await fetch(database, STATE) == ALL
            rollbacks = second.child.events("cutover_rolled_back")
            assert len(rollbacks) == (0 if step.is_done else 1)


async def kill_at(database: Database, child: Any, step: Step) -> None:
    """Kill the shard while its rollback waits at the step."""
    is_row = step.trigger is None
    if is_row:
        # A lock on the row from the beginning would keep the shard from taking up the workspace.
        await child.wait_for_record("workspace_taken_up", PATIENCE_SECONDS)
    async with holding(database, step.lock, seconds=HOLD_SECONDS):
        await until("the rollback waits", lambda: is_waiting(database))
        child.send(SIGKILL)
        assert await child.wait_ended() == -SIGKILL


async def is_waiting(database: Database) -> bool:
    return await fetch(database, WAITING) != (0,)


async def is_gone(database: Database) -> bool:
    return await fetch(database, ALIVE) == (0,)


async def is_rolled_back(database: Database) -> bool:
    return await fetch(database, STATE) == ALL
