"""The figures that the process keeps anyway, as metrics: read when they are asked for.

Owns their names and meanings. One function for each part of the process. Names end with the unit,
or with `_total` for what only grows; the client library adds that ending.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric

    from api.traffic import HttpStatistics
    from lastheard.process_statistics import ProcessTotals
    from ports.reads import FleetFigures

AGE_BOUNDS: Final = (30, 60, 120, 300, 600, 900, 1800, 3600, 14_400, 86_400)
FATES: Final = ("merged", "ignored", "malformed")
SPAN_FATES: Final = ("sent", "dropped", "lost")


class Scraped(NamedTuple):
    """Everything that one scrape shows besides the histograms.

    `fleet` is None while the database is away. `by_workspace`: it has a workspace's states apart.
    """

    totals: ProcessTotals
    checks: Mapping[str, bool]
    fleet: FleetFigures | None
    by_workspace: bool
    database_is_up: bool
    version: str
    schema_revision: str


def families(scraped: Scraped) -> Iterator[Metric]:
    """Return every family, each once."""
    totals = scraped.totals
    yield from _process(scraped)
    yield from _ownership(totals)
    yield from _ingest(totals)
    yield from _lanes(totals)
    yield from _streams(totals)
    yield from _providers(totals)
    yield from _http({"api": totals.http, "probes": totals.probes})
    yield from _live_pages(totals)
    yield from _pools(totals)
    yield from _devices(scraped)


def _process(scraped: Scraped) -> Iterator[Metric]:
    totals, shard = scraped.totals, scraped.totals.shard
    labels = {"version": scraped.version, "schema_revision": scraped.schema_revision}
    yield InfoMetricFamily("lastheard_build", "What runs.", labels | {"shard_id": shard.shard_id})
    yield _gauges("ready", "1: the check of readiness passes", "check", scraped.checks)
    yield _gauge("database_up", "1: the database answers", scraped.database_is_up)
    supervisors = (totals.actors, totals.owned.actors)
    yield _gauges2(
        "actors",
        "Tasks of this process, by their supervisor and state",
        ("supervisor", "state"),
        [(one.name, state, n) for one in supervisors for state, n in one.states.items()],
    )
    crashes = {one.name: one.crashes for one in supervisors}
    yield _counters("actor_crashes", "Crashes of tasks", "supervisor", crashes)
    days = totals.upkeep.partition_days_ahead
    known = [] if days is None else [(86_400.0 * days,)]  # None before the first look
    yield _gauges2("partitions_ahead_seconds", "For how long there are partitions", (), known)
    behind = totals.rollups.behind
    yield _gauge("rollups_behind", "1: more hours of indicators wait than a run counts", behind)
    traces = totals.traces
    fates = {} if traces is None else {name: getattr(traces, name) for name in SPAN_FATES}
    yield _counters("spans", "Spans for the collector of traces, by fate", "fate", fates)
    lines = totals.http.log_lines_suppressed
    yield _counter("log_lines_suppressed", "Log lines beyond the bound of one key", lines)


def _ownership(totals: ProcessTotals) -> Iterator[Metric]:
    shard = totals.shard
    yield _gauge("leases_held", "Workspaces that this shard runs", len(totals.owned.workspaces))
    leaving = len(shard.leaving)
    yield _gauge("leases_leaving", "Workspaces that are being handed over", leaving)
    free = shard.assignment.seen_free
    yield _gauge("leases_free", "Workspaces without an owner in the newest round", free)
    yield _counter("leases_claimed", "Leases that this shard took", shard.claimed)
    yield _counter("leases_released", "Leases that this shard gave back", shard.released)
    yield _counter(
        "takeovers",
        "Sessions of other shards that this one declared dead, to take over their work",
        shard.declared_dead,
    )
    yield _counter("heartbeats", "Heartbeats that were renewed", shard.beats)
    rejoined = shard.rejoined
    yield _counter("session_rejoins", "Sessions begun after this process's own was over", rejoined)
    yield _gauge("session_trusted", "1: the shard may believe in its session", shard.trusted)
    yield _gauge("paused", "1: started to collect nothing", shard.paused)
    yield _gauge("draining", "1: it hands over everything", shard.draining)


def _ingest(totals: ProcessTotals) -> Iterator[Metric]:
    ingest = totals.ingest
    yield _gauge("ingest_failing", "1: the newest commit failed", ingest.failing)
    yield _counters("updates", "Updates with a verdict, by outcome", "outcome", ingest.outcomes)
    yield _counter("updates_submitted", "Updates that were submitted", ingest.submitted)
    yield _gauge("updates_pending", "Updates without a verdict", ingest.pending)
    reasons = ingest.reasons
    yield _counters("updates_refused", "Updates that were refused, by reason", "reason", reasons)
    deferred = ingest.deferred
    yield _gauge("deferred_updates", "Updates that wait for a locked row", deferred.updates)
    yield _gauge("deferred_oldest_seconds", "Age of the oldest of them", deferred.oldest_seconds)


def _lanes(totals: ProcessTotals) -> Iterator[Metric]:
    lanes = totals.ingest.mailbox.lanes
    waiting = {name: lane.waiting_size for name, lane in lanes.items()}
    yield _gauges("lane_depth_updates", "Updates that wait in a lane", "lane", waiting)
    limits = {name: lane.capacity for name, lane in lanes.items()}
    yield _gauges("lane_limit_updates", "Updates that a lane holds at most", "lane", limits)
    oldest = {name: lane.oldest_waiting_seconds for name, lane in lanes.items()}
    yield _gauges("lane_oldest_waiting_seconds", "Age of the oldest in a lane", "lane", oldest)
    parked = {name: lane.parked_senders for name, lane in lanes.items()}
    yield _gauges("lane_parked_senders", "Senders that wait for room in a lane", "lane", parked)
    taken = {name: lane.accepted_size for name, lane in lanes.items()}
    yield _counters("lane_accepted_updates", "Updates that a lane took", "lane", taken)
    refused = {name: lane.refused_items for name, lane in lanes.items()}
    yield _counters("lane_refused", "Submissions that a full lane refused", "lane", refused)


def _streams(totals: ProcessTotals) -> Iterator[Metric]:
    owned = totals.owned
    states = {"open": owned.streams_open, "closed": owned.streams_closed}
    yield _gauges("streams", "Streams of this shard, by the state of the socket", "state", states)
    frames = totals.shard.frames
    received = frames.get("received", 0)
    yield _counter("frames_received", "Frames of streams that arrived", received)
    fates = {fate: frames.get(fate, 0) for fate in FATES}
    yield _counters("frames", "Frames of streams, by what became of them", "fate", fates)


def _providers(totals: ProcessTotals) -> Iterator[Metric]:
    pools = {"providers": totals.provider_http, "legacy": totals.legacy_http}
    busy = {name: pool.in_flight for name, pool in pools.items()}
    yield _gauges("outbound_calls_in_flight", "HTTP calls that are under way", "pool", busy)
    waiting = {name: pool.waiting for name, pool in pools.items()}
    yield _gauges("outbound_calls_waiting", "HTTP calls that wait for their turn", "pool", waiting)
    received = {name: pool.bytes_received for name, pool in pools.items()}
    yield _counters("outbound_received_bytes", "Bodies of answers, as sent", "pool", received)
    dialled = totals.outbound
    results = {"connected": dialled.connected, "refused": dialled.refused}
    text = "Connections to other services: opened, and refused by the allowance"
    yield _counters("outbound_connections", text, "result", results)


def _http(listeners: Mapping[str, HttpStatistics]) -> Iterator[Metric]:
    in_flight = {name: one.in_flight for name, one in listeners.items()}
    text = "Requests that are being answered"
    yield _gauges("http_requests_in_flight", text, "listener", in_flight)
    is_open = {name: one.connections_open for name, one in listeners.items()}
    yield _gauges("http_connections", "Open connections of clients", "listener", is_open)
    refused = [(name, why, n) for name, one in listeners.items() for why, n in one.refused.items()]
    yield _counters2("http_refused", "Requests refused by a limit", ("listener", "limit"), refused)
    wrong = {name: one.wrong_keys for name, one in listeners.items()}
    yield _counters("http_wrong_keys", "Requests with a wrong key", "listener", wrong)
    late = {name: one.deadlines_passed for name, one in listeners.items()}
    yield _counters("http_deadlines", "Requests without an answer in time", "listener", late)


def _live_pages(totals: ProcessTotals) -> Iterator[Metric]:
    live = totals.live
    yield _gauge("live_pages", "Open pages that keep themselves true", live.pages)
    yield _counter("live_pages_opened", "Live pages that were opened", live.opened)
    yield _counter("live_rounds", "Rounds of looking for what live pages must show", live.ticks)
    yield _gauge("live_round_seconds", "Work of the newest of these rounds", live.tick_core_seconds)
    yield _gauge("live_failing", "1: the newest of these rounds failed", live.is_failing)


def _pools(totals: ProcessTotals) -> Iterator[Metric]:
    pools = totals.database.pools
    sizes = {name: pool.pool_size for name, pool in pools.items()}
    yield _gauges("database_connections_limit", "Connections of a pool at most", "pool", sizes)
    busy = {name: pool.in_use for name, pool in pools.items()}
    yield _gauges("database_connections_in_use", "Connections that work", "pool", busy)
    idle = {name: pool.idle for name, pool in pools.items()}
    yield _gauges("database_connections_idle", "Open connections without work", "pool", idle)
    waiting = {name: pool.waiting for name, pool in pools.items()}
    yield _gauges("database_calls_waiting", "Calls that wait for a connection", "pool", waiting)
    calls = {name: pool.calls for name, pool in pools.items()}
    yield _counters("database_calls", "Calls of the database", "pool", calls)
    late = {name: pool.deadlines for name, pool in pools.items()}
    yield _counters("database_deadlines", "Calls without an answer in time", "pool", late)
    opened = {name: pool.opened for name, pool in pools.items()}
    yield _counters("database_connections_opened", "Connections opened", "pool", opened)
    reruns = {name: pool.reruns for name, pool in pools.items()}
    yield _counters("database_reruns", "Work that ran again after a conflict", "pool", reruns)


def _devices(scraped: Scraped) -> Iterator[Metric]:
    fleet = scraped.fleet
    if fleet is None:
        return
    totals: dict[str, int] = {}
    for counts in fleet.states.values():
        for state, n in counts.items():
            totals[state.value] = totals.get(state.value, 0) + n
    yield _gauges("devices", "Devices of this shard's workspaces, by state", "state", totals)
    if scraped.by_workspace:
        apart = [
            (name, state.value, n)
            for name, counts in sorted(fleet.states.items())
            for state, n in counts.items()
        ]
        yield _gauges2(
            "workspace_devices", "Devices of a workspace, by state", ("workspace", "state"), apart
        )
    bounds = [*(f"{bound:.1f}" for bound in AGE_BOUNDS), "+Inf"]
    buckets = list(zip(bounds, accumulate(fleet.ages), strict=True))
    text = "How long ago the devices were heard that ever were; now, not since the start"
    yield GaugeHistogramMetricFamily(
        "lastheard_device_age_seconds", f"{text}.", buckets, fleet.age_sum_seconds
    )


# --- Families of one value, of one label, and of two


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"lastheard_{name}", f"{text}.", float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"lastheard_{name}", f"{text}.", float(value))


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _gauges2(name, text, (label,), values.items())


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _counters2(name, text, (label,), values.items())


def _gauges2(
    name: str, text: str, labels: tuple[str, ...], rows: Iterable[tuple[str | float, ...]]
) -> Metric:
    family = GaugeMetricFamily(f"lastheard_{name}", f"{text}.", labels=labels)
    for *values, value in rows:
        family.add_metric([str(one) for one in values], float(value))
    return family


def _counters2(
    name: str, text: str, labels: tuple[str, ...], rows: Iterable[tuple[str | float, ...]]
) -> Metric:
    family = CounterMetricFamily(f"lastheard_{name}", f"{text}.", labels=labels)
    for *values, value in rows:
        family.add_metric([str(one) for one in values], float(value))
    return family
