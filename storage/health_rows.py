"""Conversions of the rows of a page of health to facts and counts. Pure; knows no driver.

A page is the answer of one of the statements of storage/sql/health.sql that bring facts_of_page.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from domain.health_facts import CollectorRecord, HealthFacts
from domain.health_state import State
from storage.documents import read_values
from storage.rows import to_connection_record, to_device

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from domain.health_facts import ConnectionRecord
    from storage.configurations import FleetConfiguration

_COLLECTOR = (
    "last_good_cycle_at",
    "last_cycle_started_at",
    "last_cycle_outcome",
    "last_slot_start_at",
    "earlier_cycle_started_at",
    "owner",
    "owner_expires_at",
    "oldest_waiting_seconds",
)
# The columns of device_state that HealthFacts takes, in the order of its fields.
DEVICE_FACTS: Final = (
    "last_update_received_at",
    "last_observed_at",
    "last_changed_at",
    "statement",
    "statement_begun_at",
    "statement_at",
    "statement_detail",
    "last_rejected_at",
    "last_rejection_reason",
    "last_outdated_at",
    "held_back_seconds",
)
_pick_facts: Callable[[Any], tuple[Any, ...]] = itemgetter(*DEVICE_FACTS)


class SharedFacts(NamedTuple):
    """What devices of a page share: the collector of a workspace, the record of a connection."""

    collectors: Mapping[str, CollectorRecord]
    records: Mapping[tuple[str, str], ConnectionRecord]


def read_shared(rows: Sequence[Any]) -> SharedFacts:
    """Return what the devices of one page share."""
    return SharedFacts(
        {row["workspace_id"]: _to_collector(row) for row in rows if row["is_first"]},
        {
            (row["workspace_id"], row["provider_id"]): to_connection_record(row)
            for row in rows
            if row["is_first_of_connection"]
        },
    )


def to_health_facts(
    rows: Sequence[Any], configuration: FleetConfiguration, shared: SharedFacts
) -> list[HealthFacts]:
    """Return the facts of those rows of a page that name a device."""
    return [_to_facts(row, configuration, shared) for row in rows if row["device_id"] is not None]


def to_counts(counted: Mapping[str, int]) -> dict[State, int]:
    return dict.fromkeys(State, 0) | {State(name): n for name, n in counted.items()}


def _to_collector(row: Any) -> CollectorRecord:
    found = orjson.loads(row["unknown_ids"] or "[]")
    unknown_ids = tuple((provider_id, external_id) for provider_id, external_id in found)
    waiting = orjson.loads(row["stream_waiting_seconds"] or "{}")
    return CollectorRecord(
        **{name: row[name] for name in _COLLECTOR},
        unknown_ids=unknown_ids,
        is_paused=row["is_paused"] or False,
        stream_waiting_seconds=waiting,
    )


def _to_facts(row: Any, configuration: FleetConfiguration, shared: SharedFacts) -> HealthFacts:
    device = to_device(row)
    key = (device.workspace_id, device.provider_id)
    return HealthFacts._make(
        (
            configuration.workspaces[device.workspace_id],
            configuration.connections[key],
            device,
            shared.records[key],
            shared.collectors[device.workspace_id],
            row["version"],
            read_values(row["document"]),
            *_pick_facts(row),
            configuration.changed_at[key],
            orjson.loads(row["refused_signals"] or "{}"),
            False,  # is_of_legacy
        )
    )
