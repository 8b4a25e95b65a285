"""Edges of a polled connection, over a maker's wire: a row when a fact changes, none between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.acceptance.harness import eventually, open_harness, until
from tests.acceptance.maker import VIN, WORKSPACE, configure_maker, open_maker, record
from tests.conftest import fetch
from tests.providers.servers import Asked, Reply

if TYPE_CHECKING:
    from pathlib import Path

GONE = "TESTVIN0000000009"
WORKING = ["call_succeeded", "answer_complete", "roster_answered"]


async def edges(dsn: str) -> list[str]:
    query = f"SELECT kind FROM connection_events WHERE workspace_id = '{WORKSPACE}'"
    rows = await trio.to_thread.run_sync(fetch, dsn, f"{query} ORDER BY event_id")
    return [row["kind"] for row in rows]


async def count(dsn: str, table: str) -> int:
    query = f"SELECT count(*) AS n FROM {table} WHERE workspace_id = '{WORKSPACE}'"
    (row,) = await trio.to_thread.run_sync(fetch, dsn, query)
    return int(row["n"])


async def cycles(dsn: str) -> int:
    query = "SELECT count(*) AS n FROM poll_cycles WHERE outcome = 'completed'"
    (row,) = await trio.to_thread.run_sync(fetch, dsn, query)
    return int(row["n"])


async def test_cycles_that_work_write_no_edge(dsn: str, tmp_path: Path) -> None:
    """One truck reports, and one that left the account does not, over eight cycles."""
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.records = [record(1, {"hybridBatteryPackRemainingCharge": 61.5})]
        await configure_maker(harness, maker, VIN, GONE)

        async def have_run(number: int) -> bool:
            return await cycles(dsn) >= number

        await until(lambda: have_run(2), within=60)
        begun = await edges(dsn), await count(dsn, "device_events")
        assert begun == (WORKING, 2)
        await until(lambda: have_run(8), within=60)
        assert (await edges(dsn), await count(dsn, "device_events")) == begun


async def test_an_outage_and_garbage_have_a_begin_and_an_end(dsn: str, tmp_path: Path) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.records = [record(1, {"hybridBatteryPackRemainingCharge": 61.5})]
        await configure_maker(harness, maker)
        await eventually(lambda: edges(dsn), WORKING, within=60)
        answer = maker.reply

        def refuse(body: bytes, asked: Asked) -> Reply:
            return Reply(403, b"{}")

        def garble(body: bytes, asked: Asked) -> Reply:
            return Reply(200, b"<html>", {"Content-Type": "application/json"})

        told: list[Any] = [*WORKING]
        for reply, more in (
            (refuse, ["call_failed", "answer_incomplete"]),
            (answer, ["call_succeeded", "answer_complete"]),
            (garble, ["call_failed", "answer_incomplete", "data_unreadable"]),
            (answer, ["call_succeeded", "answer_complete", "data_readable"]),
        ):
            maker.reply = reply
            told += more
            await eventually(lambda: edges(dsn), told, within=60)
