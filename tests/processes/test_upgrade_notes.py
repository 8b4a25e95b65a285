"""docs/upgrade.md with the real commands, on a database that release 0.1.0 wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from storage.migrations import migrate_blocking
from tests.conftest import execute
from tests.processes.child import LASTHEARD, open_child
from tests.storage.test_upgrade import HEARTBEAT, PARTITION, ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

NOTES = (Path(__file__).parents[2] / "docs" / "upgrade.md").read_text(encoding="utf-8")


@pytest.fixture
async def of_release_0_1(empty_dsn: str) -> Mapping[str, str]:
    """The environment that leads to a database of release 0.1.0."""

    def fill() -> None:
        migrate_blocking(empty_dsn, "0004")
        execute(empty_dsn, PARTITION, ROWS.read_text(), HEARTBEAT)

    await trio.to_thread.run_sync(fill)
    return {"LASTHEARD_DSN": empty_dsn, "LASTHEARD_HTTP_PORT": "0", "LASTHEARD_PROBE_PORT": "0"}


async def run(environment: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Return the exit code of a command, and what it said on both streams."""
    async with open_child(*LASTHEARD, *arguments, environment=environment) as child:
        code = await child.wait_ended(60.0)
        return code, child.out + child.errors


async def test_the_notes_lead_from_0_1_to_this_release(of_release_0_1: Mapping[str, str]) -> None:
    before = await run(of_release_0_1, "config", "check", "--connect")
    too_early = await run(of_release_0_1, "serve")
    migrated = await run(of_release_0_1, "migrate")
    again = await run(of_release_0_1, "migrate")
    after = await run(of_release_0_1, "config", "check", "--connect")

    assert before[0] == 1
    assert "schema version 0004, this release needs 0028" in before[1]
    assert too_early[0] != 0
    assert "run `lastheard migrate`" in too_early[1]
    assert migrated[0] == again[0] == after[0] == 0
    for said in (migrated[1].splitlines()[-1], "schema: 0028, as this release needs"):
        assert said in NOTES
    assert "schema: 0028, as this release needs" in after[1]
