"""The reading commands against a real shard: what they print for people and for programs."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from domain.model import Policy, ProviderConnection
from domain.registry import DeviceDraft
from tests.processes.child import run_lastheard
from tests.processes.fleets import make_key
from tests.processes.shard import SHARD_ID, open_shard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.conftest import Stores

    Command = Callable[..., Any]

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

NAMES = {"van-1": "Bus 7 [depot] :house:", "van-2": "=Bus [/b]", "van-3": "Bus 9"}


@pytest.fixture
async def command(dsn: str, postgres_stores: Stores) -> AsyncIterator[Command]:
    """Runs a command to its good end against a shard with one workspace; what it printed."""
    await _configure(postgres_stores)
    key = await make_key(postgres_stores)
    async with open_shard(dsn, key) as shard:
        await shard.wait_ready()
        environment = {
            "LASTHEARD_ADDRESS": f"http://127.0.0.1:{shard.port}",
            "LASTHEARD_KEY": "env:SECRET_OF_TEST",
            "SECRET_OF_TEST": key,
            "HTTP_PROXY": "http://127.0.0.1:9",  # nobody listens there, and nobody may ask there
        }

        async def run(*words: str) -> str:
            child = await run_lastheard(*words, environment=environment)
            assert child.exit_code == 0, child.tail()
            return child.out

        yield run


async def _configure(stores: Stores) -> None:
    policy = Policy(grace_seconds=0.001)
    await stores.registry.put_workspace(
        "depot", name="Depot", active=True, poll_interval_seconds=3600, policy=policy
    )
    connection = ProviderConnection(
        "depot", "telemetry", "rfms", "poll", "http://127.0.0.1:9", None, active=False
    )
    await stores.registry.put_provider(connection)
    drafts = [
        DeviceDraft(
            device_id=device,
            provider_id="telemetry",
            external_id=device,
            vehicle_id=f"v-{device}",
            vehicle_name=name,
        )
        for device, name in NAMES.items()
    ]
    await stores.registry.put_devices("depot", drafts)


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_health_is_a_table_lines_of_json_or_csv(command: Command) -> None:
    table = await command("health", "depot")
    pages = [
        orjson.loads(line) for line in (await command("health", "depot", "--json")).splitlines()
    ]
    rows = _rows(await command("health", "depot", "--csv", "--state", "configured-no-data"))
    assert "Health of depot: 3 devices" in table
    assert "Switched off: connection telemetry. Nothing is collected over it.\n" in table
    assert [name for name in NAMES.values() if name not in table] == []
    assert [item["vehicle_name"] for page in pages for item in page["items"]] == list(
        NAMES.values()
    )
    assert [row["vehicle_name"] for row in rows] == [NAMES["van-1"], "'=Bus [/b]", NAMES["van-3"]]
    assert {(row["state"], row["freshness_age_seconds"]) for row in rows} == {
        ("configured-no-data", "")
    }


async def test_the_worklist_is_a_table_lines_of_json_or_csv(command: Command) -> None:
    table = await command("worklist")
    pages = [orjson.loads(line) for line in (await command("worklist", "--json")).splitlines()]
    rows = _rows(await command("worklist", "--csv"))
    assert "Worklist: 3 devices" in table
    assert [item["device_id"] for page in pages for item in page["items"]] == list(NAMES)
    assert [(row["workspace_name"], row["device_id"]) for row in rows] == [
        ("Depot", name) for name in NAMES
    ]


async def test_runtime_is_tables_or_json(command: Command) -> None:
    tables = await command("runtime")
    report = orjson.loads(await command("runtime", "--json"))
    for part in ("shards", f"leases of {SHARD_ID}", "actors: ", "mailbox lanes", "PostgreSQL "):
        assert part in tables
    assert [shard["shard_id"] for shard in report["shards"]] == [SHARD_ID]
