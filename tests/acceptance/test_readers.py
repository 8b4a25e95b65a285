"""All readers see the same through any shard, namely what the database has.

Acceptance 5, FR-008 and FR-013.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from runtime.instants import format_instant
from simulator.rfms import RfmsFleet
from tests.acceptance.fleets import polled, streamed
from tests.acceptance.harness import QUICK, eventually, open_harness
from tests.acceptance.shard import device, update

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.harness import Harness
    from tests.acceptance.shard import Shard

READERS = 4
WRITES = 25


async def test_acceptance_5_fr_008_d_003_sc_05_readers_of_two_shards_agree_on_versions(
    dsn: str, tmp_path: Path
) -> None:
    """Read lists and single snapshots at once: each version has one document and one time."""
    async with open_harness(dsn, tmp_path, shards=("shard-1", "shard-2")) as harness:
        await harness.shard.add_pushed_fleet("harbour", ["bus-1", "bus-2"])
        seen: list[tuple[Any, ...]] = []
        async with trio.open_nursery() as nursery:
            for number in range(READERS):
                nursery.start_soon(_keep_reading, harness.shards[number % 2], number, seen)
            await _write(harness)
            nursery.cancel_scope.cancel()
        final = [await _read(shard, number) for number, shard in enumerate(harness.shards * 3)]

    told = {(device_id, version) for device_id, version, *_ in seen}
    assert len(told) > WRITES / 4
    assert len(set(seen)) == len(told)
    assert {version for _, version, *_ in final[0]} == {WRITES}
    assert final == [final[0]] * len(final)


async def _write(harness: Harness) -> None:
    began_at = await harness.now() - timedelta(seconds=WRITES)
    for number in range(WRITES):
        instant = began_at + timedelta(seconds=number)
        sent = [
            update("harbour", bus, instant, soc_percent=number, speed_kmh=number)
            for bus in ("bus-1", "bus-2")
        ]
        assert await harness.shards[number % 2].outcomes(*sent) == ["accepted"] * 2


async def _keep_reading(shard: Shard, number: int, seen: list[tuple[Any, ...]]) -> None:
    while True:
        seen.extend(await _read(shard, number))


async def _read(shard: Shard, number: int) -> list[tuple[Any, ...]]:
    """Return (device, version, received, values) of each device.

    Odd numbers read the list, even numbers one snapshot after the other.
    """
    if number % 2:
        items = (await shard.get("/workspaces/harbour/snapshots"))["items"]
    else:
        items = [
            await shard.get(f"/workspaces/harbour/snapshots/{bus}") for bus in ("bus-1", "bus-2")
        ]
    return [
        (
            item["device_id"],
            item["version"],
            item["last_update_received_at"],
            tuple(
                sorted(
                    (name, entry["value"], entry["observed_at"])
                    for name, entry in item["values"].items()
                )
            ),
        )
        for item in items
    ]


async def test_nfr_002_fr_008_sc_05_every_page_is_current_within_one_refresh_cycle(
    dsn: str, tmp_path: Path
) -> None:
    """One interval after the vehicles fell silent, all pages show their last data.

    One fleet is polled, the other streamed.
    """
    fleets = [polled("west"), streamed("harbour")]
    async with open_harness(dsn, tmp_path, *fleets) as harness:
        for fleet in fleets:
            await harness.add_fleet(fleet, interval=2, thresholds=QUICK)
            await eventually(partial(_is_heard, harness, fleet.name), True)
        for fleet in fleets:
            silence = {vehicle.vehicle_id: {"never": True} for vehicle in fleet.vehicles}
            await harness.change_faults(fleet.name, reporting=silence)
        await trio.sleep(2.5)
        for fleet in fleets:
            await _check_last_data(harness, fleet.name)


async def _is_heard(harness: Harness, tenant: str) -> bool:
    return {state for state, _ in (await harness.shard.verdicts(tenant)).values()} == {"healthy"}


async def _check_last_data(harness: Harness, tenant: str) -> None:
    """Compare list, single snapshot, health and event history with the provider's own data."""
    shard = harness.shard
    report = {item["device_id"]: item for item in (await shard.health(tenant))["items"]}
    for snapshot in (await shard.get(f"/workspaces/{tenant}/snapshots"))["items"]:
        device_id = snapshot["device_id"]
        alone = await shard.get(f"/workspaces/{tenant}/snapshots/{device_id}")
        newest = (await shard.events(tenant, device_id))[-1]
        soc = snapshot["values"]["soc_percent"]
        assert (soc["value"], soc["observed_at"]) == _known_soc(harness, tenant, device_id)
        shown = alone["values"]["soc_percent"]
        assert (shown["value"], shown["observed_at"]) == (soc["value"], soc["observed_at"])
        times = {one["last_update_received_at"] for one in (snapshot, alone, report[device_id])}
        assert times == {newest["received_at"]}


def _known_soc(harness: Harness, tenant: str, vehicle_id: str) -> tuple[Any, str]:
    fleet = harness.simulator.provider_of(tenant).fleet
    if isinstance(fleet, RfmsFleet):
        status = fleet.log.latest[fleet.log.roster.vehicles[vehicle_id]]
        seconds = round(status.created, 3)
        return fleet.log.values(status)["hybridBatteryPackRemainingCharge"], format_instant(
            _utc(seconds)
        )
    (signal,) = (signal for signal in fleet.signals_of(vehicle_id) if signal.label == "soc")
    return signal.reading(signal.known_ms)["value"], format_instant(_utc(signal.known_ms / 1000))


def _utc(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=round(seconds * 1000))


async def test_fr_013_the_database_judges_commands_not_a_process(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path, shards=("shard-1", "shard-2")) as harness:
        one, other = harness.shards
        await one.add_pushed_fleet("harbour", ["bus-1"])
        # The other shard reads from the database what only the first one was told: the workspace,
        # the connection, and which device has an external id.
        await other.add_devices("harbour", "push", ["bus-2"])
        taken = device("push", "bus-3", external_id="bus-2")
        refused = await one.ask(
            "POST", "/workspaces/harbour/devices/import", json={"devices": [taken]}
        )
        assert (refused.status, refused.problem) == (409, "conflict")
        # A device that the other shard retires is unknown to the first one from the next update
        # on. Its external id may then be given to another device.
        assert await one.outcomes(
            update("harbour", "bus-2", await harness.now(), soc_percent=1)
        ) == ["accepted"]
        assert (await other.ask("DELETE", "/workspaces/harbour/devices/bus-2")).status == 200
        late = update("harbour", "bus-2", await harness.now(), soc_percent=2)
        assert await one.outcomes(late) == ["rejected:unknown_device"]
        assert (
            await one.ask("POST", "/workspaces/harbour/devices/import", json={"devices": [taken]})
        ).status == 200
        # A key that is revoked is refused at the next request, by every shard.
        await harness.execute("UPDATE keys SET revoked_at = clock_timestamp()")
        assert [(await shard.ask("GET", "/workspaces")).status for shard in harness.shards] == [
            401,
            401,
        ]


async def test_fr_013_a_restarted_shard_answers_as_the_one_before(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        await harness.shard.add_pushed_fleet("harbour", ["bus-1"])
        await harness.shard.ingest(update("harbour", "bus-1", await harness.now(), soc_percent=61))
        before = await _everything(harness.shard)
        await harness.close_shard()
        await harness.open_shard("shard-1")
        assert await _everything(harness.shard) == before


async def _everything(shard: Shard) -> list[Any]:
    paths = ("workspaces", "workspaces/harbour/providers", "workspaces/harbour/devices")
    lists = [await shard.get(f"/{path}") for path in paths]
    for each in lists:
        each.pop("evaluated_at", None)
    return [*lists, await shard.values("harbour", "bus-1"), await shard.events("harbour", "bus-1")]
