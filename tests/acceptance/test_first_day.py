"""Mistakes of a first day, made over the real doors: each is answered with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.acceptance.fleets import polled
from tests.acceptance.harness import open_harness, until

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.config import Tenant
    from tests.acceptance.harness import Harness

STRANGER = "WDB00000000000001"


async def configure(harness: Harness, tenant: Tenant, *devices: str, **changes: Any) -> None:
    """Configure the fleet as a workspace, with changes to its connection and more devices."""
    await harness.add_fleet(tenant, interval=2, connection=changes)
    await harness.shard.add_devices(tenant.name, tenant.vendor, devices)


async def wait_for_reason(harness: Harness, workspace_id: str, reason: str) -> dict[str, Any]:
    """Wait until a device has this reason, and return its cause of that name."""
    found: list[dict[str, Any]] = []

    async def is_told() -> bool:
        found[:] = [
            each
            for item in (await harness.shard.health(workspace_id))["items"]
            for each in item["evidence"]["causes"]
            if item["reason"] == each["reason"] == reason
        ]
        return bool(found)

    await until(is_told)
    return found[0]


async def test_a_base_url_without_its_path_says_to_check_the_path(dsn: str, tmp_path: Path) -> None:
    trucks = polled("trucks")
    async with open_harness(dsn, tmp_path, trucks) as harness:
        await configure(harness, trucks, base_url=harness.simulator.http_url)
        told = await wait_for_reason(harness, "trucks", "misconfigured")
        tried = await harness.shard.post("/workspaces/trucks/providers/rfms/test")
        types = await harness.shard.get("/provider-types")
    assert "answered 404" in told["detail"]
    assert "check the path of base_url; GET /provider-types has its form" in told["detail"]
    (rfms,) = [each for each in types["items"] if each["provider_type"] == "rfms"]
    assert "/rfms" in rfms["base_url"]
    assert any("Check the path of base_url" in each and "/rfms" in each for each in tried["advice"])


async def test_a_device_unknown_to_the_vendor_says_what_to_correct(
    dsn: str, tmp_path: Path
) -> None:
    trucks = polled("trucks")
    async with open_harness(dsn, tmp_path, trucks) as harness:
        await configure(harness, trucks, STRANGER)
        told = await wait_for_reason(harness, "trucks", "unknown_to_provider")
        tried = await harness.shard.post("/workspaces/trucks/providers/rfms/test")
    assert (told["party"], STRANGER in told["detail"]) == ("customer", True)
    assert "correct the external_id" in told["detail"]
    assert STRANGER in tried["left_out"]  # beside trucks that have not sent a first status yet


async def test_an_unknown_provider_type_gets_the_known_ones(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        await harness.shard.add_workspace("trucks")
        body = {"provider_type": "rfsm", "transport": "poll", "base_url": "https://maker.example"}
        answer = await harness.shard.ask("PUT", "/workspaces/trucks/providers/live", json=body)
        types = await harness.shard.get("/provider-types")
    known = ", ".join(each["provider_type"] for each in types["items"])
    (fault,) = answer.json["errors"]
    assert (answer.status, fault["pointer"]) == (422, "/provider_type")
    assert fault["detail"] == f"It must be one of {known}."
