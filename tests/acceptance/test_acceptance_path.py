"""One path in for everything, whole or not at all, and unknown devices are refused.

Acceptance 2, 3 and 4, FR-004 and FR-011.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import orjson
import trio

from simulator.reporting import Reporting
from tests.acceptance.fleets import polled, streamed, vin
from tests.acceptance.harness import eventually, open_harness
from tests.acceptance.shard import device, said, update

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from simulator.config import Tenant
    from tests.acceptance.conftest import Logbook
    from tests.acceptance.harness import Harness
    from tests.acceptance.shard import Shard

# xmin is the transaction that wrote a row version.
SAME_TRANSACTION = """
SELECT s.version, e.sequence, s.xmin = e.xmin AND n.xmin = e.xmin AS together
FROM device_state s
JOIN snapshots n USING (workspace_id, device_id)
JOIN events e USING (workspace_id, device_id)
WHERE e.sequence = s.version
"""
REFUSE_EVENTS = """
CREATE FUNCTION refuse_event() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'no event today'; END $$;
CREATE TRIGGER refuse_events BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse_event();
"""


async def test_acceptance_2_sc_02_one_transaction_writes_snapshot_and_event(
    dsn: str, tmp_path: Path
) -> None:
    buses = ["bus-1", "bus-2", "bus-3"]
    async with open_harness(dsn, tmp_path) as harness:
        await harness.shard.add_pushed_fleet("harbour", buses)
        now = await harness.now()
        sent = [
            update("harbour", bus, now, soc_percent=40 + number) for number, bus in enumerate(buses)
        ]
        assert await harness.shard.outcomes(*sent) == ["accepted"] * 3
        rows = await harness.fetch(SAME_TRANSACTION)
        snapshots = (await harness.shard.get("/workspaces/harbour/snapshots"))["items"]
        histories = [await harness.shard.events("harbour", bus) for bus in buses]

    assert [len(history) for history in histories] == [1] * 3
    for snapshot, (event,) in zip(snapshots, histories, strict=True):
        assert snapshot["last_update_received_at"] == event["received_at"]
        soc, stored = snapshot["values"]["soc_percent"], event["readings"]["soc_percent"]
        assert [soc[name] for name in stored] == list(stored.values())
    assert [snapshot["values"]["soc_percent"]["value"] for snapshot in snapshots] == [40, 41, 42]
    assert rows == [{"version": 1, "sequence": 1, "together": True}] * 3


async def test_acceptance_2_sc_02_a_snapshot_never_moves_without_its_event(
    dsn: str, tmp_path: Path
) -> None:
    """While events cannot be written, the update waits. Then it is accepted once, and answered."""
    async with open_harness(dsn, tmp_path) as harness:
        await harness.shard.add_pushed_fleet("harbour", ["bus-1"])
        sent = update("harbour", "bus-1", await harness.now(), soc_percent=61)
        await harness.execute(REFUSE_EVENTS)
        answered: list[str] = []

        async def send() -> None:
            answered.extend(await harness.shard.outcomes(sent))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await eventually(lambda: _commits(harness.shard), False)
            assert await harness.shard.values("harbour", "bus-1") == {}
            assert answered == []
            await harness.execute("DROP TRIGGER refuse_events ON events")

        assert answered == ["accepted"]
        assert [event["sequence"] for event in await harness.shard.events("harbour", "bus-1")] == [
            1
        ]
        assert (await harness.shard.values("harbour", "bus-1"))["soc_percent"][0] == 61


async def _commits(shard: Shard) -> bool:
    """Whether readiness says that ingest commits."""
    checks: dict[str, bool] = (await shard.ask("GET", "/readyz", key=None)).json["checks"]
    return checks["ingest_commits"]


async def test_acceptance_3_fr_011_d_011_sc_03_a_record_is_accepted_alike_on_every_path(
    dsn: str, tmp_path: Path
) -> None:
    one_record = Reporting(silent_after_seconds=0.9)
    west = polled("west", 1, manners=[one_record])
    async with open_harness(dsn, tmp_path, west) as harness:
        await harness.add_fleet(west)
        await harness.shard.post("/workspaces/west/cycles", {"when": "now"})
        await eventually(lambda: _version(harness.shard, "west", vin(0)), 1)
        record = await _latest_statuses(harness, west)
        await _check_other_paths(harness, vin(0), west, [record])


async def test_acceptance_3_fr_011_sc_03_a_frame_is_accepted_alike_on_every_path(
    dsn: str, tmp_path: Path
) -> None:
    harbour = streamed("harbour", 1)
    vehicle = harbour.vehicles[0].vehicle_id
    async with open_harness(dsn, tmp_path, harbour) as harness:
        await harness.add_fleet(harbour)
        await eventually(
            lambda: _labels_sent(harness, "harbour", vehicle), set(harbour.vehicles[0].labels)
        )
        await harness.change_faults("harbour", reporting={vehicle: {"never": True}})
        frames = await _stored_frames(harness, "harbour", vehicle)
        await _check_other_paths(harness, vehicle, harbour, frames)


async def _check_other_paths(
    harness: Harness, device_id: str, tenant: Tenant, messages: list[Any]
) -> None:
    """Send the device's collected data again as envelopes and as updates, to two other workspaces.

    All three workspaces must then have the same values and the same history.
    """
    shard, kind = harness.shard, str(tenant.vendor)
    transport = harness.connection_of(tenant)["transport"]
    for twin in ("by-envelope", "by-update"):
        await shard.add_pushed_fleet(
            twin, [device_id], connection={"provider_type": kind, "transport": transport}
        )
    for message in messages:
        answer = await shard.post(
            "/provider-ingest", await _envelope(harness, "by-envelope", kind, message)
        )
        assert {result["outcome"] for result in answer["results"]} == {"accepted"}
    for event in await shard.events(tenant.name, device_id):
        readings = [{"signal": signal, **reading} for signal, reading in event["readings"].items()]
        sent = update("by-update", None, None, external_id=device_id) | {"readings": readings}
        assert await shard.outcomes(sent) == ["accepted"]

    collected = await shard.values(tenant.name, device_id)
    assert collected
    assert await shard.values("by-envelope", device_id) == collected
    assert await shard.values("by-update", device_id) == collected
    histories = [
        await shard.events(name, device_id) for name in (tenant.name, "by-envelope", "by-update")
    ]
    assert [_newest_readings(history) for history in histories] == [collected] * 3
    assert len({frozenset(event) for history in histories for event in history}) == 1


def _newest_readings(history: list[Any]) -> dict[str, tuple[Any, str]]:
    """Return the newest reading of each signal in an event history."""
    return {
        signal: (reading["value"], reading["observed_at"])
        for event in history
        for signal, reading in event["readings"].items()
    }


async def test_acceptance_3_and_4_fr_011_d_011_sc_03_every_path_refuses_an_unknown_id_visibly(
    dsn: str, tmp_path: Path
) -> None:
    west = polled("west", 1)
    async with open_harness(dsn, tmp_path, west) as harness:
        shard = harness.shard
        await shard.add_workspace("west")
        await shard.add_provider("west", "push", **harness.connection_of(west))
        await shard.post("/workspaces/west/cycles", {"when": "now"})
        await eventually(lambda: _ledger(shard), [("poll", "rejected", "unknown_device")])
        record = await _latest_statuses(harness, west)
        answer = await shard.post(
            "/provider-ingest", await _envelope(harness, "west", "rfms", record)
        )
        by_update = await shard.outcomes(
            update("west", None, await harness.now(), external_id=vin(0), soc_percent=1)
        )

        assert (
            [said(result) for result in answer["results"]]
            == by_update
            == ["rejected:unknown_device"]
        )
        origins = ("envelope", "http", "poll")
        assert await _ledger(shard) == [
            (origin, "rejected", "unknown_device") for origin in origins
        ]


async def _ledger(shard: Shard) -> list[tuple[str, str, str]]:
    """Return origin, outcome and reason of each refusal, once each.

    Pages overlap, so the same record may be refused again and again.
    """
    return sorted(
        {(row["origin"], row["outcome"], row["reason"]) for row in await shard.rejections("west")}
    )


async def test_acceptance_4_sc_04_bad_identity_is_refused_and_moves_nothing(
    dsn: str, tmp_path: Path, logbook: Logbook
) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard = harness.shard
        await _configure_identities(shard)
        now = await harness.now()
        assert await shard.outcomes(update("harbour", "bus-1", now, soc_percent=61)) == ["accepted"]
        before = await harness.fetch("SELECT * FROM snapshots ORDER BY workspace_id, device_id")

        claims = _claims(now)
        results = await shard.outcomes(*(claim for claim, _ in claims))
        ledger = await shard.rejections("harbour")
        after = await harness.fetch("SELECT * FROM snapshots ORDER BY workspace_id, device_id")

    assert results == [f"rejected:{reason}" for _, reason in claims]
    assert after == before
    refused = [
        (row["device_id"], row["external_id"], row["provider_id"], row["reason"]) for row in ledger
    ]
    expected = [
        (c["device_id"], c.get("external_id"), c["provider_id"], reason) for c, reason in claims
    ]
    assert sorted(refused, key=str) == sorted(expected, key=str)
    assert all('"soc_percent"' in row["sample"]["text"] for row in ledger)
    (line,) = logbook.lines(event="telematics_update_rejected")
    assert line["reasons"] == {"unknown_device": 5, "identity_conflict": 4}


async def _configure_identities(shard: Shard) -> None:
    """Configure three buses of `push`, one of them retired, one of `other`, and a foreign one."""
    await shard.add_pushed_fleet("harbour", ["bus-1", "bus-2", "bus-3"])
    await shard.add_pushed_fleet("oldtown", ["bus-8"])
    stored = await shard.get("/workspaces/harbour/providers/push")
    fields = {name: stored[name] for name in ("provider_type", "transport", "base_url", "active")}
    await shard.add_provider("harbour", "other", **fields)
    await shard.post("/workspaces/harbour/devices/import", {"devices": [device("other", "bus-9")]})
    assert (await shard.ask("DELETE", "/workspaces/harbour/devices/bus-3")).status == 200


def _claims(now: datetime) -> list[tuple[dict[str, Any], str]]:
    """Return updates with an unknown or contradictory identity, and the reason for each refusal."""

    def claim(device_id: str | None, **identity: Any) -> dict[str, Any]:
        return update("harbour", device_id, now, soc_percent=1, **identity)

    return [
        (claim("bus-7"), "unknown_device"),
        (claim(None, external_id="bus-7"), "unknown_device"),
        (claim("bus-3"), "unknown_device"),  # retired
        (claim("bus-8"), "unknown_device"),  # in another workspace
        (claim(None, external_id="bus-9"), "unknown_device"),  # of another connection
        (claim("bus-9"), "identity_conflict"),
        (claim("bus-1", external_id="bus-2"), "identity_conflict"),
        (claim("bus-1", vehicle_id="vehicle-bus-2"), "identity_conflict"),
        (claim("bus-1", provider_id="nobody"), "identity_conflict"),
    ]


# --- provider messages


async def _latest_statuses(harness: Harness, tenant: Tenant) -> Any:
    """Fetch a page of rFMS directly from the simulator."""
    headers = {
        "authorization": f"Bearer {tenant.credential}",
        "accept": "application/json; rfms=vehiclestatuses.v4.0",
    }
    async with httpx.AsyncClient(base_url=harness.simulator.http_url, trust_env=False) as client:
        answer = await client.get(
            "/rfms/vehiclestatuses", params={"latestOnly": "true"}, headers=headers
        )
    assert answer.status_code == 200
    return orjson.loads(answer.content)


async def _stored_frames(harness: Harness, tenant: str, vehicle: str) -> list[Any]:
    """Wait until the newest reading is stored. Returns a frame for each of the vehicle's labels."""

    async def is_stored() -> bool:
        newest_ms = max(
            reading["time"]
            for reading in harness.simulator.provider_of(tenant).last()[vehicle].values()
        )
        (row,) = await harness.fetch(
            "SELECT last_observed_at FROM device_state WHERE workspace_id = $1", tenant
        )
        stored = row["last_observed_at"]  # None before the first unit
        return stored is not None and bool(round(stored.timestamp() * 1000) == newest_ms)

    await eventually(is_stored, True)
    last = harness.simulator.provider_of(tenant).last()[vehicle]
    return [
        {"type": "vehicles", "payload": {"vid": vehicle, "label": label, **reading}}
        for label, reading in last.items()
    ]


async def _envelope(
    harness: Harness, workspace_id: str, provider_type: str, message: Any
) -> dict[str, Any]:
    return {
        "workspaceId": workspace_id,
        "providerType": provider_type,
        "providerId": "push",
        "receivedAt": await harness.now(),
        "rawMessage": message,
    }


async def _version(shard: Shard, workspace_id: str, device_id: str) -> int:
    version: int = (await shard.get(f"/workspaces/{workspace_id}/snapshots/{device_id}"))["version"]
    return version


async def _labels_sent(harness: Harness, tenant: str, vehicle: str) -> set[str]:
    """Return the labels that were sent over the stream; the state endpoint does not count."""
    return set(harness.simulator.provider_of(tenant).last().get(vehicle, ()))
