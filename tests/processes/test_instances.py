"""Two instances as real processes: the database is all that they share, and all that they need."""

from __future__ import annotations

from datetime import timedelta
from signal import SIGKILL
from typing import TYPE_CHECKING, Any, Final

import psutil
import pytest
import trio

from tests.conftest import fetch
from tests.processes.fleets import make_key
from tests.processes.instances import add_pushed_fleet, ask, ingest, now, update
from tests.processes.shard import open_shard

if TYPE_CHECKING:
    from tests.conftest import Stores
    from tests.processes.shard import Shard

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

BUSES: Final = ("bus-1", "bus-2", "bus-3")
WRITES: Final = 20
# What a projection, or a bus that feeds one, would need in the database.
MACHINERY: Final = """
    SELECT (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())
         + (SELECT count(*) FROM pg_publication)
         + (SELECT count(*) FROM pg_matviews)
         + (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal)
"""


async def test_d_008_an_accepted_update_is_read_at_the_next_request(
    dsn: str, postgres_stores: Stores
) -> None:
    """On every instance and in every view, without any other process, a bus or a projection."""
    key = await make_key(postgres_stores)
    async with (
        open_shard(dsn, key, shard_id="one") as one,
        open_shard(dsn, key, shard_id="other") as other,
    ):
        await add_pushed_fleet(one, "harbour", BUSES)
        for number in range(WRITES):
            writer, reader = (one, other) if number % 2 else (other, one)
            sent = [update("harbour", bus, now(), soc_percent=number) for bus in BUSES]
            assert await ingest(writer, *sent) == ["accepted"] * len(BUSES)
            assert await _read_everywhere(reader) == [number] * (3 * len(BUSES))
        helpers = [psutil.Process(shard.child.pid).children() for shard in (one, other)]
        ((machinery,),) = await trio.to_thread.run_sync(fetch, dsn, MACHINERY)

    assert helpers == [[], []]
    assert machinery == 0


async def _read_everywhere(shard: Shard) -> list[float]:
    """Return the value that each view has of each bus: snapshots, history and health."""
    listed = (await ask(shard, "GET", "/workspaces/harbour/snapshots"))["items"]
    told = [each["values"]["soc_percent"]["value"] for each in listed]
    report = (await ask(shard, "GET", "/workspaces/harbour/health"))["items"]
    for snapshot, verdict in zip(listed, report, strict=True):
        path = f"/workspaces/harbour/devices/{snapshot['device_id']}/events?limit=1"
        (newest,) = (await ask(shard, "GET", path))["items"]
        told.append(newest["readings"]["soc_percent"]["value"])
        # Health shows no values: it has the newest one if it has its time.
        is_newest = verdict["last_update_received_at"] == newest["received_at"]
        told.append(told[-1] if is_newest else -1)
    return told


async def test_fr_012_fr_013_fr_015_d_009_a_killed_instance_changes_no_answer(
    dsn: str, postgres_stores: Stores
) -> None:
    """What one instance was told holds on another one, and after `kill -9` on its successor."""
    key = await make_key(postgres_stores)
    async with open_shard(dsn, key, shard_id="other") as other:
        async with open_shard(dsn, key, shard_id="one") as one:
            await add_pushed_fleet(one, "harbour", BUSES)
            began = now()
            batch = [update("harbour", bus, began, soc_percent=61) for bus in BUSES[:2]]
            assert await ingest(one, *batch) == ["accepted"] * 2
            await ask(other, "DELETE", "/workspaces/harbour/devices/bus-2")
            before = await _answers(one)
            one.child.send(SIGKILL)
            await one.child.wait_ended()
        async with open_shard(dsn, key, shard_id="one") as successor:
            assert await _answers(successor) == before == await _answers(other)
            for shard in (successor, other):
                older = update("harbour", "bus-1", began - timedelta(seconds=1), soc_percent=5)
                retried = await ingest(shard, *batch, older)
                assert retried == ["duplicate", "rejected", "stale"]
            taken = {"external_id": "bus-1", "vehicle_id": "v", "vehicle_name": "another"}
            refused = await successor.client.put(
                "/api/telematics-mvp/workspaces/harbour/devices/bus-9",
                json={"provider_id": "push", **taken},
            )
            assert refused.status_code == 409, refused.text
            assert await _answers(successor) == before == await _answers(other)


async def _answers(shard: Shard) -> list[Any]:
    """Return configuration, snapshots, histories and verdicts, without the moving ages."""
    events = [
        (await ask(shard, "GET", f"/workspaces/harbour/devices/{bus}/events"))["items"]
        for bus in BUSES
    ]
    devices = (await ask(shard, "GET", "/workspaces/harbour/devices"))["items"]
    snapshots = (await ask(shard, "GET", "/workspaces/harbour/snapshots"))["items"]
    report = await ask(shard, "GET", "/workspaces/harbour/health")
    verdicts = [
        tuple(item[name] for name in ("device_id", "state", "reason", "last_update_received_at"))
        for item in report["items"]
    ]
    values = [
        {signal: (entry["value"], entry["observed_at"]) for signal, entry in each["values"].items()}
        for each in snapshots
    ]
    return [devices, values, events, verdicts, report["counts"]]
