"""B4: 10,000 workspaces of one device in one shard, each polled at its own instant.

The quick form has 1,000 workspaces at 30 s: as many starts a second. A start's lateness is the
distance from the instant that the schedule gives it to the line that the shard logs when it begins.
Core time is the shard's own process; PostgreSQL's is told beside it.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psutil
import trio

from benchmarks import cores
from benchmarks.figure import Figure
from benchmarks.many_workspaces import Fleets, make_rows, open_maker, open_shard, prepare
from benchmarks.place import fetch
from benchmarks.verification import require
from domain import schedule
from domain.schedule import Place as SchedulePlace
from domain.schedule import Start

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.many_workspaces import Prepared
    from benchmarks.place import Place
    from benchmarks.service import Service

FULL, QUICK = Fleets(10_000, 1, 300), Fleets(1_000, 1, 30)
SETTLE_SECONDS: Final = 5.0
MAX_LATE_MS: Final = (50.0, 250.0)  # of 99 and 99.9 of a hundred starts
MAX_KB: Final = 20.0
MAX_CORE, MAX_CORE_OF_LEGACY = 15.0, 5.0  # per cent
_LEGACY: Final = """UPDATE workspaces SET poll_owner = 'legacy', read_owner = 'legacy',
    config_version = config_version + 1, cutover_revision = cutover_revision + 1"""
_OUTCOMES: Final = """SELECT outcome, count(*) FROM poll_cycles
    WHERE slot_start_at >= $1 AND slot_start_at < $2 GROUP BY outcome"""


class Begun(NamedTuple):
    """A start by the shard's own log: what the schedule wanted, and when the line was written."""

    trigger: str
    planned_at: datetime
    begun_at: datetime

    @property
    def late_ms(self) -> float:
        return 1000 * (self.begun_at - self.planned_at).total_seconds()


class Use(NamedTuple):
    """Core time in per cent of a core, over the same time."""

    shard: float
    server: float
    since: datetime
    until: datetime


async def measure(place: Place, quick: bool) -> list[Figure]:
    """Return the figures of starts, lateness, memory and core time."""
    fleets = QUICK if quick else FULL
    made = await prepare(place)
    async with open_maker(made.tree) as (_, address):
        idle_bytes = await _weigh_idle(made, fleets)
        await make_rows(made.dsn, fleets, address)
        async with open_shard(made, fleets) as service:
            await trio.sleep(fleets.interval + SETTLE_SECONDS)
            core = await _watch(place, service, fleets.interval)
            grown = psutil.Process(service.pid).memory_info().rss - idle_bytes
            begun = read_starts(service.read_records(), fleets.interval)
            await fetch(made.dsn, _LEGACY)
            await trio.sleep(fleets.interval / 10 + SETTLE_SECONDS)
            legacy = await _watch(place, service, fleets.interval)
        require(await _check(made, fleets, core, "completed"))
        require(await _check(made, fleets, legacy, "skipped"))
    return judge(fleets, begun, (core, legacy), grown / 1024)


async def _weigh_idle(made: Prepared, fleets: Fleets) -> int:
    """Return the resident bytes of a shard that owns nothing."""
    async with open_shard(made, fleets._replace(workspaces=0)) as service:
        await trio.sleep(SETTLE_SECONDS)
        return int(psutil.Process(service.pid).memory_info().rss)


async def _watch(place: Place, service: Service, seconds: float) -> Use:
    ((since,),) = await fetch(place.dsn, "SELECT clock_timestamp()")
    own, server = cores.of_process(service.pid), place.core_seconds()
    began = trio.current_time()
    await trio.sleep(seconds)
    took = trio.current_time() - began
    own, server = cores.of_process(service.pid) - own, place.core_seconds() - server
    ((until,),) = await fetch(place.dsn, "SELECT clock_timestamp()")
    return Use(100 * own / took, 100 * server / took, since, until)


async def _check(made: Prepared, fleets: Fleets, use: Use, outcome: str) -> list[str]:
    """Return what is wrong with the cycles of the time watched: each workspace has one a slot."""
    rows: dict[str, int] = dict(await fetch(made.dsn, _OUTCOMES, use.since, use.until))
    expected = fleets.workspaces * (use.until - use.since).total_seconds() / fleets.interval
    good = rows.get(outcome, 0)
    if good < 0.98 * expected:
        return [f"cycles: {good} were {outcome} of about {expected:.0f}, all: {rows}"]
    return []


def read_starts(records: Iterable[dict[str, Any]], interval: int) -> list[Begun]:
    """Return the starts in a log. A late start is planned for when it was recorded for."""
    found = []
    for record in records:
        if record["event"] != "workspace_poll_cycle_triggered":
            continue
        slot = datetime.fromisoformat(record["slot_at"])
        planned = datetime.fromisoformat(record["cycle_started_at"])
        if record["trigger"] == "schedule" and record["attempt"] == 1:
            planned = _regular(record["workspace_id"], slot, interval).start_at
        begun_at = datetime.fromisoformat(record["timestamp"])
        found.append(Begun(record["trigger"], planned, begun_at))
    return sorted(found, key=lambda one: one.begun_at)


def _regular(workspace_id: str, slot: datetime, interval: int) -> Start:
    """Return the regular start of a slot. The workspaces are numbered by their ordinals."""
    place = SchedulePlace(workspace_id, int(workspace_id[1:]), interval)
    return schedule.next_start(slot - timedelta(microseconds=1), place)


def judge(
    fleets: Fleets, begun: Sequence[Begun], uses: tuple[Use, Use], grown_kb: float
) -> list[Figure]:
    bound = schedule.starts_bound({fleets.interval: fleets.workspaces - 1})
    regular = [one for one in begun if one.trigger == "schedule"]
    late = sorted(one.late_ms for one in regular)
    core, legacy = uses
    worst, worst_of_all = fullest_second(regular), fullest_second(begun)
    triggers = Counter(one.trigger for one in begun)
    each = grown_kb / fleets.workspaces
    return [
        Figure("B4 regular starts in a second", worst, bound, True, {"starts": len(regular)}),
        Figure("B4 all starts in a second", worst_of_all, 2 * bound, True, dict(triggers)),
        Figure("B4 lateness p99, ms", share_of(late, 0.99), MAX_LATE_MS[0], True),
        Figure("B4 lateness p99.9, ms", share_of(late, 0.999), MAX_LATE_MS[1], True),
        Figure("B4 kB a workspace", each, MAX_KB, True, {"grown_kb": grown_kb}),
        Figure("B4 core, %", core.shard, MAX_CORE, True, {"server_percent": core.server}),
        Figure(
            "B4 core with poll_owner=legacy, %",
            legacy.shard,
            MAX_CORE_OF_LEGACY,
            True,
            {"server_percent": legacy.server},
        ),
    ]


def fullest_second(begun: Sequence[Begun]) -> int:
    """Return the most starts in any second, by the instants that were planned."""
    instants = sorted(one.planned_at.timestamp() for one in begun)
    first, most = 0, 0
    for place, instant in enumerate(instants):
        while instants[first] <= instant - 1:
            first += 1
        most = max(most, place - first + 1)
    return most


def share_of(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of the values does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
