"""Acceptance 10 and NFR-003: the log tells of each cycle, update and envelope up to its outcome."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import trio

from simulator.rfms import RfmsFleet
from tests.acceptance.fleets import polled, streamed, vin
from tests.acceptance.harness import QUICK, eventually, open_harness, until
from tests.acceptance.shard import update

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Logbook
    from tests.acceptance.harness import Harness
    from tests.acceptance.shard import Shard

GOOD_CYCLE = [
    "workspace_poll_cycle_triggered",
    "telematics_provider_message_received",
    "telematics_ingress_payload_prepared",
    "telematics_update_accepted",
    "workspace_poll_ingest_completed",
]
FIELDS = {
    "workspace_poll_cycle_triggered": {
        "workspace_id",
        "cycle_id",
        "slot_at",
        "attempt",
        "cycle_started_at",
    },
    "telematics_provider_message_received": {
        "workspace_id",
        "provider_type",
        "provider_id",
        "received_at",
        "frames",
    },
    "telematics_ingress_payload_prepared": {"workspace_id", "payload_prepared_at"},
    "telematics_update_accepted": {"workspace_id", "updates"},
    "workspace_poll_ingest_completed": {
        "workspace_id",
        "cycle_id",
        "cycle_ended_at",
        "outcome",
        "result_summary",
    },
}


async def test_acceptance_10_one_trace_id_follows_a_whole_cycle(
    dsn: str, tmp_path: Path, logbook: Logbook
) -> None:
    west = polled("west", 3, every=0.3)
    async with open_harness(dsn, tmp_path, west) as harness:
        await harness.add_fleet(west, interval=2, thresholds=QUICK)
        await eventually(lambda: _has_ended(harness.shard, 2, "completed"), True)
        cycles = [
            cycle for cycle in await harness.shard.cycles("west") if cycle["outcome"] == "completed"
        ]
        by_id = await harness.shard.get(f"/workspaces/west/cycles/{cycles[0]['cycle_id']}")
        traces = {
            event["trace_id"]
            for number in range(3)
            for event in await harness.shard.events("west", vin(number))
        }

    records = by_id.pop("records")
    assert by_id == cycles[0]
    assert {record["trace_id"] for record in records} == {by_id["trace_id"]}
    with_news = [cycle for cycle in cycles if "accepted" in cycle["summary"]["outcomes"]]
    assert with_news
    assert {cycle["trace_id"] for cycle in with_news} <= traces
    for cycle in with_news:
        _check_story(cycle, _story(logbook, cycle["trace_id"]))


def _check_story(cycle: dict[str, Any], told: list[dict[str, Any]]) -> None:
    """Check that the five records are there in order.

    Pages overlap, so records of refused duplicates may stand between them.
    """
    refused = [line for line in told if line["event"] == "telematics_update_rejected"]
    assert all(line["reasons"].keys() <= {"duplicate", "stale"} for line in refused)
    lines = [line for line in told if line not in refused]
    assert [line["event"] for line in lines] == GOOD_CYCLE
    assert all(FIELDS[line["event"]] <= line.keys() for line in lines)
    assert {line["cycle_id"] for line in lines if "cycle_id" in line} == {cycle["cycle_id"]}
    begun, ended = lines[0], lines[-1]
    assert begun["slot_at"][:19] == cycle["slot_start_at"][:19]
    assert (ended["outcome"], ended["result_summary"]) == (cycle["outcome"], cycle["summary"])
    assert datetime.fromisoformat(begun["cycle_started_at"]) <= datetime.fromisoformat(
        ended["cycle_ended_at"]
    )


async def test_acceptance_10_a_cycle_that_fails_tells_its_end_as_well(
    dsn: str, tmp_path: Path, logbook: Logbook
) -> None:
    west = polled("west", faults="http_401=1")
    async with open_harness(dsn, tmp_path, west) as harness:
        await harness.add_fleet(west, interval=2, thresholds=QUICK)
        await eventually(lambda: _has_ended(harness.shard, 1, "failed"), True)
        cycle = next(
            cycle for cycle in await harness.shard.cycles("west") if cycle["outcome"] == "failed"
        )

    begun, ended = _story(logbook, cycle["trace_id"])
    assert (begun["event"], ended["event"]) == (GOOD_CYCLE[0], GOOD_CYCLE[-1])
    assert ended["outcome"] == "failed"
    assert ended["result_summary"]["connections"]["rfms"].startswith("credentials: ")
    assert west.credential not in str(logbook.lines())


async def test_acceptance_10_a_requested_run_has_the_requests_trace_id(
    dsn: str, tmp_path: Path, logbook: Logbook
) -> None:
    west = polled("west", every=0.3)
    async with open_harness(dsn, tmp_path, west) as harness:
        await harness.add_fleet(west)
        # The schedule serves the present slot first. Only records written after that are new for
        # the requested run.
        await until(lambda: _has_served_a_slot(harness.shard))
        await _wait_for_reports(harness, since=time.time())
        asked = await harness.shard.post(
            "/workspaces/west/cycles", {"when": "now"}, headers={"x-request-id": "please-run"}
        )
        path = f"/workspaces/west/cycles/{asked['cycle_id']}"
        await eventually(lambda: _outcome(harness.shard, path), "completed")
        cycle = await harness.shard.get(path)

    assert (cycle["trigger"], cycle["trace_id"]) == ("manual", "please-run")
    _check_story(cycle, _story(logbook, "please-run"))


async def test_nfr_003_envelopes_and_updates_keep_their_trace_id(
    dsn: str, tmp_path: Path, logbook: Logbook
) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard, now = harness.shard, await harness.now()
        await shard.add_pushed_fleet(
            "harbour", ["bus-1"], connection={"provider_type": "viriciti", "transport": "stream"}
        )
        point = {"vid": "bus-1", "label": "soc", "time": int(now.timestamp() * 1000), "value": 61}
        envelope = {
            "workspaceId": "harbour",
            "providerType": "viriciti",
            "providerId": "push",
            "receivedAt": now,
            "rawMessage": {"type": "vehicles", "payload": point},
        }
        await shard.post("/provider-ingest", envelope, headers={"x-request-id": "an-envelope"})
        good = update("harbour", "bus-1", now, odometer_km=1000)
        bad = update("harbour", "bus-2", now, odometer_km=1000)
        await shard.ingest(good, bad, headers={"x-request-id": "an-update"})
        traces = [event["trace_id"] for event in await shard.events("harbour", "bus-1")]
        (refused,) = await shard.rejections("harbour")

    assert traces == ["an-envelope", "an-update"]
    assert refused["trace_id"] == "an-update"
    assert [line["event"] for line in _story(logbook, "an-envelope")] == GOOD_CYCLE[1:4]
    told = _story(logbook, "an-update")
    assert [line["event"] for line in told] == [
        "telematics_update_accepted",
        "telematics_update_rejected",
    ]
    assert told[1]["reasons"] == {"unknown_device": 1}


async def test_nfr_003_stream_data_is_logged_from_frames_to_commit(
    dsn: str, tmp_path: Path, logbook: Logbook
) -> None:
    harbour = streamed("harbour", 1)
    vehicle = harbour.vehicles[0].vehicle_id
    async with open_harness(dsn, tmp_path, harbour) as harness:
        await harness.add_fleet(harbour)
        await eventually(lambda: _is_told(harness.shard, vehicle), True)
        events = await harness.shard.events("harbour", vehicle)

    streamed_traces = {
        line["trace_id"]
        for line in logbook.lines(event="telematics_update_accepted", origin="stream")
    }
    # The other events came with a cycle, which fetches what a stream may have missed.
    stories = [
        [line["event"] for line in _story(logbook, event["trace_id"])]
        for event in events
        if event["trace_id"] in streamed_traces
    ]
    assert stories == [GOOD_CYCLE[1:4]] * len(stories)
    assert len(stories) >= 3
    lines = logbook.lines(event="telematics_provider_message_received", workspace_id="harbour")
    # There is one record for each submission, and not one for each frame.
    assert len({line["trace_id"] for line in lines}) == len(lines)
    assert sum(line["frames"] for line in lines) > 2 * len(lines)


def _story(logbook: Logbook, trace_id: str) -> list[dict[str, Any]]:
    """Return the lifecycle records with this trace id, in the order in which they were written."""
    names = {*GOOD_CYCLE, "telematics_update_rejected"}
    return [line for line in logbook.lines(trace_id=trace_id) if line["event"] in names]


async def _has_ended(shard: Shard, count: int, outcome: str) -> bool:
    return [cycle["outcome"] for cycle in await shard.cycles("west")].count(outcome) >= count


async def _has_served_a_slot(shard: Shard) -> bool:
    """Whether the present slot is over for the schedule: served, or missed with too little left."""
    return any(cycle["outcome"] in ("completed", "missed") for cycle in await shard.cycles("west"))


async def _wait_for_reports(harness: Harness, *, since: float) -> None:
    """Wait until every vehicle of `west` has written a record after that instant."""
    fleet = harness.simulator.provider_of("west").fleet
    assert isinstance(fleet, RfmsFleet)
    with trio.fail_after(10):
        latest = fleet.log.latest
        while min(status.created for status in latest.values()) <= since:  # noqa: ASYNC110 - time
            await trio.sleep(0.05)


async def _outcome(shard: Shard, path: str) -> str:
    outcome: str = (await shard.get(path))["outcome"]
    return outcome


async def _is_told(shard: Shard, vehicle: str) -> bool:
    return len(await shard.events("harbour", vehicle)) > 4
