"""What vendors say about single vehicles, over their own wire, as health's stored facts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio

from tests.acceptance.harness import eventually, open_harness
from tests.acceptance.maker import (
    THRESHOLDS,
    VIN,
    WORKSPACE,
    configure_maker,
    open_maker,
    record,
)
from tests.conftest import fetch
from tests.providers.servers import Asked, Reply, http_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.harness import Harness

GONE = "TESTVIN0000000009"


async def statements(dsn: str) -> dict[str, Any]:
    """Return the newest statement about each device, and its detail."""
    query = f"SELECT * FROM device_state WHERE workspace_id = '{WORKSPACE}'"
    rows = await trio.to_thread.run_sync(fetch, dsn, query)
    return {row["device_id"]: (row["statement"], row["statement_detail"]) for row in rows}


async def verdict_of(harness: Harness, device_id: str) -> Any:
    items = (await harness.shard.health(WORKSPACE))["items"]
    return next(item for item in items if item["device_id"] == device_id)


async def test_a_truck_outside_the_account_is_left_out(dsn: str, tmp_path: Path) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.records = [record(1, {"hybridBatteryPackRemainingCharge": 61.5})]
        await configure_maker(harness, maker, VIN, GONE)
        expected = {VIN: ("named", None), GONE: ("left_out", None)}
        await eventually(lambda: statements(dsn), expected, within=60)
        verdict = await verdict_of(harness, GONE)
    assert (verdict["reason"], verdict["party"]) == ("unknown_to_provider", "customer")


async def test_an_error_for_one_bus_confirms_nothing_of_it(dsn: str, tmp_path: Path) -> None:
    state = {
        "bus_1": {"error": {"code": 504, "message": "upstream timeout"}},
        "bus_2": {"soc": {"time": 1_795_860_000_000, "value": 60.0}},
    }

    def answer(asked: Asked) -> Reply:
        return Reply(200, json.dumps(state).encode()) if asked.method == "POST" else Reply(503)

    async with http_server(answer) as url, open_harness(dsn, tmp_path) as harness:
        secret = harness.folder / "viriciti.secret"
        secret.write_text("key")
        shard = harness.shard
        await shard.add_workspace(WORKSPACE, interval=2, thresholds=THRESHOLDS, active=False)
        await shard.add_provider(
            WORKSPACE,
            "depot",
            provider_type="viriciti",
            transport="stream",
            base_url=url,
            credential=f"file:{secret}",
        )
        await shard.add_devices(WORKSPACE, "depot", ["bus_1", "bus_2"])
        await shard.add_workspace(WORKSPACE, interval=2, thresholds=THRESHOLDS)

        async def kinds() -> dict[str, Any]:
            return {name: kind for name, (kind, _) in (await statements(dsn)).items()}

        await eventually(kinds, {"bus_1": "error", "bus_2": "named"}, within=60)
        detail = (await statements(dsn))["bus_1"][1]
        verdict = await verdict_of(harness, "bus_1")
    assert (verdict["reason"], verdict["party"]) == ("unknown_to_provider", "provider")
    assert detail is not None
    assert "504" in detail
