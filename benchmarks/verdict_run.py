"""One run of the service against simulated accounts with every fault, sampled and judged.

Owns the timetable of our own side's faults, and the samples. Two shards share the accounts, so that
one can be paused or killed while the other still answers.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from datetime import datetime
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncpg
import httpx
import orjson
import trio

from benchmarks.confusion import Finding, Sample, judge
from benchmarks.place import open_place
from benchmarks.truth import OURS, UNKNOWN, Cause, Limits, Truth, read_story
from benchmarks.verdict_service import Shards, configure_account
from lastheard.simulation import list_vehicles, run_simulator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.confusion import Device
    from lastheard.simulation import Simulated

SHARDS: Final = ("verdicts-1", "verdicts-2")
VICTIM: Final = SHARDS[1]
TTL_SECONDS: Final = 10.0
# The sides of the reasons, for a service whose verdicts do not name one.
PARTIES: Final[Mapping[str, str]] = {
    "switched_off": "customer",
    "collector_late": "ours",
    "ingest_backlog": "ours",
    "misconfigured": "ours",
    "credentials_rejected": "customer",
    "quota_exhausted": "provider",
    "provider_outage": "provider",
    "stream_disconnected": "provider",
    "provider_delay": "provider",
    "updates_rejected": "device",
    "outdated_data": "device",
    "unknown_to_provider": "customer",
    "sender_silent": "customer",
    "awaiting_first_data": "unknown",
    "no_answer_yet": "unknown",
    "never_reported": "device",
    "device_silent": "device",
    "signal_silent": "device",
    "reporting": "none",
}


class Plan(NamedTuple):
    """The size of a run. `pace`: troubles come so many times as often as in the long run.

    `without`: names of faults that are left out, joined by '+'. `save`: a file for the samples and
    the story, for a closer look.
    """

    seconds: float = 600.0
    devices: int = 200
    every: float = 2.0  # between two samples of a device
    seed: int = 0
    pace: float = 1.0
    has_backlog: bool = True
    save: str | None = None
    without: str = ""


class Result(NamedTuple):
    """What a run found: the judgement, and the counts of both sides."""

    finding: Finding
    counts: Sequence[str]
    uncounted: Sequence[str]


class _Record:
    """What the run knows while it goes on: the samples, and the faults of our own side."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.samples: list[Sample] = []
        self.owners: dict[str, str | None] = {}
        self.ours: dict[str, list[Cause]] = {}

    def begin(self, workspace: str, name: str, until: float | None, hidden: float) -> None:
        cause = Cause(
            name,
            OURS,
            time(),
            until,
            is_shared=True,
            also=frozenset({UNKNOWN}),
            also_seconds=hidden,
        )
        self.ours.setdefault(workspace, []).append(cause)

    def note(self, workspace: str, report: Mapping[str, Any]) -> None:
        """Keep the verdicts of a health report, and end a gap of ours when a new cycle began."""
        at = _instant(report["evaluated_at"])
        for item in report["items"]:
            reason = item["reason"]
            self.samples.append(
                Sample(
                    at,
                    (workspace, item["external_id"]),
                    item["state"],
                    reason,
                    item.get("party") or PARTIES[reason],
                    item["thresholds"]["delayed_after_seconds"],
                )
            )
        evidence = report["items"][0]["evidence"]
        self.owners[workspace] = evidence["owner"]
        started = evidence["last_cycle_started_at"]
        if started is not None:
            self._end_gap(workspace, _instant(started), at)

    def _end_gap(self, workspace: str, started: float, at: float) -> None:
        causes = self.ours.get(workspace, [])
        for number, cause in enumerate(causes):
            if cause.until is None and started > cause.since + 0.5:
                causes[number] = cause._replace(until=at)


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def run(plan: Plan, limits: Limits | None = None) -> Result:
    """Run everything from an empty database to the judgement."""
    limits = limits or Limits()
    flags = (
        *("--everything", "--devices", str(plan.devices), "--seed", str(plan.seed)),
        *("--pace", str(plan.pace), "--without", plan.without),
    )
    with tempfile.TemporaryDirectory(prefix="lastheard-verdicts-") as folder:
        async with open_place() as place:
            dsn = await place.new_database()
            async with Shards(_settings(dsn, folder)) as shards:
                await shards.prepare()
                for name in SHARDS:
                    await shards.start(name)
                # The simulator comes last: its vehicles go wrong from its start on.
                async with run_simulator(*flags) as simulated:
                    await _configure(shards, simulated, limits, Path(folder))
                    record = _Record(limits)
                    await _watch(plan, shards, simulated, record, dsn)
                    return await _conclude(shards, simulated, record, plan.save)


def _settings(dsn: str, folder: str) -> dict[str, str]:
    ours = {
        "dsn": dsn,
        "data_dir": folder,
        "credentials_dir": folder,
        "http_port": "0",
        "probe_port": "0",
        "log_format": "json",
        "log_level": "info",
        "outbound_allow": "127.0.0.1",
        "min_poll_interval_seconds": "2",
        "ttl_seconds": f"{TTL_SECONDS:g}",
    }
    foreign = {name: text for name, text in os.environ.items() if not name.startswith("LASTHEARD_")}
    return {**foreign, **{f"LASTHEARD_{name.upper()}": text for name, text in ours.items()}}


async def _configure(shards: Shards, simulated: Simulated, limits: Limits, folder: Path) -> None:
    thresholds = {
        "freshness_target_seconds": limits.delayed - 1,
        "delayed_after_seconds": limits.delayed,
        "stale_after_seconds": limits.stale,
        "grace_seconds": limits.grace,
    }
    # All are listed before any of them can leave its account.
    listed = [(account, await list_vehicles(simulated, account)) for account in simulated.tenants]
    for account, vehicles in listed:
        await configure_account(
            shards,
            simulated,
            account,
            vehicles,
            thresholds=thresholds,
            interval=int(limits.interval),
            folder=folder,
        )


async def _watch(
    plan: Plan, shards: Shards, simulated: Simulated, record: _Record, dsn: str
) -> None:
    """Sample every verdict until the time is over, while our own side gets its faults."""
    names = [account.name for account in simulated.tenants]
    with trio.move_on_after(plan.seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_trouble_ourselves, plan, shards, record, dsn)
            while True:
                began = trio.current_time()
                for name in names:
                    await _sample(shards, name, record)
                await trio.sleep_until(began + plan.every)


async def _sample(shards: Shards, name: str, record: _Record) -> None:
    """Take one sample of a workspace. While no shard answers there is none."""
    if not shards.answering:
        await trio.sleep(0.1)
        return
    try:
        record.note(name, await shards.get(f"/workspaces/{name}/health?limit=500"))
    except (httpx.HTTPError, KeyError):
        await trio.sleep(0.1)


async def _trouble_ourselves(plan: Plan, shards: Shards, record: _Record, dsn: str) -> None:
    """Pause a shard, kill one, hold rows locked, and stop everything, one after the other."""
    part = plan.seconds / 12
    length = max(12.0, part / 2)
    await trio.sleep(2.5 * part)
    _begin_gaps(record, "shard paused", VICTIM)
    shards.pause(VICTIM)
    await trio.sleep(length)
    shards.go_on(VICTIM)
    await trio.sleep(2 * part)
    _begin_gaps(record, "shard killed", VICTIM)
    await shards.kill(VICTIM)
    await trio.sleep(length)
    await shards.start(VICTIM)
    if plan.has_backlog:
        await trio.sleep(1.5 * part)
        await _hold_rows(record, dsn, length + record.limits.backlog)
    await trio.sleep(part)
    _begin_gaps(record, "all stopped", None)
    for name in SHARDS:
        await shards.end(name)
    await trio.sleep(length)
    for name in SHARDS:
        await shards.start(name)


def _begin_gaps(record: _Record, name: str, owner: str | None) -> None:
    """Note a gap of ours for the workspaces of a shard; of every shard if it is None."""
    for workspace, found in record.owners.items():
        if owner is None or found == owner:
            record.begin(workspace, name, None, record.limits.overdue)


async def _hold_rows(record: _Record, dsn: str, seconds: float) -> None:
    """Lock the rows of one workspace for so long, so that its updates wait."""
    workspace = sorted(record.owners)[-1]
    hidden = record.limits.backlog + record.limits.interval
    record.begin(workspace, "updates wait", time() + seconds, hidden)

    async def hold() -> None:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            async with connection.transaction():
                await connection.fetch(
                    "SELECT 1 FROM device_state WHERE workspace_id = $1 FOR UPDATE", workspace
                )
                await asyncio.sleep(seconds)
        finally:
            await connection.close()

    await trio.to_thread.run_sync(lambda: asyncio.run(hold()), abandon_on_cancel=True)


async def _conclude(
    shards: Shards, simulated: Simulated, record: _Record, save: str | None
) -> Result:
    async with httpx.AsyncClient(base_url=simulated.http_url, timeout=20, trust_env=False) as http:
        story = (await http.get("/sim/story")).json()
        sent = (await http.get("/sim/statistics?brief=true")).json()
    if save is not None:
        kept = {"samples": record.samples, "story": story, "ours": record.ours}
        await trio.Path(save).write_bytes(orjson.dumps(kept, default=list))
    truths = _truths(story, record)
    finding = judge(record.samples, truths, record.limits)
    counts, uncounted = await _compare_counts(shards, sent)
    return Result(finding, counts, uncounted)


def _truths(story: Mapping[str, Any], record: _Record) -> dict[Device, Truth]:
    truths: dict[Device, Truth] = {}
    for workspace, episodes in story.items():
        causes = read_story(episodes, record.limits)
        shared = [*causes.get(None, ()), *record.ours.get(workspace, ())]
        for device in {sample.device for sample in record.samples if sample.device[0] == workspace}:
            truths[device] = Truth([*causes.get(device[1], ()), *shared], record.limits)
    return truths


async def _compare_counts(shards: Shards, sent: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Compare the counts of the shards with themselves, and with what the simulator sent."""
    uncounted: list[str] = []
    counts: list[str] = []
    for name in shards.answering:
        process = (await shards.get("/runtime", name))["process"]
        uncounted += [f"{name}: {sentence}" for sentence in _find_uncounted(process)]
    for account, told in sent["tenants"].items():
        if "statuses_sent" in told:
            records = await _count_records(shards, account)
            counts.append(f"{account}: sent {told['statuses_sent']} statuses, recorded {records}")
            if records > told["statuses_sent"]:
                uncounted.append(counts[-1])
    return counts, uncounted


def _find_uncounted(process: Mapping[str, Any]) -> list[str]:
    """Return the counting identities that do not hold in a shard's own report."""
    frames, ingest = process["shard"]["frames"], process["ingest"]
    received = frames.get("received", 0)  # a shard without a stream has no counts of frames
    parts = sum(frames.get(part, 0) for part in ("merged", "ignored", "malformed", "pending"))
    outcomes = sum(ingest["outcomes"].values()) + ingest["pending"]
    uncounted = []
    if received != parts:
        uncounted.append(f"frames: {received} are not {parts}")
    if ingest["submitted"] != outcomes:
        uncounted.append(f"updates: {ingest['submitted']} are not {outcomes}")
    return uncounted


async def _count_records(shards: Shards, workspace: str) -> int:
    records: int = 0
    cursor = ""
    while True:
        page = await shards.get(f"/workspaces/{workspace}/cycles?limit=200{cursor}")
        records += sum(cycle["summary"].get("records", 0) for cycle in page["items"])
        if not page["next_cursor"]:
            return records
        cursor = f"&cursor={page['next_cursor']}"
