"""Bad data in good requests, frames and pages: it is counted and kept, and the rest is accepted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.acceptance.fleets import bus, polled, streamed, vin
from tests.acceptance.harness import QUICK, eventually, open_harness
from tests.acceptance.shard import device, said, update

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.harness import Harness
    from tests.acceptance.shard import Shard

NOON = "2026-05-01T12:00:00Z"
ENVELOPE = {
    "workspaceId": "harbour",
    "providerType": "rfms",
    "providerId": "push",
    "receivedAt": NOON,
}


async def test_one_bad_item_costs_only_itself_and_is_kept_as_a_sample(
    dsn: str, tmp_path: Path
) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard, now = harness.shard, await harness.now()
        await shard.add_pushed_fleet("harbour", ["bus-1"])
        bad = [
            update("harbour", "bus-1", "yesterday", soc_percent=61),
            update("harbour", None, now, soc_percent=61),
            update("harbour", "bus-1", now, soc_percent=[61]),
            update("harbour", "bus-1", now),
            update("harbour", "bus-1", now, soc_percent=461),
            update("harbour", "bus-1", now, tyre_pressure_bar=8),
        ]
        results = await shard.outcomes(
            *bad, update("harbour", "bus-1", now, soc_percent=61, speed_kmh=-4)
        )
        ledger = await shard.rejections("harbour")
        values = await shard.values("harbour", "bus-1")

    assert results == ["rejected:invalid"] * len(bad) + ["accepted"]
    assert {name: value for name, (value, _) in values.items()} == {"soc_percent": 61}
    assert sum(row["occurrences"] for row in ledger) == len(bad) + 1  # and the speed of the last
    assert all(
        row["reason"] == "invalid" and row["detail"] and row["sample"]["text"] for row in ledger
    )


async def test_one_bad_reading_costs_only_itself(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard, now = harness.shard, await harness.now()
        bad = [{"value": None}, {"value": 1e30}, {"observed_at": NOON[:-1]}, {"value": -5}]
        buses = [f"bus-{number}" for number in range(len(bad))]
        await shard.add_pushed_fleet("harbour", buses)
        good = [update("harbour", name, now, soc_percent=50, odometer_km=9) for name in buses]
        for item, fault in zip(good, bad, strict=True):
            item["readings"][1] |= fault
        results = await shard.ingest(*good)
        values = [await shard.values("harbour", name) for name in buses]
        ledger = await shard.rejections("harbour")

    assert [said(result) for result in results] == ["accepted"] * len(bad)
    assert all(
        "/readings/1" in result["detail"] or "odometer_km" in result["detail"] for result in results
    )
    assert [list(value) for value in values] == [["soc_percent"]] * len(bad)
    assert sorted((row["device_id"], row["reason"], row["signal"]) for row in ledger) == [
        (bus, "invalid", "odometer_km") for bus in buses
    ]


async def test_malformed_data_is_held_against_its_own_device_only(dsn: str, tmp_path: Path) -> None:
    state = (
        "SELECT last_rejection_reason, last_rejected_at, last_update_received_at FROM device_state"
    )
    async with open_harness(dsn, tmp_path) as harness:
        shard, now = harness.shard, await harness.now()
        await shard.add_pushed_fleet("harbour", ["bus-1"])
        bad, good = [update("harbour", "bus-1", at, soc_percent=61) for at in ("yesterday", now)]
        await shard.ingest(bad)
        (before,) = await harness.fetch(state)
        await shard.ingest(bad, good)
        (after,) = await harness.fetch(state)
        await shard.ingest(good, bad)
        (last,) = await harness.fetch(state)
        ledger = await shard.rejections("harbour")

    assert (before["last_rejection_reason"], before["last_update_received_at"]) == ("invalid", None)
    # Of one request, the last item about a device decides.
    assert after["last_rejected_at"] == before["last_rejected_at"]
    assert last["last_rejected_at"] > after["last_update_received_at"]
    assert [row["device_id"] for row in ledger] == ["bus-1"]


async def test_an_external_id_with_a_no_break_space_is_found(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard, now = harness.shard, await harness.now()
        await shard.add_pushed_fleet("harbour", [])
        named = device("push", "bus-7", external_id="bus\u00a07")
        await shard.post("/workspaces/harbour/devices/import", {"devices": [named]})
        sent = update("harbour", None, now, external_id="bus\u00a07", soc_percent=61)
        assert await shard.outcomes(sent) == ["accepted"]


async def test_malformed_frames_are_counted_and_the_connection_lives(
    dsn: str, tmp_path: Path
) -> None:
    harbour = streamed(
        "harbour", rate=20.0, faults="malformed=0.2,non_object=0.1,duplicates=0.1,out_of_order=0.05"
    )
    async with open_harness(dsn, tmp_path, harbour) as harness:
        await harness.add_fleet(harbour, thresholds=QUICK)
        await eventually(lambda: _malformed_so_far(harness), True)
        ledger = await harness.shard.rejections("harbour")
        verdicts = await harness.shard.verdicts("harbour")
        frames = harness.shard.service.shard.frames_of("harbour")
        open_streams = [entry for entry in harness.simulator.connections if entry.closed_at is None]

    assert frames["received"] == sum(
        frames[part] for part in ("merged", "ignored", "malformed", "pending")
    )
    assert frames["merged"] > frames["malformed"]
    bad = [row for row in ledger if row["reason"] == "malformed"]
    assert 0 < sum(row["occurrences"] for row in bad) <= frames["malformed"]
    # A frame that was cut names its vehicle if its vid came first.
    assert {row["external_id"] for row in bad} & {bus(0), bus(1)}
    assert all(row["sample"]["base64"] and row["origin"] == "stream" for row in bad)
    assert verdicts == dict.fromkeys((bus(0), bus(1)), ("healthy", "reporting"))
    assert len(harness.simulator.connections) == len(open_streams) == 1


async def _malformed_so_far(harness: Harness) -> bool:
    return bool(harness.shard.service.shard.frames_of("harbour")["malformed"] >= 20)


async def test_a_malformed_page_fails_its_cycle_and_the_next_makes_up(
    dsn: str, tmp_path: Path
) -> None:
    west = polled("west", faults="malformed=1")
    async with open_harness(dsn, tmp_path, west) as harness:
        await harness.add_fleet(west, interval=2, thresholds=QUICK)
        await eventually(lambda: _newest_outcome(harness.shard), "failed")
        (cycle,) = (cycle for cycle in (await harness.shard.cycles("west"))[:1])
        assert cycle["summary"]["connections"]["rfms"].startswith("protocol: ")
        assert cycle["summary"]["malformed"] == 1
        kept = (await harness.shard.rejections("west"))[0]
        assert kept["detail"].startswith("malformed answer: ")
        assert "(answered 200: " in kept["detail"]
        assert kept["sample"] is None  # facts of the answer, and never its body
        await harness.change_faults("west")
        await eventually(lambda: _newest_outcome(harness.shard), "completed")
        assert (await harness.shard.verdicts("west"))[vin(0)] == ("healthy", "reporting")


async def test_a_bad_record_is_sampled_and_its_neighbours_get_in(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard, now = harness.shard, await harness.now()
        forwarded = {"provider_type": "rfms", "transport": "push", "base_url": "", "active": True}
        await shard.add_pushed_fleet("harbour", ["bus-1"], connection=forwarded)
        good = {
            "vin": "bus-1",
            "createdDateTime": now.isoformat(),
            "snapshotData": {"wheelBasedSpeed": 20},
        }
        page = {
            "vehicleStatusResponse": {
                "vehicleStatuses": [{"vin": 7}, good, "rubbish"],
                "more": 2**70,
            }
        }
        # The harness writes JSON with orjson, which refuses numbers of more than 64 bits.
        body = json.dumps(ENVELOPE | {"rawMessage": page}).encode()
        as_json = {"content-type": "application/json"}
        answer = (await shard.ask("POST", "/provider-ingest", content=body, headers=as_json)).json
        ledger = await shard.rejections("harbour")

    assert sorted(map(said, answer["results"])) == [
        "accepted",
        "rejected:malformed",
        "rejected:malformed",
    ]
    assert answer["records"] == 3
    assert sum(row["occurrences"] for row in ledger) == 2
    assert {row["sample"]["text"] for row in ledger} == {'{"vin":7}', '"rubbish"'}


async def test_unknown_devices_are_refused_while_the_others_go_on(dsn: str, tmp_path: Path) -> None:
    west = polled("west", 4, every=0.5)
    async with open_harness(dsn, tmp_path, west) as harness:
        shard = harness.shard
        await harness.add_fleet(west, interval=2, only=[vin(0)])
        await eventually(
            lambda: _strangers(shard), {vin(number): "unknown_device" for number in (1, 2, 3)}
        )
        assert await shard.verdicts("west") == {vin(0): ("healthy", "reporting")}


async def _strangers(shard: Shard) -> dict[str, str]:
    return {row["external_id"]: row["reason"] for row in await shard.rejections("west")}


async def _newest_outcome(shard: Shard) -> str:
    ended = [cycle["outcome"] for cycle in await shard.cycles("west") if cycle["ended_at"]]
    return ended[0] if ended else "none"
