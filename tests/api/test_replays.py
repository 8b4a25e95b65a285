"""Replays that meet something: each other, a client that hangs up, a database that goes away."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from api.app import PREFIX, create_app
from runtime.faults import EnvironmentFault
from tests.api.test_quarantine import (
    BREAK,
    MEND,
    NORTH,
    entries,
    events,
    execute,
    outcome_of,
    replay,
    set_aside,
)

if TYPE_CHECKING:
    from domain.changes import Author
    from domain.model import Result
    from ports.quarantine import Quarantine, QuarantinedUpdate
    from tests.api.harness import Harness
    from tests.api.standing_time import FrozenDatabase


@pytest.fixture
async def mended(frozen: FrozenDatabase, harness: Harness) -> str:
    """The number of an entry that can be stored now."""
    await execute(frozen, BREAK)
    try:
        number = await set_aside(harness)
    finally:
        await execute(frozen, MEND)
    return number


async def test_replays_at_the_same_time_store_it_once(harness: Harness, mended: str) -> None:
    outcomes: list[str] = []

    async def replay_once() -> None:
        outcomes.append((await outcome_of(harness, mended))[0])

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(replay_once)
    assert sorted(outcomes) == ["accepted", "duplicate", "duplicate", "duplicate"]
    assert len(await events(harness)) == 1
    (entry,) = await entries(harness)
    assert entry["replayed"]["outcome"] == "accepted"
    assert sorted(await replays_in_the_audit(harness)) == sorted(outcomes)


async def replays_in_the_audit(harness: Harness) -> list[str]:
    """Return the outcomes, newest first."""
    listed = await harness.get("/workspaces/north/audit?kind=replay", key="control")
    return [item["after"]["outcome"] for item in listed["items"]]


@pytest.mark.parametrize("then", ["retired", "archived"])
async def test_a_replay_for_a_device_that_is_gone_is_refused(
    harness: Harness, mended: str, then: str
) -> None:
    harness.let_pass(60)
    if then == "retired":
        gone = await harness.ask("DELETE", "/workspaces/north/devices/bus-1")
    else:
        await harness.ask("PATCH", "/workspaces/north", json={"active": False})
        gone = await harness.ask("DELETE", "/workspaces/north")
    assert gone.status == 200, gone.body
    assert await outcome_of(harness, mended) == ("rejected", "unknown_device", None)
    (entry,) = await entries(harness)
    assert (entry["replayed"]["outcome"], entry["replayed"]["reason"]) == (
        "rejected",
        "unknown_device",
    )
    assert await events(harness) == []


@pytest.mark.parametrize("until", ["find_update", "note_replay"])
async def test_a_client_that_hangs_up_leaves_its_replay_in_the_audit(
    harness: Harness, mended: str, until: str
) -> None:
    """It hangs up before its replay is committed, or before that is noted."""
    with trio.CancelScope() as client:
        behind = cast("Any", _Quarantine(harness.services.quarantine, client, until))
        app = create_app(replace(harness.services, quarantine=behind))
        await app.test_client().post(
            f"{PREFIX}{NORTH}/{mended}/replay",
            headers={"Authorization": f"Bearer {harness.tokens['admin']}"},
        )
    assert client.cancelled_caught
    assert len(await events(harness)) == 1
    assert await replays_in_the_audit(harness) == ["accepted"]
    assert (await entries(harness))[0]["replayed"]["outcome"] == "accepted"


async def test_a_database_that_goes_away_before_the_note_is_503(
    harness: Harness, mended: str
) -> None:
    plain = harness.client
    away = cast("Any", _Quarantine(harness.services.quarantine))
    harness.client = create_app(replace(harness.services, quarantine=away)).test_client()
    answer = await replay(harness, mended)
    assert (answer.status, answer.problem) == (503, "dependency-away")
    assert "retry-after" in answer.headers
    harness.client = plain
    assert (await entries(harness))[0]["replayed"] is None
    assert await outcome_of(harness, mended) == ("duplicate", None, 1)
    assert len(await events(harness)) == 1
    assert await replays_in_the_audit(harness) == ["duplicate"]


class _Quarantine:
    """The real one. The client hangs up during the call of the name `until`."""

    def __init__(
        self, real: Quarantine, client: trio.CancelScope | None = None, until: str = ""
    ) -> None:
        self._real = real
        self._client = client
        self._until = until

    async def find_update(self, workspace_id: str, quarantine_id: int) -> QuarantinedUpdate | None:
        found = await self._real.find_update(workspace_id, quarantine_id)
        self._hang_up("find_update")
        return found

    async def note_replay(
        self, workspace_id: str, quarantine_id: int, result: Result, *, by: Author
    ) -> None:
        if self._client is None:
            raise EnvironmentFault("the database is away")
        self._hang_up("note_replay")
        await self._real.note_replay(workspace_id, quarantine_id, result, by=by)

    def _hang_up(self, during: str) -> None:
        if self._client is not None and during == self._until:
            self._client.cancel()
