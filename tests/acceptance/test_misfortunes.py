"""Faults of providers: each has a reason, is told once for the workspace, and ends in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from simulator.reporting import Reporting
from simulator.stream import LiveStream
from tests.acceptance.fleets import polled, streamed, vin
from tests.acceptance.harness import QUICK, eventually, open_harness, until

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.config import Tenant
    from tests.acceptance.harness import Harness

EDGES = "SELECT kind, fault FROM connection_events WHERE workspace_id = $1 ORDER BY event_id"


class Misfortune(NamedTuple):
    """A provider's faults for a fleet, and the reason that each of its devices must have."""

    fleet: Tenant
    faults: str
    reason: str
    fault: str | None = None  # class of the last error


MISFORTUNES = [
    Misfortune(polled("locked-out"), "http_401=1", "credentials_rejected", "credentials"),
    Misfortune(polled("forbidden"), "http_403=1", "credentials_rejected", "credentials"),
    Misfortune(polled("exhausted"), "http_429=1,retry_after=3", "quota_exhausted", "quota"),
    Misfortune(polled("away"), "http_503=1", "provider_outage", "outage"),
    Misfortune(polled("dropping"), "http_drop=1", "provider_outage", "outage"),
    # Its state calls fail as well, and a failed call comes first.
    Misfortune(streamed("stream-away"), "http_503=1,retry_after=1", "provider_outage", "outage"),
    Misfortune(streamed("stream-locked"), "http_401=1", "credentials_rejected", "credentials"),
]


async def test_every_misfortune_is_told_once_with_its_reason_and_ends(
    dsn: str, tmp_path: Path
) -> None:
    """A healthy fleet, and one with a single silent vehicle, have no outage meanwhile."""
    well = polled("well")
    mixed = polled("mixed", manners=[Reporting(), Reporting(silent_after_seconds=2.0)])
    fleets = [misfortune.fleet for misfortune in MISFORTUNES]
    async with open_harness(dsn, tmp_path, *fleets, well, mixed) as harness:
        for fleet in (*fleets, well, mixed):
            await harness.add_fleet(fleet, interval=2, thresholds=QUICK)
        await eventually(
            lambda: _reasons(harness, fleets), {fleet.name: {"reporting"} for fleet in fleets}
        )
        for misfortune in MISFORTUNES:
            await harness.change_faults(misfortune.fleet.name, misfortune.faults)
        await harness.disconnect()
        expected = {misfortune.fleet.name: {misfortune.reason} for misfortune in MISFORTUNES}
        await eventually(lambda: _reasons(harness, fleets), expected)
        for misfortune in MISFORTUNES:
            await _check_told_once(harness, misfortune)
        await until(lambda: _one_is_silent(harness))
        for fleet in (well, mixed):
            assert (await harness.shard.health(fleet.name))["workspace_outage"] is None
        ready = await harness.shard.ask("GET", "/readyz", key=None)

        for fleet in fleets:
            await harness.change_faults(fleet.name)
        await eventually(
            lambda: _reasons(harness, fleets),
            {fleet.name: {"reporting"} for fleet in fleets},
            within=20,
        )
        for misfortune in MISFORTUNES:
            assert (await harness.shard.health(misfortune.fleet.name))["workspace_outage"] is None
            await _check_edges(harness, misfortune)

    assert ready.status == 200  # a provider's fault does not make the service unready


async def _reasons(harness: Harness, fleets: list[Tenant]) -> dict[str, set[str]]:
    return {
        fleet.name: {reason for _, reason in (await harness.shard.verdicts(fleet.name)).values()}
        for fleet in fleets
    }


async def _check_told_once(harness: Harness, misfortune: Misfortune) -> None:
    """Check that report and issues both tell one outage, with the devices that are affected."""
    path = f"/workspaces/{misfortune.fleet.name}"
    for report in [await harness.shard.get(f"{path}/{kind}") for kind in ("health", "issues")]:
        outage = report["workspace_outage"]
        assert (outage["reason"], outage["reasons"]) == (misfortune.reason, {misfortune.reason: 2})
        assert (outage["affected_devices"], outage["provider_ids"]) == (
            2,
            [str(misfortune.fleet.vendor)],
        )
        assert outage["evidence"]["last_error"]["class"] == misfortune.fault
        assert misfortune.fleet.credential not in str(report)
        assert {item["state"] for item in report["items"]} <= {"delayed", "stale"}


async def _one_is_silent(harness: Harness) -> bool:
    wanted = {vin(0): ("healthy", "reporting"), vin(1): ("stale", "device_silent")}
    return await harness.shard.verdicts("mixed") == wanted


async def _check_edges(harness: Harness, misfortune: Misfortune) -> None:
    """Check that beginning and end of the trouble are stored, and no failed call in between."""
    edges = [
        (row["kind"], row["fault"]) for row in await harness.fetch(EDGES, misfortune.fleet.name)
    ]
    calls = [edge for edge in edges if edge[0].startswith("call_")]
    assert calls == [
        ("call_succeeded", None),
        ("call_failed", misfortune.fault),
        ("call_succeeded", None),
    ]


async def test_a_provider_that_says_wait_is_left_alone_until_then(dsn: str, tmp_path: Path) -> None:
    """A poll waits by X-Rate-Limit-Reset (rFMS), a stream by Retry-After.

    Cycles go on, but make no call meanwhile.
    """
    wait_seconds = 3.0
    west, harbour = polled("west"), streamed("harbour")
    async with open_harness(dsn, tmp_path, west, harbour) as harness:
        for fleet in (west, harbour):
            await harness.change_faults(fleet.name, f"http_429=1,retry_after={wait_seconds}")
            await harness.add_fleet(fleet, interval=2, thresholds=QUICK)
        refused_at = await _watch_refusals(harness, times=2)
        cycles = await harness.shard.cycles("west")

    gaps = {call: second - first for call, (first, second, *_) in refused_at.items()}
    assert all(gap > wait_seconds - 0.2 for gap in gaps.values()), gaps
    results = [
        cycle["summary"]["connections"]["rfms"] for cycle in cycles if cycle["outcome"] == "failed"
    ]
    assert any(result.endswith("the provider asked for it") for result in results)


async def _watch_refusals(harness: Harness, *, times: int) -> dict[str, list[float]]:
    """Return when each kind of call was refused. Waits until each was refused `times` times."""
    refused_at: dict[str, list[float]] = {"polled": [], "state endpoint": [], "handshake": []}
    with trio.fail_after(15):
        while any(len(instants) < times for instants in refused_at.values()):
            await trio.sleep(0.02)
            counts = {
                "polled": harness.requests("west").get("GET /rfms/vehiclestatuses 429", 0),
                "state endpoint": harness.requests("harbour").get("POST /api/v2/state 429", 0),
                "handshake": harness.simulator.provider_of("harbour").injected["handshake_429"],
            }
            for call, count in counts.items():
                refused_at[call] += [trio.current_time()] * (count - len(refused_at[call]))
    return refused_at


async def test_a_latency_spike_that_ends_in_success_is_no_outage(dsn: str, tmp_path: Path) -> None:
    """A short spike costs nothing. A long one costs a cycle, and the next cycle makes up for it."""
    slow, slower = polled("slow"), polled("slower")
    async with open_harness(dsn, tmp_path, slow, slower) as harness:
        for fleet in (slow, slower):
            await harness.add_fleet(fleet, interval=2)
        reporting = {"slow": {"reporting"}, "slower": {"reporting"}}
        await eventually(lambda: _reasons(harness, [slow, slower]), reporting)  # of every vehicle
        await harness.change_faults("slow", "latency=0.8")
        await harness.change_faults("slower", "latency=10")
        await until(lambda: _has_cycle(harness, "slow", "completed", longer_than=0.7))
        await until(lambda: _has_cycle(harness, "slower", "timed_out", longer_than=1.5))
        during = await _reasons(harness, [slow, slower])
        for fleet in (slow, slower):
            await harness.change_faults(fleet.name)
        before = len(await harness.shard.cycles("slower"))
        await until(lambda: _newest_is_completed(harness, before))
        after = await _reasons(harness, [slow, slower])
        outcomes = {
            cycle["outcome"] for cycle in await harness.shard.cycles("slow") if cycle["started_at"]
        }
        edges = {
            name: [
                row["kind"]
                for row in await harness.fetch(EDGES, name)
                if row["kind"].startswith("call_")
            ]
            for name in ("slow", "slower")
        }

    assert during == after == reporting
    assert outcomes <= {"completed", "running"}
    assert edges == {
        "slow": ["call_succeeded"],
        "slower": ["call_succeeded", "call_failed", "call_succeeded"],
    }


async def _has_cycle(
    harness: Harness, workspace_id: str, outcome: str, *, longer_than: float = 0.0
) -> bool:
    rows = await harness.fetch(
        "SELECT 1 FROM poll_cycles WHERE workspace_id = $1 AND outcome = $2"
        " AND ended_at - started_at >= make_interval(secs => $3)",
        workspace_id,
        outcome,
        longer_than,
    )
    return bool(rows)


async def _newest_is_completed(harness: Harness, before: int) -> bool:
    cycles = await harness.shard.cycles("slower")
    return len(cycles) > before and cycles[0]["outcome"] == "completed"


async def test_cut_streams_return_one_by_one_and_fetch_missed_data(
    dsn: str, tmp_path: Path
) -> None:
    """The vehicles report while all streams are cut, and are silent when the streams return.

    So only the state endpoint has the missed data. No cycle runs meanwhile.
    """
    fleets = [streamed(f"fleet-{number}", 1) for number in range(8)]
    async with open_harness(dsn, tmp_path, *fleets) as harness:
        for fleet in fleets:
            await harness.add_fleet(fleet)
        await eventually(lambda: _streaming(harness), {fleet.name for fleet in fleets})
        for fleet in fleets:
            await harness.change_faults(fleet.name, "http_503=1,retry_after=0.5")
        await harness.disconnect()
        await trio.sleep(1.2)
        stored = await _stored_ms(harness)
        for fleet in fleets:  # silence its vehicle, and end the fault
            await harness.change_faults(
                fleet.name, reporting={fleet.vehicles[0].vehicle_id: {"never": True}}
            )
        missed = {fleet.name: _newest_known_ms(harness, fleet) for fleet in fleets}
        assert all(instant > stored[name] + 800 for name, instant in missed.items())
        await eventually(lambda: _stored_ms(harness), missed)
        connections = list(harness.simulator.connections)

    first, second = connections[: len(fleets)], connections[len(fleets) :]
    assert {entry.ending for entry in first} == {"cut_by_fault"}
    assert {entry.tenant for entry in second} == {fleet.name for fleet in fleets}
    assert len(second) == len(fleets)
    returned = sorted(entry.opened_monotonic for entry in second)
    assert returned[-1] - returned[0] > 0.1
    # The new streams brought nothing but the echo of the subscription.
    assert sum(entry.frames for entry in second) <= len(second)


async def _streaming(harness: Harness) -> set[str]:
    """Return the fleets that have an open stream and stored data of it."""
    rows = await harness.fetch("SELECT workspace_id FROM device_state WHERE version > 2")
    return {
        row["workspace_id"]
        for row in rows
        if harness.simulator.provider_of(row["workspace_id"]).sessions
    }


def _newest_known_ms(harness: Harness, fleet: Tenant) -> int:
    live = harness.simulator.provider_of(fleet.name).fleet
    assert isinstance(live, LiveStream)
    return max(signal.known_ms for signal in live.signals)


async def _stored_ms(harness: Harness) -> dict[str, Any]:
    rows = await harness.fetch("SELECT workspace_id, last_observed_at FROM device_state")
    return {row["workspace_id"]: round(row["last_observed_at"].timestamp() * 1000) for row in rows}
