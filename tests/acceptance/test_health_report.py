"""Acceptance 6, 7 and 8: the health rows to the second, the worklist, and no stored verdict.

A test chooses the instant of evaluation like this. A page's cursor holds the instant at which the
first page was judged. So the test reads the first page, sets the stored times of all other devices
relative to that instant, and reads the second page.
"""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.acceptance.fleets import SILENT, polled
from tests.acceptance.harness import QUICK, eventually, open_harness
from tests.acceptance.shard import device, update

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.harness import Harness
    from tests.acceptance.shard import Shard

STATES = ("healthy", "delayed", "stale", "configured-no-data", "awaiting-first-data")
MICROSECOND = 1e-6
RELAXED = {"delayed_after_seconds": 6500.0, "stale_after_seconds": 6600.0, "grace_seconds": 0.001}


class Row(NamedTuple):
    """A device and its expected verdict. It was last heard `heard` seconds ago, or never (None)."""

    state: str
    reason: str
    heard: float | None = None
    activated: float = 86_400.0  # seconds since its activation
    grace: float | None = None  # the device's own grace, in seconds
    rejected: float | None = None  # seconds since its last refused data
    lag: float = 0.0  # how old its data was at arrival, in seconds


ROWS = [
    Row("healthy", "reporting", heard=180),
    Row("healthy", "reporting", heard=360),
    Row("delayed", "device_silent", heard=360 + MICROSECOND),
    Row("delayed", "device_silent", heard=361),
    Row("delayed", "device_silent", heard=540),
    Row("delayed", "device_silent", heard=900),
    Row("stale", "device_silent", heard=900 + MICROSECOND),
    Row("stale", "device_silent", heard=901),
    Row("delayed", "updates_rejected", heard=540, rejected=30),
    Row("delayed", "device_silent", heard=540, rejected=541),  # accepted after that
    Row("healthy", "provider_delay", heard=180, lag=361),
    Row("delayed", "device_silent", heard=540, lag=361),
    Row("stale", "device_silent", heard=1320),
    Row("awaiting-first-data", "awaiting_first_data", activated=600),
    Row("awaiting-first-data", "awaiting_first_data", activated=3600),
    Row("configured-no-data", "never_reported", activated=3600 + MICROSECOND),
    Row("configured-no-data", "never_reported", activated=3601),
    Row("configured-no-data", "never_reported", activated=3900),
    Row("awaiting-first-data", "awaiting_first_data", activated=60, grace=60),
    Row("configured-no-data", "never_reported", activated=60 + MICROSECOND, grace=60),
]
CLEAR_ROWS = [  # so far from every limit that a slow answer does not change the verdict
    Row("healthy", "reporting", heard=180),
    Row("stale", "device_silent", heard=1320),
    Row("configured-no-data", "never_reported", activated=3900),
    Row("delayed", "device_silent", heard=540),
    Row("stale", "device_silent", heard=90_000, activated=100_000),
    Row("awaiting-first-data", "awaiting_first_data", activated=600),
]
HOURLY_ROWS = [
    Row("healthy", "reporting", heard=4680),
    Row("delayed", "device_silent", heard=4681),
    Row("delayed", "device_silent", heard=11_700),
    Row("stale", "device_silent", heard=11_701),
    Row("awaiting-first-data", "awaiting_first_data", activated=11_700),
    Row("configured-no-data", "never_reported", activated=11_701),
]


@pytest.mark.parametrize(
    ("rows", "connection"),
    [(ROWS, {}), (HOURLY_ROWS, {"expected_update_seconds": 3600})],
    ids=["default", "hourly"],
)
async def test_acceptance_6_and_8_fr_006_sc_06_sc_10_health_rows_hold_to_the_microsecond(
    dsn: str, tmp_path: Path, rows: list[Row], connection: dict[str, Any]
) -> None:
    async with open_harness(dsn, tmp_path, polled("harbour", manners=[SILENT] * 2)) as harness:
        await _configure_rows(harness, rows, connection)
        first = await harness.shard.get("/workspaces/harbour/health", limit=1)
        await _set_times(harness, rows, datetime.fromisoformat(first["evaluated_at"]))
        page = await harness.shard.get(
            "/workspaces/harbour/health", cursor=first["next_cursor"], limit=500
        )

    assert page["evaluated_at"] == first["evaluated_at"]
    said = [
        (item["state"], item["reason"], item["freshness_age_seconds"]) for item in page["items"]
    ]
    assert said == [(row.state, row.reason, row.heard) for row in rows]
    assert [item["device_id"] for item in page["items"]] == [
        _name(number) for number in range(len(rows))
    ]
    counts = {state: sum(row.state == state for row in rows) for state in STATES}
    counts["awaiting-first-data"] += 1  # the device of the first page
    assert page["counts"] == counts
    for item in page["items"]:
        name = item["device_id"]
        assert (item["vehicle_id"], item["vehicle_name"]) == (f"vehicle-{name}", f"Bus {name}")
        assert item["evidence"]["last_cycle_outcome"] == "completed"
        assert item["evidence"]["owner"] == "shard-1"


async def test_nfr_004_acceptance_8_sc_10_a_breach_of_grace_shows_at_the_next_request(
    dsn: str, tmp_path: Path
) -> None:
    """Ask again and again until after the end of the grace, by the real clock."""
    async with open_harness(dsn, tmp_path) as harness:
        await harness.shard.add_pushed_fleet(
            "harbour", ["bus-1"], thresholds=QUICK | {"grace_seconds": 1.5}
        )
        (stored,) = (await harness.shard.get("/workspaces/harbour/devices"))["items"]
        ends_at = datetime.fromisoformat(stored["activated_at"]) + timedelta(seconds=1.5)
        answers: list[tuple[datetime, list[Any]]] = []
        while not answers or answers[-1][0] <= ends_at + timedelta(seconds=0.3):
            report = await harness.shard.health("harbour")
            issues = await harness.shard.get("/workspaces/harbour/issues")
            answers += [
                (datetime.fromisoformat(each["evaluated_at"]), each["items"])
                for each in (report, issues)
            ]

    within = [items for evaluated_at, items in answers if evaluated_at <= ends_at]
    after = [items for evaluated_at, items in answers if evaluated_at > ends_at]
    assert {item["state"] for items in within for item in items} == {"awaiting-first-data"}
    assert {item["state"] for items in after for item in items} == {"configured-no-data"}
    assert all(len(items) == 1 for items in after)


async def test_acceptance_7_fr_007_sc_07_the_worklist_has_reason_and_recency(
    dsn: str, tmp_path: Path
) -> None:
    async with open_harness(dsn, tmp_path, polled("harbour", manners=[SILENT] * 2)) as harness:
        await _configure_rows(harness, CLEAR_ROWS, {})
        instant = await harness.now()
        await _set_times(harness, CLEAR_ROWS, instant)
        report = await harness.shard.get("/workspaces/harbour/issues", limit=100)
        worklist = await harness.shard.get("/worklist", limit=100)
        text = (
            await harness.shard.ask("GET", "/workspaces/harbour/issues?format=csv")
        ).body.decode()
        second = await harness.shard.get("/workspaces/harbour/issues", limit=2)

    items = report["items"]
    assert [(item["device_id"], item["state"], item["reason"]) for item in items] == [
        (_name(number), CLEAR_ROWS[number].state, CLEAR_ROWS[number].reason) for number in (4, 2, 1)
    ]
    waited = (datetime.fromisoformat(report["evaluated_at"]) - instant).total_seconds()
    silences = [item["silent_for_seconds"] - waited for item in items]
    assert silences == [pytest.approx(age, abs=1e-3) for age in (90_000, 3900, 1320)]
    assert [item["last_update_received_at"] is None for item in items] == [False, True, False]
    grace_ended_at = datetime.fromisoformat(items[1]["configured_at"]) + timedelta(hours=1)
    assert datetime.fromisoformat(items[1]["grace_exceeded_at"]) == grace_ended_at
    assert [_stable(item) for item in worklist["items"]] == [_stable(item) for item in items]
    assert [_stable(item) for item in second["items"]] == [_stable(item) for item in items[:2]]
    rows = list(csv.DictReader(io.StringIO(text)))
    names = ("vehicle_name", "state", "reason", "last_update_received_at", "configured_at")
    assert [[row[name] for name in names] for row in rows] == [
        [item[name] or "" for name in names] for item in items
    ]


async def test_acceptance_7_sc_11_an_empty_worklist_has_the_same_shape(
    dsn: str, tmp_path: Path
) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard = harness.shard
        await shard.add_pushed_fleet("harbour", ["bus-1"])
        await shard.add_pushed_fleet("empty", [])
        assert await shard.outcomes(
            update("harbour", "bus-1", await harness.now(), soc_percent=61)
        ) == ["accepted"]
        reports = [
            await shard.get(f"/workspaces/{name}/issues")
            for name in ("harbour", "harbour", "empty")
        ]
        worklist = await shard.get("/worklist")
        health = [await shard.get("/workspaces/empty/health") for _ in range(2)]

    none, one = dict.fromkeys(STATES, 0), dict.fromkeys(STATES, 0) | {"healthy": 1}
    plain: dict[str, Any] = {
        "workspace_active": True,
        "time_zone": "UTC",
        "workspace_outage": None,
        "served_by": "core",
        "items": [],
        "next_cursor": None,
    }
    assert [_without_instants(report) for report in reports] == [
        {"workspace_id": "harbour", "counts": one, **plain},
        {"workspace_id": "harbour", "counts": one, **plain},
        {"workspace_id": "empty", "counts": none, **plain},
    ]
    assert [_without_instants(report) for report in health] == [
        {"workspace_id": "empty", "counts": none, **plain},
    ] * 2
    assert _without_instants(worklist) == {
        "counts": one,
        "items": [],
        "next_cursor": None,
        "unavailable_workspaces": [],
    }


async def test_fr_012_d_009_shards_compute_the_same_and_store_no_verdict(
    dsn: str, tmp_path: Path
) -> None:
    """Reading writes nothing, no row has a state, and a new policy takes effect without writes."""
    buses = [f"bus-{number}" for number in range(4)]
    async with open_harness(dsn, tmp_path, shards=("shard-1", "shard-2")) as harness:
        one, other = harness.shards
        await one.add_pushed_fleet("harbour", buses)
        await one.ingest(
            *[update("harbour", bus, await harness.now(), soc_percent=61) for bus in buses[:3]]
        )
        await _age(harness, {"bus-0": 60, "bus-1": 600, "bus-2": 6000})
        before = await _dump(harness)
        states = [await _states(shard, buses) for shard in (one, other, one)]
        for path in ("issues", "snapshots", "devices/bus-1/events"):
            await other.get(f"/workspaces/harbour/{path}")
        await other.get("/worklist")
        assert await _dump(harness) == before

        await one.set_thresholds("harbour", RELAXED)
        relaxed = await _states(other, buses)
        after = await _dump(harness)

    assert states == [["healthy", "delayed", "stale", "awaiting-first-data"]] * 3
    assert relaxed == ["healthy", "healthy", "healthy", "configured-no-data"]
    changed = {name for name, rows in after.items() if rows != before[name]}
    assert changed == {"workspaces", "changes"}, "the policy, and who changed it"
    # Entries of changes hold what people configured, and so the names of thresholds.
    facts = [row for name, rows in before.items() if name != "changes" for row in rows]
    said = {value for row in facts for value in _texts(row)}
    assert [text for text in said if any(state in text for state in STATES)] == []


# --- rows


def _name(number: int) -> str:
    return f"row-{number:02d}"


async def _configure_rows(harness: Harness, rows: list[Row], connection: dict[str, Any]) -> None:
    """Configure the rows' devices on a connection that works but has no data of them.

    A cycle has just been completed, so the connection is not at fault.
    """
    shard = harness.shard
    (tenant,) = (each.tenant for each in harness.simulator.providers)
    await shard.add_workspace("harbour", interval=300)
    await shard.add_provider("harbour", "rfms", **harness.connection_of(tenant) | connection)
    first = device("rfms", "a-device-for-the-first-page")
    others = [
        device(
            "rfms",
            _name(number),
            **({"overrides": {"grace_seconds": row.grace}} if row.grace else {}),
        )
        for number, row in enumerate(rows)
    ]
    await shard.post("/workspaces/harbour/devices/import", {"devices": [first, *others]})
    await shard.post("/workspaces/harbour/cycles", {"when": "now"})
    await eventually(lambda: _last_outcome(shard), "completed")


async def _last_outcome(shard: Shard) -> str:
    cycles = await shard.cycles("harbour")
    return str(cycles[0]["outcome"]) if cycles else "none"


async def _set_times(harness: Harness, rows: list[Row], instant: datetime) -> None:
    """Store the times of the rows, as the collector would have.

    The provider named every device three seconds ago.
    """
    for number, row in enumerate(rows):
        heard_at = None if row.heard is None else instant - timedelta(seconds=row.heard)
        observed_at = None if heard_at is None else heard_at - timedelta(seconds=row.lag)
        rejected_at = None if row.rejected is None else instant - timedelta(seconds=row.rejected)
        await harness.execute(
            "UPDATE device_state SET last_update_received_at = $2, last_observed_at = $3,"
            " last_rejected_at = $4, statement = 'named', statement_begun_at = $5,"
            " statement_at = $5 WHERE device_id = $1",
            _name(number),
            heard_at,
            observed_at,
            rejected_at,
            instant - timedelta(seconds=3),
        )
        activated_at = instant - timedelta(seconds=row.activated)
        await harness.execute(
            "UPDATE devices SET activated_at = $2 WHERE device_id = $1", _name(number), activated_at
        )


async def _age(harness: Harness, ages: dict[str, int]) -> None:
    for device_id, seconds in ages.items():
        await harness.execute(
            "UPDATE device_state SET last_update_received_at ="
            " clock_timestamp() - make_interval(secs => $2) WHERE device_id = $1",
            device_id,
            seconds,
        )


# --- answers and stored rows


async def _states(shard: Shard, device_ids: list[str]) -> list[str]:
    verdicts = await shard.verdicts("harbour")
    return [verdicts[device_id][0] for device_id in device_ids]


def _without_instants(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report without its instants: it is judged when its devices were counted."""
    rest = dict(report)
    assert rest.pop("counted_at") == rest.pop("evaluated_at")
    return rest


def _stable(item: dict[str, Any]) -> dict[str, Any]:
    """Return the item without the fields that change from one request to the next."""
    moving = ("silent_for_seconds", "away_for_seconds", "freshness_age_seconds", "evidence")
    return {name: value for name, value in item.items() if name not in moving}


async def _dump(harness: Harness) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table, except those that a shard writes without being asked.

    Those are its session with the writers' unit numbers, heartbeat, leases and poll cycles.
    """
    tables = await harness.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition"
        " AND relname NOT IN ('heartbeats', 'sessions', 'session_writers', 'leases',"
        " 'poll_cycles')"
    )
    return {
        table["relname"]: await harness.fetch(
            f'SELECT t.*, t.ctid::text FROM "{table["relname"]}" t ORDER BY ctid'
        )
        for table in tables
    }


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a row, at any depth."""
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _texts(item)
        case list() | tuple():
            for item in value:
                yield from _texts(item)
        case _:
            pass
