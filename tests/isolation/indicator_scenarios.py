"""The scenarios of indicators: read from facts and rollups, and hours counted in advance."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.isolation.fleets import BASE, OURS, SESSION, Harness, ago
from tests.isolation.scenario import drives

SOON = BASE + timedelta(hours=4)  # behind everything that the databases were filled with
LONG_CONFIGURED = f"UPDATE workspaces SET created_at = '{ago(20).isoformat()}'"
EDGES = tuple(
    f"""
    INSERT INTO connection_events (workspace_id, provider_id, at, kind)
    SELECT workspace_id, 'live',
           '{ago(hours).isoformat()}'::timestamptz + length(workspace_id) * interval '1 minute',
           CASE workspace_id WHEN 'ours' THEN '{ours}' ELSE '{theirs}' END
    FROM providers WHERE provider_id = 'live'
    """
    for hours, ours, theirs in (
        (9, "stream_opened", "stream_closed"),
        (4, "stream_closed", "stream_opened"),
        (3, "stream_opened", "stream_closed"),
    )
)

# Ours went on until three hours ago. Theirs has a cycle that is open since, and went on later.
NOTHING_OPEN = (
    "DELETE FROM poll_cycles WHERE workspace_id = 'ours'",
    f"""
    INSERT INTO poll_cycles (workspace_id, slot_start_at, trigger, attempt, cycle_id, trace_id,
                             outcome)
    VALUES ('ours', '{ago(3).isoformat()}', 'schedule', 1, 'cycle-3', 'trace-3', 'failed')
    """,
    f"""
    UPDATE poll_cycles SET slot_start_at = '{ago(8).isoformat()}'
    WHERE workspace_id = 'theirs' AND outcome = 'requested'
    """,
)
THEIRS_ARE_COUNTED = """
    INSERT INTO indicator_hours (workspace_id, hour, content)
    SELECT 'theirs', hour, '{}' FROM generate_series(
        date_trunc('hour', now() - interval '30 hours', 'UTC'), now(), interval '1 hour'
    ) AS h (hour)
    WHERE EXISTS (SELECT FROM providers WHERE workspace_id = 'theirs')
    ON CONFLICT DO NOTHING
"""
OTHERS_ARE_YOUNG = """
    UPDATE workspaces SET created_at = now()
    WHERE NOT EXISTS (SELECT FROM providers p WHERE p.workspace_id = workspaces.workspace_id)
"""


@drives(
    *("read_freshness", "list_indicator_hours", "sum_indicator_hours", "list_cycles_of_spans"),
    *("count_refused_of_spans", "count_lags_of_spans", "list_stream_edges", "count_covered"),
    "sum_burn_windows",
    prepared=(LONG_CONFIGURED, *EDGES),
)
async def read_indicators(harness: Harness) -> Any:
    load = harness.stores.indicators.load_indicators
    facts = await load(OURS, ago(6.5), SOON)
    assert facts is not None
    # Ages and lags grow with the time that the run took.
    timeless = {name: n for name, n in facts.counts.items() if not name.startswith("lag ")}
    lags = sum(n for name, n in facts.counts.items() if name.startswith("lag "))
    freshness = facts.freshness
    return (
        (freshness.active, freshness.heard, freshness.fresh, freshness.target_seconds),
        facts._replace(freshness=None, counts=None, spans=None),  # type: ignore[arg-type]
        (timeless, lags),
        [(span.begins_at, sum(span.counts.values())) for span in facts.spans],
        await load("nowhere", ago(6.5), SOON),
    )


@drives("list_in_use")
async def list_our_workspaces(harness: Harness) -> Any:
    found = await harness.stores.reads.list_in_use(frozenset([OURS, "nowhere"]))
    everybodys = await harness.stores.reads.list_in_use(None)
    return found, [one for one in everybodys if one.workspace_id == OURS]


@drives("sum_objectives", prepared=(LONG_CONFIGURED, *EDGES))
async def sum_our_objective(harness: Harness) -> Any:
    return await harness.stores.indicators.sum_objectives([OURS, "nowhere"], ago(6.5), SOON)


SILENT = "DELETE FROM events WHERE workspace_id = 'ours'"
PATIENT = """
    UPDATE workspaces SET freshness_target_seconds = 50000, delayed_after_seconds = 50000,
                          stale_after_seconds = 60000
"""


@drives("count_covered", prepared=(LONG_CONFIGURED, SILENT))
async def read_indicators_of_a_silent_fleet(harness: Harness) -> Any:
    facts = await harness.stores.indicators.load_indicators(OURS, ago(0), SOON)
    assert facts is not None
    return facts.active, facts.covered


@drives("count_devices_at", "record_missed", prepared=(SILENT, PATIENT))
async def miss_a_slot_of_a_silent_fleet(harness: Harness) -> Any:
    return await harness.stores.cycles.record_missed(SESSION, OURS, [SOON])


@drives(
    *("find_settled_hours", "write_indicator_hour"),
    prepared=(LONG_CONFIGURED, *NOTHING_OPEN, THEIRS_ARE_COUNTED, OTHERS_ARE_YOUNG),
)
async def count_hours_in_advance(harness: Harness) -> Any:
    return await harness.stores.rollups.build_hours(hours_back=12, most=100)
