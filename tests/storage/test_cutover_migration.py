"""Migration 0024: workspaces of before are ours in every flag, and are asked as before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from domain.cutover import Cutover, ProviderMode
from ports.cutovers import new_draft
from storage.cutovers import PostgresCutovers
from storage.migrations import migrate, migrate_blocking
from tests.conftest import execute
from tests.storage.test_upgrade import opened

if TYPE_CHECKING:
    from ports.cutovers import StoredCutover

WORKSPACES = """
INSERT INTO workspaces (workspace_id, name, ordinal, scheduled_since)
VALUES ('real', 'Real', 0, now()), ('lab', 'Lab', 1, now()), ('bare', 'Bare', 2, now())
"""
CONNECTIONS = """
INSERT INTO providers (workspace_id, provider_id, provider_type, transport, base_url, simulated)
VALUES ('real', 'live', 'rfms', 'poll', 'https://a.example', false),
       ('lab', 'live', 'rfms', 'poll', 'https://a.example', false),
       ('lab', 'simulator', 'rfms', 'poll', 'https://b.example', true)
"""


async def test_workspaces_of_before_are_ours_and_asked_as_before(empty_dsn: str) -> None:
    def fill() -> None:
        migrate_blocking(empty_dsn, "0023")
        execute(empty_dsn, WORKSPACES, CONNECTIONS)

    await trio.to_thread.run_sync(fill)
    await migrate(empty_dsn)
    found: dict[str, StoredCutover | None] = {}
    async with opened(empty_dsn) as database:
        for name in ("real", "lab", "bare"):
            found[name] = await PostgresCutovers(database).get_cutover(name)
    assert {name: one and one.draft for name, one in found.items()} == {
        "real": new_draft(),
        "lab": new_draft(Cutover(provider_mode=ProviderMode.MIXED)),
        "bare": new_draft(),
    }
    for one in found.values():
        assert one is not None
        assert (one.workspace.cutover_revision, one.workspace.asking_changed_at) == (1, None)
