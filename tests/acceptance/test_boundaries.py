"""Each boundary answers for its own faults, and the others go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.acceptance.fleets import streamed
from tests.acceptance.harness import QUICK, eventually, open_harness, until
from tests.acceptance.shard import said, update
from tests.acceptance.test_acceptance_path import REFUSE_EVENTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.harness import Harness
    from tests.acceptance.shard import Shard


async def test_fr_010_each_boundary_answers_for_its_own_faults(dsn: str, tmp_path: Path) -> None:
    """Transport, interpretation, acceptance, persistence and reads, one after the other.

    `harbour` has a stream; clients send the data of `depot`, in the same form or as updates.
    """
    harbour = streamed("harbour", 1)
    async with open_harness(dsn, tmp_path, harbour) as harness:
        shard = harness.shard
        viriciti = {"provider_type": "viriciti", "transport": "stream"}
        await shard.add_pushed_fleet("depot", ["bus-1"], connection=viriciti)
        await harness.add_fleet(harbour, thresholds=QUICK)
        await until(lambda: _is_heard(shard))

        await _check_transport(harness)
        await _check_interpretation_and_acceptance(harness)
        await _check_persistence_and_reads(harness)


async def _is_heard(shard: Shard) -> bool:
    return {state for state, _ in (await shard.verdicts("harbour")).values()} == {"healthy"}


async def _check_transport(harness: Harness) -> None:
    """Without its socket the stream's fleet falls silent. A frame by HTTP is taken as before."""
    shard = harness.shard
    await harness.change_faults("harbour", "http_401=1")
    await harness.disconnect()
    await eventually(lambda: _reasons(shard), {"credentials_rejected"})
    frame = await _frame(harness, label="soc", value=61)
    assert [said(each) for each in await _send(harness, frame)] == ["accepted"]


async def _reasons(shard: Shard) -> set[str]:
    return {reason for _, reason in (await shard.verdicts("harbour")).values()}


async def _check_interpretation_and_acceptance(harness: Harness) -> None:
    """What cannot be read is malformed. What can be read and is wrong is refused by acceptance."""
    shard, now = harness.shard, await harness.now()
    before = await shard.values("depot", "bus-1")
    unreadable = await _frame(harness, label="soc", value="many")
    impossible = await _frame(harness, label="soc", value=7000)
    by_frame = [said(each) for each in await _send(harness, unreadable)]
    by_frame += [said(each) for each in await _send(harness, impossible)]
    by_update = await shard.outcomes(update("depot", "bus-1", now, soc_percent=7000))
    assert by_frame == ["rejected:malformed", "rejected:invalid"]
    assert by_update == ["rejected:invalid"]
    assert await shard.values("depot", "bus-1") == before


async def _check_persistence_and_reads(harness: Harness) -> None:
    """While nothing can be stored, nothing is acknowledged, readiness says so, and reads go on."""
    shard = harness.shard
    before = await shard.values("depot", "bus-1")
    sent = update("depot", "bus-1", await harness.now(), soc_percent=33)
    answered: list[str] = []

    async def send() -> None:
        answered.extend(await shard.outcomes(sent))

    await harness.execute(REFUSE_EVENTS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await until(lambda: _cannot_commit(shard))
        assert await shard.values("depot", "bus-1") == before
        for path in ("health", "issues", "snapshots", "rejections", "cycles"):
            await shard.get(f"/workspaces/depot/{path}")
        assert answered == []
        await harness.execute("DROP TRIGGER refuse_events ON events")
    assert answered == ["accepted"]
    assert (await shard.values("depot", "bus-1"))["soc_percent"][0] == 33


async def _cannot_commit(shard: Shard) -> bool:
    answer = await shard.ask("GET", "/readyz", key=None)
    return not answer.json["checks"]["ingest_commits"]


async def _frame(harness: Harness, **said_of_it: Any) -> dict[str, Any]:
    """Return a frame of `bus-1` as the provider's socket sends it, observed now."""
    time = int((await harness.now()).timestamp() * 1000)
    return {"type": "vehicles", "payload": {"vid": "bus-1", "time": time, **said_of_it}}


async def _send(harness: Harness, frame: dict[str, Any]) -> list[dict[str, Any]]:
    """Send a frame as an envelope. Returns the results."""
    envelope = {
        "workspaceId": "depot",
        "providerType": "viriciti",
        "providerId": "push",
        "receivedAt": await harness.now(),
        "rawMessage": frame,
    }
    answer = await harness.shard.post("/provider-ingest", envelope)
    results: list[dict[str, Any]] = answer["results"]
    return results
