"""`/metrics` of real shards: their sums are the fleet, and an absent database stops none."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from domain.model import Policy, ProviderConnection
from domain.registry import DeviceDraft
from tests.processes.child import PATIENCE_SECONDS
from tests.processes.database_proxy import Condition, open_proxy
from tests.processes.fleets import make_key
from tests.processes.shard import open_shard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Stores
    from tests.processes.shard import Shard

WORKSPACES: Final = 12
DEVICES: Final = 3  # of each
TAKEN_SECONDS: Final = 60.0  # until both have a share: leases move slowly on purpose

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

Samples = dict[tuple[str, ...], float]


class Scraper:
    """A client of the probes of one shard, with a key."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def status(self, **headers: str) -> int:
        return (await self._client.get("/metrics", headers=headers)).status_code

    async def scrape(self) -> dict[str, Samples]:
        """Return the samples by name, and by the values of their labels."""
        answer = await self._client.get("/metrics")
        assert answer.status_code == 200, answer.text
        found: dict[str, Samples] = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                labels = tuple(value for _, value in sorted(sample.labels.items()))
                found.setdefault(sample.name, {})[labels] = sample.value
        return found

    async def wait_for(self, name: str, value: float) -> None:
        """Wait until the sample without labels has this value."""
        with trio.fail_after(PATIENCE_SECONDS):
            while (await self.scrape())[name] != {(): value}:  # noqa: ASYNC110
                await trio.sleep(0.2)


@asynccontextmanager
async def scraper_of(shard: Shard, key: str) -> AsyncIterator[Scraper]:
    port = (await shard.child.wait_for_record("service_started"))["probe_port"]
    headers = {"Authorization": f"Bearer {key}"}
    base = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(
        base_url=base, headers=headers, timeout=20.0, trust_env=False
    ) as client:
        yield Scraper(client)


async def make_workspaces(stores: Stores) -> None:
    """Make workspaces whose connection is switched off: nothing is heard of their devices."""
    for name in (f"depot-{number}" for number in range(WORKSPACES)):
        await stores.registry.put_workspace(
            name, name=name, active=True, poll_interval_seconds=3600, policy=Policy()
        )
        nowhere = ProviderConnection(
            name, "rfms", "rfms", "poll", "http://127.0.0.1:9", None, active=False
        )
        await stores.registry.put_provider(nowhere)
        drafts = [
            DeviceDraft(device, "rfms", device, device, device)
            for device in (f"van-{number}" for number in range(DEVICES))
        ]
        await stores.registry.put_devices(name, drafts)


def shown_by(scrape: dict[str, Samples]) -> set[str]:
    """Return the workspaces that have figures of devices."""
    return {workspace for _, workspace in scrape.get("lastheard_workspace_devices", {})}


async def test_the_sums_over_all_shards_are_the_fleet(dsn: str, postgres_stores: Stores) -> None:
    key = await make_key(postgres_stores)
    await make_workspaces(postgres_stores)
    async with (
        open_shard(dsn, key, shard_id="shard-1") as first,
        open_shard(dsn, key, shard_id="shard-2") as second,
        scraper_of(first, key) as one,
        scraper_of(second, key) as another,
    ):
        with trio.fail_after(TAKEN_SECONDS):
            while True:
                scrapes = [await one.scrape(), await another.scrape()]
                shown = [len(shown_by(scrape)) for scrape in scrapes]
                if all(shown) and sum(shown) == WORKSPACES:
                    break
                await trio.sleep(0.5)
    counted = [sum(scrape["lastheard_devices"].values()) for scrape in scrapes]
    assert counted == [DEVICES * workspaces for workspaces in shown]
    assert shown_by(scrapes[0]).isdisjoint(shown_by(scrapes[1]))
    assert len(shown_by(scrapes[0]) | shown_by(scrapes[1])) == WORKSPACES


async def test_metrics_are_there_while_the_database_is_away(
    dsn: str, postgres_stores: Stores
) -> None:
    key = await make_key(postgres_stores)
    async with (
        open_proxy(dsn) as proxy,
        open_shard(proxy.dsn, key) as shard,
        scraper_of(shard, key) as scraper,
    ):
        await scraper.wait_for("lastheard_database_up", 1)
        proxy.change(Condition.CUT)
        await scraper.wait_for("lastheard_database_up", 0)
        away = await scraper.scrape()
        assert "lastheard_devices" not in away
        assert away["lastheard_lane_limit_updates"][("poll",)] > 0
        assert away["lastheard_ready"][("session_live",)] in (0, 1)
        assert await scraper.status(Authorization=f"Bearer {key}x") == 503
        proxy.change(Condition.OPEN)
        await scraper.wait_for("lastheard_database_up", 1)
