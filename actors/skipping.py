"""Cycles of a workspace that the legacy system collects: recorded, and nothing more.

Owns their summary and their records. Such a cycle has no run: it is stored once, as ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.cycle_ends import EndedRun
from actors.records import log_cycle_end
from domain.asking import LEGACY_COLLECTS
from domain.cycles import CycleEnd, CycleOutcome
from domain.lifecycle import COLLECTED, CYCLE_TRIGGERED, triggered_fields
from runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.fleet import FleetView
    from domain.cutover import Cutover
    from ports.cycles import CycleStart, WantedCycle

# As a cycle that asked no connection sums itself up.
SKIPPED_SUMMARY: Final[Mapping[str, Any]] = {
    "connections": {},
    "records": 0,
    "updates": 0,
    "outcomes": {},
    "unconfirmed": 0,
    "malformed": 0,
    "superseded": 0,
    "unknown_dropped": 0,
    "device_errors": 0,
    "refused_signals": {},
    COLLECTED: {},
    "skipped": LEGACY_COLLECTS,
}


def note_skipped(view: FleetView, start: CycleStart, wanted: WantedCycle, flags: Cutover) -> None:
    """Log a cycle that was recorded as skipped, and tell the cutover actor. Never blocks."""
    key, trace_id, at = start.key, wanted.trace_id, start.started_at
    assert at is not None  # noqa: S101 a recorded start has an instant
    log = get_logger("cycle").bind(
        workspace_id=key.workspace_id, cycle_id=start.cycle_id, trace_id=trace_id
    )
    log.info(CYCLE_TRIGGERED, **triggered_fields(key, at))
    end = CycleEnd(key, start.cycle_id, at, CycleOutcome.SKIPPED, SKIPPED_SUMMARY)
    log_cycle_end(get_logger("ingest"), trace_id, end)
    view.ends.note(EndedRun(key.slot_start_at, start.cycle_id, trace_id, flags))
