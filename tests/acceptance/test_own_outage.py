"""Nobody is blamed for our own outage before the provider has answered again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.acceptance.harness import QUICK, eventually, open_harness, until
from tests.acceptance.maker import VIN, WORKSPACE, configure_maker, open_maker, record
from tests.providers.servers import Asked, Reply

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.harness import Harness

INTERVAL = 4
STALE_SECONDS = 3.0 * INTERVAL  # what a polled connection of this interval has at least
ANSWER_SECONDS = 2.0  # less than a call may take at this interval, and less than due
LOOK_EVERY_SECONDS = 0.2


class SlowMaker:
    """A maker that answers after a while once `is_slow`. `ended` counts those answers."""

    def __init__(self, later: Reply | None) -> None:
        self.later = later
        self.is_slow = False
        self.ended = 0

    async def answer(self, body: bytes, _: Asked) -> Reply:
        if not self.is_slow:
            return Reply(200, body)
        await trio.sleep(ANSWER_SECONDS)
        self.ended += 1
        return self.later or Reply(200, body)


async def look(harness: Harness) -> Any:
    (item,) = (await harness.shard.health(WORKSPACE))["items"]
    return item


@pytest.mark.parametrize(
    ("later", "reason", "party"),
    [
        (None, "reporting", "none"),
        (Reply(204, b""), "device_silent", "device"),
        (Reply(503, b""), "provider_outage", "provider"),
    ],
    ids=["it sends", "nothing new", "a failure"],
)
async def test_our_outage_is_ours_until_a_call_has_ended(
    dsn: str, tmp_path: Path, later: Reply | None, reason: str, party: str
) -> None:
    slow = SlowMaker(later)
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.reply = slow.answer
        maker.records = [record(1, {"hybridBatteryPackRemainingCharge": 61.5})]
        await configure_maker(harness, maker, interval=INTERVAL, thresholds=QUICK)
        await until(lambda: _is_fresh(harness))
        await harness.close_shard()
        await trio.sleep(STALE_SECONDS)
        slow.is_slow = True
        maker.records = [record(1, {"hybridBatteryPackRemainingCharge": 61.0})]
        await harness.open_shard("shard-1")

        looks = 0
        while True:
            item = await look(harness)
            if slow.ended:
                break
            looks += 1
            assert (item["state"], item["party"]) == ("stale", "ours"), item["evidence"]
            await trio.sleep(LOOK_EVERY_SECONDS)
        assert looks >= 5  # health was read while the provider was being asked

        async def verdict() -> tuple[str, str]:
            item = await look(harness)
            return item["reason"], item["party"]

        await eventually(verdict, (reason, party))


async def _is_fresh(harness: Harness) -> bool:
    item = await look(harness)
    return (item["device_id"], item["state"]) == (VIN, "healthy")
