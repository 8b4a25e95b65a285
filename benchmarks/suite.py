"""The benchmarks of `make bench`, by their id: each measures, verifies, and returns its figures.

Owns the list of what there is. A benchmark is a coroutine function in a module of its own; it
raises NotVerified when the work that was timed was not done right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks import (
    cold_start,
    counted_health,
    deep_history,
    fleet_streams,
    http_ingest,
    many_schedules,
    outage,
    unit_cost,
    zabbix_values,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from benchmarks.figure import Figure
    from benchmarks.place import Place

    Measure = Callable[[Place, bool], Awaitable[list[Figure]]]  # the place, and whether quick


class Benchmark(NamedTuple):
    """One row of the table: what is measured, and how. `is_quick`: part of `make bench-quick`."""

    title: str
    measure: Measure
    is_quick: bool = False


SUITE: Mapping[str, Benchmark] = {
    "B1": Benchmark(
        "frames of 20 streams and 5,000 vehicles, until readable", fleet_streams.measure, True
    ),
    "B2": Benchmark("updates from the mailbox to the commit", unit_cost.measure_rate, True),
    "B3": Benchmark("the same, in rates of transactions of one", unit_cost.measure_singles),
    "B4": Benchmark(
        "10,000 workspaces in one shard: starts, lateness, memory, core", many_schedules.measure
    ),
    "B5": Benchmark(
        "first page and counts of health, issues and worklist, against `SELECT 1`",
        counted_health.measure,
        True,
    ),
    "B6": Benchmark(
        "updates over /ingest, requests of 100 and 500, 8 clients", http_ingest.measure, True
    ),
    "B7": Benchmark("the database away for a minute at half load: the backlog", outage.measure),
    "B8": Benchmark("cold start of 10,000 workspaces, 100,000 devices", cold_start.measure),
    "B9": Benchmark("30 days of history, 5 million events: what they slow", deep_history.measure),
    "B10": Benchmark("values a second, against Zabbix on the same server", zabbix_values.measure),
    "B11": Benchmark("bytes and log of an update", unit_cost.measure_sizes),
}
