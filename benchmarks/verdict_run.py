"""One run of the service against simulated accounts with every fault, sampled and judged.

Owns the order: database, shards, simulator, configuration, samples, judgement. Two shards share the
accounts, so that one can be paused or killed while the other still answers.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx
import orjson
import trio

from benchmarks.confusion import Finding, judge
from benchmarks.place import open_place
from benchmarks.truth import Limits
from benchmarks.verdict_acts import SHARDS, Plan, misconfigure, trouble_ourselves
from benchmarks.verdict_record import Record, truths_of
from benchmarks.verdict_sender import NAME as PUSHED
from benchmarks.verdict_sender import Sender
from benchmarks.verdict_service import Account, Shards, configure_account
from lastheard.settings import Settings
from lastheard.simulation import list_vehicles, run_simulator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lastheard.simulation import Simulated

TTL_SECONDS: Final = 10.0
MOST: Final = 2.0  # a run takes at most so many times as long as planned


class Result(NamedTuple):
    """What a run found: the judgement, and the counts of both sides."""

    finding: Finding
    counts: Sequence[str]
    uncounted: Sequence[str]


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
            async with Shards(_settings(dsn, folder, limits)) as shards:
                await shards.prepare()
                for name in SHARDS:
                    await shards.start(name)
                # The simulator comes last: its vehicles go wrong from its start on.
                async with run_simulator(*flags) as simulated:
                    sender = Sender(plan, limits.stale)
                    await sender.configure(shards, _thresholds(limits), int(limits.interval))
                    accounts = await _configure(shards, simulated, limits, Path(folder))
                    record = Record(limits)
                    record.progress.tell(f"two shards and {len(accounts)} accounts are set up")
                    await _watch(plan, shards, accounts, record, dsn, sender)
                    return await _conclude(shards, simulated, record, sender, plan.save)


def _settings(dsn: str, folder: str, limits: Limits) -> dict[str, str]:
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
        "roster_while_silent_seconds": f"{limits.roster:g}",
    }
    # A service that does not know a setting refuses it.
    ours = {name: text for name, text in ours.items() if name in Settings.model_fields}
    foreign = {name: text for name, text in os.environ.items() if not name.startswith("LASTHEARD_")}
    return {**foreign, **{f"LASTHEARD_{name.upper()}": text for name, text in ours.items()}}


def _thresholds(limits: Limits) -> dict[str, float]:
    return {
        "freshness_target_seconds": limits.delayed - 1,
        "delayed_after_seconds": limits.delayed,
        "stale_after_seconds": limits.stale,
        "grace_seconds": limits.grace,
    }


async def _configure(
    shards: Shards, simulated: Simulated, limits: Limits, folder: Path
) -> dict[str, Account]:
    thresholds = _thresholds(limits)
    accounts = await _list_accounts(simulated, folder)
    for account in accounts.values():
        await configure_account(
            shards, account, thresholds=thresholds, interval=int(limits.interval)
        )
    return accounts


async def _list_accounts(simulated: Simulated, folder: Path) -> dict[str, Account]:
    """List all vehicles, before any of them can leave its account."""
    story = await _ask(simulated, "/sim/story")
    accounts = {}
    for fleet in simulated.tenants:
        secret = trio.Path(folder / fleet.name)
        await secret.write_text(fleet.credential)
        moved = frozenset(
            str(each["vehicle_id"])
            for each in story[fleet.name]
            if each["cause"] == "empties_buffer"
        )
        vehicles = await list_vehicles(simulated, fleet)
        reference = f"file:{folder / fleet.name}"
        accounts[fleet.name] = Account(fleet, vehicles, moved, simulated.http_url, reference)
    return accounts


async def _ask(simulated: Simulated, path: str) -> Any:
    async with httpx.AsyncClient(base_url=simulated.http_url, timeout=20, trust_env=False) as http:
        answer = await http.get(path)
        answer.raise_for_status()
        return answer.json()


async def _watch(
    plan: Plan,
    shards: Shards,
    accounts: Mapping[str, Account],
    record: Record,
    dsn: str,
    sender: Sender,
) -> None:
    """Sample every verdict until the time is over, while our own side gets its faults.

    On a slow machine shards start slowly, so the end waits for the last act and what follows it.
    """
    began = trio.current_time()
    with trio.move_on_after(MOST * plan.seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.run, shards)
            nursery.start_soon(_sample_for_ever, plan, shards, (*accounts, PUSHED), record)
            async with trio.open_nursery() as acts:
                acts.start_soon(trouble_ourselves, plan, shards, record, dsn)
                acts.start_soon(misconfigure, plan, shards, accounts, record)
            follows = trio.current_time() + record.limits.settles
            await trio.sleep_until(max(began + plan.seconds, follows))
            nursery.cancel_scope.cancel()


async def _sample_for_ever(
    plan: Plan, shards: Shards, accounts: Sequence[str], record: Record
) -> None:
    while True:
        began = trio.current_time()
        for name in accounts:
            await _sample(shards, name, record)
        await trio.sleep_until(began + plan.every)


async def _sample(shards: Shards, name: str, record: Record) -> None:
    """Take one sample of a workspace. While no shard answers there is none."""
    if not shards.answering:
        await trio.sleep(0.1)
        return
    try:
        record.note(name, await shards.get(f"/workspaces/{name}/health?limit=500"))
    except (httpx.HTTPError, KeyError):
        await trio.sleep(0.1)


async def _conclude(
    shards: Shards, simulated: Simulated, record: Record, sender: Sender, save: str | None
) -> Result:
    story = {**await _ask(simulated, "/sim/story"), PUSHED: sender.story}
    if save is not None:
        kept = {"samples": record.samples, "story": story, "ours": record.ours}
        await trio.Path(save).write_bytes(orjson.dumps(kept, default=list))
    truths = truths_of(story, record)
    finding = judge(record.samples, truths, record.limits)
    counts, uncounted = await _compare_counts(shards, simulated)
    return Result(finding, counts, uncounted)


async def _compare_counts(shards: Shards, simulated: Simulated) -> tuple[list[str], list[str]]:
    """Compare the counts of the shards with themselves, and with what the simulator sent.

    Cycles go on meanwhile. What was recorded is counted first, so that all of it was sent by the
    time at which the simulator is asked.
    """
    uncounted: list[str] = []
    counts: list[str] = []
    for name in shards.answering:
        process = (await shards.get("/runtime", name))["process"]
        uncounted += [f"{name}: {sentence}" for sentence in _find_uncounted(process)]
    polled = [fleet.name for fleet in simulated.tenants if fleet.provider == "rfms"]
    recorded = {name: await _count_records(shards, name) for name in polled}
    told = (await _ask(simulated, "/sim/statistics?brief=true"))["tenants"]
    for name, records in recorded.items():
        sent = told[name]["statuses_sent"]
        counts.append(f"{name}: sent {sent} statuses, recorded {records}")
        if records > sent:
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
