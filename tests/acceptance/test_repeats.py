"""A maker that repeats a record which was refused: the truck has sent nothing since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.acceptance.harness import eventually, open_harness, until
from tests.acceptance.maker import VIN, WORKSPACE, configure_maker, open_maker, record, said
from tests.conftest import fetch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from pathlib import Path

    from tests.acceptance.harness import Harness

SOC = "hybridBatteryPackRemainingCharge"
MALFORMED = record(1, {SOC: "much"})
WITHOUT_TIME = {**record(1, {SOC: 61.5}), "createdDateTime": "yesterday"}
OUT_OF_RANGE = record(1, {SOC: 150.0})
FUTURE = {**record(-3600, {SOC: 61.5}), "receivedDateTime": said(1)}


def verdicts(harness: Harness) -> Callable[[], Awaitable[Any]]:
    """Return what tells the reason and the party of each device."""

    async def tell() -> Any:
        items = (await harness.shard.health(WORKSPACE))["items"]
        return {(item["reason"], item["party"]) for item in items}

    return tell


async def rejected_at(dsn: str) -> datetime | None:
    query = f"SELECT last_rejected_at FROM device_state WHERE workspace_id = '{WORKSPACE}'"
    (row,) = await trio.to_thread.run_sync(fetch, dsn, query)
    at: datetime | None = row["last_rejected_at"]
    return at


@pytest.mark.parametrize(
    ("refused", "party"),
    [
        (MALFORMED, "provider"),
        (WITHOUT_TIME, "provider"),
        (OUT_OF_RANGE, "device"),
        (FUTURE, "device"),
    ],
    ids=["malformed", "no time", "out of range", "future"],
)
async def test_a_refused_record_that_is_repeated_is_silence(
    dsn: str, tmp_path: Path, refused: dict[str, Any], party: str
) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.records = [refused]
        await configure_maker(harness, maker, VIN)
        await eventually(verdicts(harness), {("updates_rejected", party)}, within=60)
        first = await rejected_at(dsn)
        asked = len(await harness.shard.cycles(WORKSPACE))

        async def have_asked_again() -> bool:
            return len(await harness.shard.cycles(WORKSPACE)) >= asked + 3

        await until(have_asked_again, within=60)
        assert await rejected_at(dsn) == first
        # another one is news
        maker.records = [{**refused, "receivedDateTime": said(0)}]

        async def is_noted() -> bool:
            return await rejected_at(dsn) != first

        await until(is_noted, within=60)
        await eventually(verdicts(harness), {("never_reported", "device")}, within=90)
