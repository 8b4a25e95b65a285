"""A trial over the API of a running service: it shows what comes, and leaves no trace of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from tests.acceptance.fleets import polled, streamed
from tests.acceptance.harness import open_harness, until
from tests.processes.child import run_lastheard

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.config import Tenant
    from tests.acceptance.harness import Harness

# What a running shard writes by itself.
OF_THE_SHARD = {"sessions", "heartbeats", "leases", "keys"}


async def rows(harness: Harness) -> dict[str, Any]:
    """Return a digest of each table."""
    tables = await harness.fetch(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind = 'r'"
    )
    digest = "SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) AS of FROM {} t"
    names = sorted({row["relname"] for row in tables} - OF_THE_SHARD)
    return {name: (await harness.fetch(digest.format(name)))[0]["of"] for name in names}


async def has_written(harness: Harness, tenant: Tenant) -> bool:
    """Return whether each truck has written a status; asked of the simulator itself."""
    async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
        answer = await client.get(
            f"{harness.simulator.http_url}/rfms/vehiclestatuses?latestOnly=true",
            headers={
                "Authorization": f"Bearer {tenant.credential}",
                "Accept": "application/json; rfms=vehiclestatuses.v4.0",
            },
        )
    text = answer.text
    return all(vehicle.vehicle_id in text for vehicle in tenant.vehicles)


async def configure(harness: Harness, tenant: Tenant, **changes: Any) -> str:
    """Configure the fleet's first vehicle in an inactive workspace; return the path of its trial.

    No cycle runs there and no stream is open, so only the trial calls the provider.
    """
    shard, name = harness.shard, tenant.name
    await shard.add_workspace(name, active=False)
    await shard.add_provider(name, "live", **harness.connection_of(tenant) | changes)
    await shard.add_devices(name, "live", [tenant.vehicles[0].vehicle_id])
    return f"/workspaces/{name}/providers/live/test"


async def test_trials_show_what_comes_and_store_nothing(dsn: str, tmp_path: Path) -> None:
    trucks, buses = polled("trucks"), streamed("buses")
    async with open_harness(dsn, tmp_path, trucks, buses) as harness:
        paths = [await configure(harness, tenant) for tenant in (trucks, buses)]
        await until(lambda: has_written(harness, trucks))
        before, calls_before = await rows(harness), sum(harness.requests("trucks").values())
        polled_answer, state_answer = [await harness.shard.post(path) for path in paths]
        stream = {"way": "stream", "seconds": 2}
        again = await harness.shard.ask("POST", paths[1], json=stream)
        assert await rows(harness) == before
        calls = sum(harness.requests("trucks").values()) - calls_before

    first = trucks.vehicles[0].vehicle_id
    assert polled_answer["outcome"] == "answered", polled_answer
    assert polled_answer["vehicle_count"] == 2
    assert polled_answer["vehicles"][0]["external_id"] == first
    assert polled_answer["vehicles"][0]["device_id"] == first
    assert polled_answer["unconfigured_count"] == 1
    assert "Not configured as devices: 1 of 2" in polled_answer["advice"][0]
    assert "The workspace is switched off" in polled_answer["advice"][1]
    assert calls == 1
    assert (state_answer["way"], state_answer["vehicle_count"]) == ("call", 1)
    signals = {reading["signal"] for reading in state_answer["vehicles"][0]["readings"]}
    assert "soc_percent" in signals
    assert (again.status, again.problem) == (429, "rate-limited")
    assert int(again.headers["retry-after"]) >= 1


async def test_first_mistakes_are_answered_with_what_to_do(dsn: str, tmp_path: Path) -> None:
    trucks, buses = polled("trucks"), streamed("buses")
    async with open_harness(dsn, tmp_path, trucks, buses) as harness:
        without_path = await configure(harness, trucks, base_url=harness.simulator.http_url)
        wrong_key = await configure(harness, buses)
        (tmp_path / "buses.secret").write_text("another")
        answers = [await harness.shard.post(path) for path in (without_path, wrong_key)]
        command = await run_lastheard(
            *("provider", "try", "buses", "missing"),
            environment={
                "LASTHEARD_ADDRESS": str(harness.shard.client.base_url),
                "LASTHEARD_KEY": "env:SECRET_OF_TEST",
                "SECRET_OF_TEST": harness.tokens["all"],
            },
        )
    assert [answer["outcome"] for answer in answers] == ["failed", "failed"]
    assert [answer["fault"]["fault"] for answer in answers] == ["configuration", "credentials"]
    assert "/rfms" in answers[0]["advice"][0]
    assert "the API key from the customer's portal" in answers[1]["advice"][0]
    assert command.exit_code == 69
    assert "There is no provider connection missing" in command.errors


async def test_a_stream_is_tried_from_the_command_line(dsn: str, tmp_path: Path) -> None:
    buses = streamed("buses")
    async with open_harness(dsn, tmp_path, buses) as harness:
        await configure(harness, buses)
        before = await rows(harness)
        command = await run_lastheard(
            *("provider", "try", "buses", "live", "--stream", "--seconds", "2"),
            environment={
                "LASTHEARD_ADDRESS": str(harness.shard.client.base_url),
                "LASTHEARD_KEY": "env:SECRET_OF_TEST",
                "SECRET_OF_TEST": harness.tokens["all"],
            },
        )
        assert await rows(harness) == before
    assert command.exit_code == 0, command.tail()
    assert "answered over its stream" in command.out
    assert "soc_percent" in command.out
