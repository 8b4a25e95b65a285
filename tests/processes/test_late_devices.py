"""docs/examples/late_devices.py against a real process, and against a service that has no room.

The example was written from /openapi.json alone; it shows that the description suffices.
"""

from __future__ import annotations

import csv
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio

from domain.registry import DeviceDraft
from tests.processes.fleets import DEPOT, DEPOT_PROVIDER, make_depot, make_key
from tests.processes.shard import open_shard
from tests.providers.servers import Asked, Reply, http_server

if TYPE_CHECKING:
    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "late_devices.py"


class Ran(NamedTuple):
    code: int
    out: str
    errors: str


async def run_example(address: str, key: str, *arguments: str) -> Ran:
    with trio.fail_after(60):
        ended = await trio.run_process(
            [sys.executable, str(EXAMPLE), *arguments],
            env=os.environ | {"LASTHEARD": address, "KEY": key, "NO_PROXY": "127.0.0.1"},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    return Ran(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


async def make_silent_fleet(stores: Stores, count: int) -> str:
    """Make a depot whose devices were activated two hours ago and never reported.

    Returns that instant as an answer has it.
    """
    await make_depot(stores, 0)
    activated_at = datetime.now(UTC) - timedelta(hours=2)
    drafts = [
        DeviceDraft(
            device_id=f"van-{number:03d}",
            provider_id=DEPOT_PROVIDER,
            external_id=f"van-{number:03d}",
            vehicle_id=f"v-{number:03d}",
            vehicle_name=f"Van {number:03d}",
            activated_at=activated_at,
        )
        for number in range(count)
    ]
    await stores.registry.put_devices(DEPOT, drafts)
    return activated_at.isoformat().replace("+00:00", "Z")


async def test_the_example_lists_all_pages_and_sends(dsn: str, postgres_stores: Stores) -> None:
    key = await make_key(postgres_stores)
    since = await make_silent_fleet(postgres_stores, 120)  # a page has 100
    async with open_shard(dsn, key) as shard:
        await shard.wait_ready()
        address = f"http://127.0.0.1:{shard.port}"
        before = await run_example(address, key)
        sent = await run_example(address, key, DEPOT, DEPOT_PROVIDER, "van-007", "64.5")
        later = await run_example(address, key, DEPOT, DEPOT_PROVIDER, "van-999", "64.5")
        after = await run_example(address, key)
    assert (sent.code, sent.out, sent.errors) == (0, "", "")
    assert (later.code, "unknown_device" in later.errors) == (1, True)
    rows = list(csv.DictReader(before.out.splitlines()))
    assert [row["vehicle_name"] for row in rows] == [f"Van {number:03d}" for number in range(120)]
    ((state, reason, party, heard_at, configured_at),) = {tuple(row.values())[2:] for row in rows}
    assert (state, reason, party) == ("configured-no-data", "switched_off", "customer")
    assert (heard_at, configured_at) == ("", since)
    assert "Depot {'healthy': 0" in before.errors
    left = [row["vehicle_name"] for row in csv.DictReader(after.out.splitlines())]
    assert (len(left), "Van 007" in left) == (119, False)


async def test_the_example_says_why_it_was_refused(dsn: str, postgres_stores: Stores) -> None:
    key = await make_key(postgres_stores)
    async with open_shard(dsn, key) as shard:
        await shard.wait_ready()
        refused = await run_example(f"http://127.0.0.1:{shard.port}", f"{key[:-1]}x")
    assert refused.code == 1
    assert refused.errors.startswith("401: ")
    assert "The key is not known." in refused.errors


async def test_the_example_waits_as_long_as_it_is_told() -> None:
    asked: list[float] = []

    def answer(_asked: Asked) -> Reply:
        asked.append(trio.current_time())
        if len(asked) == 1:
            return Reply(503, b"{}", {"Retry-After": "2"})
        return Reply(200, b'{"items": [], "next_cursor": null}')

    async with http_server(answer) as address:
        ended = await run_example(address, "lh_a_b")
    assert (ended.code, len(asked)) == (0, 2), ended.errors
    assert asked[1] - asked[0] >= 2
