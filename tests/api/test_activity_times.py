"""When a workspace or a connection was last switched on or off is kept with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.conftest import fetch

if TYPE_CHECKING:
    from tests.api.conftest import Populated
    from tests.api.harness import Harness

PROVIDER = "/workspaces/north/providers/hourly"
WORKSPACE = "/workspaces/north"


async def put(harness: Harness, path: str, **changes: Any) -> None:
    """Put what is stored there, with these changes."""
    stored = await harness.get(path)
    for name in ("workspace_id", "provider_id", "warnings", "ordinal", "phase_seconds"):
        stored.pop(name, None)
    body = {name: value for name, value in stored.items() if name in KNOWN[path]}
    answer = await harness.ask("PUT", path, json={**body, **changes})
    assert answer.status == 200, answer.body


KNOWN = {
    PROVIDER: {"provider_type", "transport", "base_url", "credential", "settings", "active"},
    WORKSPACE: {"name", "active", "poll_interval_seconds", "policy"},
}


async def changed_at(dsn: str, table: str, where: str) -> Any:
    query = f"SELECT active_changed_at FROM {table} WHERE {where}"
    ((at,),) = await trio.to_thread.run_sync(fetch, dsn, query)
    return at


async def test_switching_a_connection_leaves_its_time(
    harness: Harness, populated: Populated
) -> None:
    where = "workspace_id = 'north' AND provider_id = 'hourly'"
    await put(harness, PROVIDER, expected_update_seconds=7200)
    assert await changed_at(populated.dsn, "providers", where) is None
    await put(harness, PROVIDER, active=False)
    harness.let_pass(60)
    off_at = await changed_at(populated.dsn, "providers", where)
    await put(harness, PROVIDER, expected_update_seconds=3600)
    assert await changed_at(populated.dsn, "providers", where) == off_at is not None
    await put(harness, PROVIDER, active=True)
    assert await changed_at(populated.dsn, "providers", where) > off_at


async def test_switching_a_workspace_leaves_its_time(
    harness: Harness, populated: Populated
) -> None:
    where = "workspace_id = 'north'"
    await put(harness, WORKSPACE, name="Another name")
    assert await changed_at(populated.dsn, "workspaces", where) is None
    await put(harness, WORKSPACE, active=False)
    harness.let_pass(60)
    off_at = await changed_at(populated.dsn, "workspaces", where)
    await put(harness, WORKSPACE, name="North")
    assert await changed_at(populated.dsn, "workspaces", where) == off_at is not None
