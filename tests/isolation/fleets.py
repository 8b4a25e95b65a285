"""Two workspaces with the same ids and different values, in a database that tests clone.

`OURS` is the workspace that a test works on, `THEIRS` the one that must not notice. Each has the
connections `live` and `spare`, the devices bus-1, bus-2 and the retired bus-9, equal versions, and
cycles with equal ids. `THEIRS` has more besides: a connection, a device, a cycle and a request that
`OURS` lacks, so that a statement that looks too far finds something. In the database *alone*,
`THEIRS` is an empty workspace, so the answers about `OURS` there are the right ones.

Instants are counted back from three hours ago. A younger instant than an hour was written by the
statement under test.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from domain.cycles import CycleEnd, CycleKey, CycleOutcome, CycleTrigger
from domain.model import (
    CanonicalUpdate,
    ConnectionFact,
    ConnectionFactKind,
    CursorAdvance,
    InvalidItem,
    Ownership,
    Policy,
    ProviderConnection,
    Reading,
    Reason,
    SessionRef,
    Submission,
)
from domain.registry import DeviceDraft
from domain.resource import workspace_resource
from ports.cycles import WantedCycle
from storage.gateway import Database, open_bridge
from storage.whole_updates import dump_update
from tests.conftest import Stores, make_postgres_stores
from tests.statements import named

if TYPE_CHECKING:
    from storage.gateway import Connection

OURS, THEIRS, NEW = "ours", "theirs", "new"
OUR_ENTRY, THEIR_ENTRY = 1001, 1009  # of quarantine, with whole updates
TAG = "depot"  # of every device
BASE: Final = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
SESSION: Final = SessionRef("shard-1", 1)
DAY_SECONDS: Final = 86_400.0
A_MONTH_AGO: Final = 35 * 24.0  # hours: past the time of cycles and refusals, not of spans


@dataclass
class Harness:
    """The stores over one database, and short ways to act as one workspace."""

    database: Database
    stores: Stores
    unit: int = 100

    @classmethod
    def over(cls, database: Database) -> Harness:
        return cls(database, make_postgres_stores(database))

    async def put_workspace(self, workspace_id: str, **changes: Any) -> Any:
        plain = {
            "name": workspace_id,
            "active": True,
            "poll_interval_seconds": 300,
            "policy": Policy(),
        }
        return await self.stores.registry.put_workspace(workspace_id, **{**plain, **changes})

    async def commit(self, *submissions: Submission) -> Any:
        """Commit as the next unit, and return the results of every submission."""
        self.unit += 1
        receipts = await self.stores.ingest.commit_unit(SESSION, self.unit, submissions)
        return [receipt.results for receipt in receipts]

    async def start_cycle(self, workspace_id: str, hours: float, name: str) -> Any:
        key = CycleKey(workspace_id, ago(hours), CycleTrigger.SCHEDULE, 1)
        return await self.stores.cycles.start_cycle(
            SESSION, WantedCycle(key, name, f"trace-{name}")
        )

    async def end_cycle(self, workspace_id: str, hours: float, name: str) -> Any:
        key = CycleKey(workspace_id, ago(hours), CycleTrigger.SCHEDULE, 1)
        summary = {"of": workspace_id}
        end = CycleEnd(key, name, ago(hours - 0.1), CycleOutcome.COMPLETED, summary)
        return await self.commit(Submission("poll", "trace-1", cycle=end))

    async def execute(self, statement: str, *args: Any) -> None:
        await self.database.run(lambda connection: connection.execute(statement, *args))

    async def fetch(self, statement: str, *args: Any) -> list[tuple[Any, ...]]:
        async def work(connection: Connection) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in await connection.fetch(statement, *args)]

        return await self.database.run(work)


def ago(hours: float) -> datetime:
    return BASE - timedelta(hours=hours)


def provider(workspace_id: str, provider_id: str, **rest: Any) -> ProviderConnection:
    address, secret = f"https://{workspace_id}.example", f"env:{workspace_id.upper()}"
    return ProviderConnection(workspace_id, provider_id, "spoken", "poll", address, secret, **rest)


def draft(device_id: str, **rest: Any) -> DeviceDraft:
    plain = DeviceDraft(
        device_id,
        "live",
        f"x-{device_id}",
        f"v-{device_id}",
        device_id.title(),
        activated_at=ago(9),
    )
    return plain._replace(**rest)


def update(workspace_id: str, hours: float, soc_percent: float, **rest: Any) -> CanonicalUpdate:
    readings = (Reading("soc_percent", soc_percent, ago(hours)),)
    plain = CanonicalUpdate(
        workspace_id, "live", "bus-1", None, None, readings, ago(hours), f"trace-{workspace_id}"
    )
    return plain._replace(**rest)


def news(workspace_id: str, hours: float, soc_percent: float) -> Submission:
    """Return a submission that touches every table of the ingest unit.

    It names devices by device id and by external id, and has an update that is refused.
    """
    return Submission(
        "poll",
        f"trace-{workspace_id}",
        updates=(
            update(workspace_id, hours, soc_percent),
            update(workspace_id, hours, soc_percent + 1, device_id=None, external_id="x-bus-2"),
            update(
                workspace_id, hours, soc_percent, device_id=None, external_id=f"x-{workspace_id}"
            ),
            update(workspace_id, hours, soc_percent, readings=(("not", "a reading"),)),
        ),
        ownership=Ownership(workspace_resource(workspace_id), *SESSION, 1),
        cursor=CursorAdvance(workspace_id, "live", f"{workspace_id}-{hours}"),
        statements=(named(workspace_id, ("bus-1", "bus-2"), ago(hours)),),
        facts=(
            ConnectionFact(workspace_id, "live", ConnectionFactKind.CALL_SUCCEEDED, ago(hours)),
        ),
        invalid=(
            InvalidItem(
                workspace_id, "live", "x-bus-2", Reason.INVALID, workspace_id, workspace_id.encode()
            ),
            InvalidItem(
                *(workspace_id, "live", "x-bus-2", Reason.MALFORMED, "no number", b"{}"),
                occurrences=len(workspace_id),
                signal="speed_kmh",
            ),
        ),
    )


async def fill_database(dsn: str, beside: bool) -> None:
    """Fill the database. Unless `beside` is true, `THEIRS` stays an empty workspace."""
    async with open_bridge():
        database = Database(dsn)
        try:
            await _fill_both(Harness.over(database), beside=beside)
        finally:
            await database.aclose()


async def _fill_both(harness: Harness, *, beside: bool) -> None:
    await harness.stores.upkeep.ensure_partitions(days_ahead=1)
    start = await harness.stores.sessions.begin_session(SESSION.shard_id, ttl_seconds=DAY_SECONDS)
    assert start is not None
    assert start.session == SESSION
    await harness.put_workspace(OURS)
    await harness.put_workspace(THEIRS)
    await _fill(harness, OURS, 10)
    await _set_aside(harness, OURS, OUR_ENTRY)
    if beside:
        await _fill(harness, THEIRS, 70)
        await _fill_what_only_they_have(harness)


async def _fill(harness: Harness, workspace_id: str, soc_percent: float) -> None:
    registry = harness.stores.registry
    await registry.put_provider(provider(workspace_id, "live"))
    await registry.put_provider(provider(workspace_id, "spare"))
    await registry.put_devices(
        workspace_id,
        [
            draft(
                name, vehicle_id=workspace_id, vehicle_name=workspace_id, tags=(TAG, workspace_id)
            )
            for name in ("bus-1", "bus-2", "bus-9")
        ],
    )
    await registry.retire_device(workspace_id, "bus-9")
    await harness.stores.leases.claim(SESSION, [workspace_resource(workspace_id)])
    await harness.commit(news(workspace_id, 5, soc_percent))
    await harness.start_cycle(workspace_id, 5, "cycle-1")
    await harness.end_cycle(workspace_id, 5, "cycle-1")
    await harness.start_cycle(workspace_id, 4, "cycle-2")
    await _fill_the_past(harness, workspace_id, soc_percent)
    await _fill_parity(harness, workspace_id, soc_percent)


async def _fill_the_past(harness: Harness, workspace_id: str, soc_percent: float) -> None:
    """Write what is kept of rows that were dropped."""
    await harness.execute(
        "INSERT INTO event_checkpoints (workspace_id, device_id, assignment, version,"
        " last_update_received_at, last_observed_at, document)"
        " VALUES ($1, 'bus-1', 1, 0, $2, $2, jsonb_build_object('soc_percent', $3::float8))",
        workspace_id,
        ago(200),
        soc_percent,
    )
    await harness.execute(
        "INSERT INTO backlog_events (shard_id, epoch, workspace_id, at, kind)"
        " VALUES ('shard-1', 1, $1, $2, 'backlog_ended')",
        workspace_id,
        ago(6),
    )
    await _count_an_hour(harness, workspace_id)
    await _fill_cutover(harness, workspace_id, int(soc_percent))
    await harness.execute(
        "INSERT INTO cycle_spans (workspace_id, outcome, cycles, first_slot_at, last_slot_at)"
        " VALUES ($1, 'completed', $3, $2, $2)",
        workspace_id,
        ago(A_MONTH_AGO),
        int(soc_percent),
    )
    await harness.execute(
        "INSERT INTO rejection_spans (workspace_id, digest, origin, provider_id, device_id,"
        " external_id, outcome, reason, signal, occurrences, first_at, last_at)"
        " SELECT workspace_id, substring(sha256(convert_to(jsonb_build_array(origin, provider_id,"
        " device_id, external_id, outcome, reason, signal)::text, 'UTF8')) FOR 16), origin,"
        " provider_id, device_id, external_id, outcome, reason, signal, 7, $2, $2"
        " FROM rejections WHERE workspace_id = $1",
        workspace_id,
        ago(A_MONTH_AGO),
    )


async def _fill_cutover(harness: Harness, workspace_id: str, number: int) -> None:
    """Write what is kept of a legacy system, and of the comparisons with it."""
    await harness.execute(
        "INSERT INTO cutovers (workspace_id, legacy_base_url, legacy_shape, legacy_answered_at)"
        " VALUES ($1, 'https://' || $1 || '.example/legacy', '{}', $2)",
        workspace_id,
        ago(1),
    )
    await harness.execute(
        "INSERT INTO parity_cycles (workspace_id, slot_start_at, cycle_id, compared_at, equal,"
        " missing_here, missing_there, older, different, incomparable, samples)"
        " VALUES ($1, $2, 'cycle-1', $2, $3, 0, 0, 1, 0, 0, jsonb_build_array(jsonb_build_object("
        "'device_id', 'bus-1', 'vehicle_id', $1::text, 'verdict', 'older'))::json)",
        workspace_id,
        ago(5),
        number,
    )
    await harness.execute(
        "INSERT INTO guardrail_events (workspace_id, at, kind, cycle_id, crossings, why_not,"
        " trace_id) VALUES ($1, $2, 'alert', 'cycle-1', '[]', $1, 'trace-1')",
        workspace_id,
        ago(5),
    )
    await harness.execute(
        "INSERT INTO legacy_syncs (workspace_id, cutover_revision, synced_at, answered_at, outcome,"
        " left_out) VALUES ($1, 2, $2, $2, 'synced', '[\"bus-1\", \"bus-2\"]')",
        workspace_id,
        ago(5),
    )


async def _fill_parity(harness: Harness, workspace_id: str, soc_percent: float) -> None:
    """Write two comparisons of newest cycles, which the gate reads."""
    for minutes, cycle_id in ((10, "cycle-1"), (soc_percent / 4, f"cycle-{workspace_id}")):
        await harness.execute(
            "INSERT INTO parity_cycles (workspace_id, slot_start_at, cycle_id, compared_at, equal,"
            " missing_here, missing_there, older, different, incomparable, samples, why)"
            " VALUES ($1, $2, $3, $2, $4, 0, 0, 0, 0, 0, '[]', NULL)",
            workspace_id,
            datetime.now(UTC) - timedelta(minutes=minutes),
            cycle_id,
            int(soc_percent),
        )


async def _count_an_hour(harness: Harness, workspace_id: str) -> None:
    """Write an hour that was counted in advance."""
    await harness.execute(
        "INSERT INTO indicator_hours (workspace_id, hour, content)"
        " VALUES ($1, date_trunc('hour', $2::timestamptz, 'UTC'), $3)",
        workspace_id,
        ago(2.5),
        f'{{"active": {len(workspace_id)}, "samples": {len(workspace_id)}}}',
    )


async def _set_aside(harness: Harness, workspace_id: str, quarantine_id: int) -> None:
    """Write an update into quarantine under this number, as it would be kept whole."""
    await harness.execute(
        "INSERT INTO quarantine (quarantine_id, workspace_id, provider_id, device_id, reason,"
        " detail, trace_id, sample, origin, is_whole) OVERRIDING SYSTEM VALUE"
        " VALUES ($1, $2, 'live', 'bus-1', 'data_error', $2, 'trace-1', $3, 'http', true)",
        quarantine_id,
        workspace_id,
        dump_update(update(workspace_id, 3, 55)),
    )


async def _fill_what_only_they_have(harness: Harness) -> None:
    # A sync retired their bus-9; a person retired ours.
    await harness.execute(
        "WITH whole AS (INSERT INTO changes (workspace_id, kind, subject, at, who, after)"
        " VALUES ($1, 'sync', $1, clock_timestamp(), 'legacy-sync', '{}') RETURNING change_id)"
        " UPDATE changes SET part_of = whole.change_id FROM whole"
        " WHERE workspace_id = $1 AND subject = 'bus-9' AND after ->> 'retired_at' IS NOT NULL",
        THEIRS,
    )
    await _set_aside(harness, THEIRS, THEIR_ENTRY)
    registry, cycles = harness.stores.registry, harness.stores.cycles
    await registry.put_provider(provider(THEIRS, "only-theirs"))
    await registry.put_devices(THEIRS, [draft("bus-8", vehicle_name=THEIRS, tags=(TAG,))])
    await harness.start_cycle(THEIRS, 4.5, "cycle-8")
    await harness.end_cycle(THEIRS, 4.5, "cycle-8")
    # It started when no cycle of ours did.
    await harness.execute(
        "UPDATE poll_cycles SET started_at = slot_start_at WHERE cycle_id = 'cycle-8'"
    )
    await harness.start_cycle(THEIRS, 1, "cycle-9")
    await harness.end_cycle(THEIRS, 1, "cycle-9")
    await cycles.record_missed(SESSION, THEIRS, [ago(0)])
    await harness.execute(
        "INSERT INTO poll_cycles (workspace_id, slot_start_at, trigger, attempt, cycle_id,"
        " trace_id, requested_at,"
        " outcome) VALUES ($1, $2, 'manual', 1, 'run-1', 'trace-1', $2, 'requested')",
        THEIRS,
        ago(2),
    )
    # A token of their own, to be told from ours.
    await harness.stores.leases.release(SESSION, {workspace_resource(THEIRS): 1})
    await harness.stores.leases.claim(SESSION, [workspace_resource(THEIRS)])
