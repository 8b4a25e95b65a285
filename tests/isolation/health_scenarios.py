"""The scenarios of health: its pages, the counts beside them, and the counts alone."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from domain.health_state import State
from ports.reads import DeviceFilter, HealthQuery, WorklistPosition
from storage.health import HealthStatements
from tests.isolation.fleets import BASE, OURS, TAG, THEIRS, Harness
from tests.isolation.scenario import drives
from tests.isolation.scenarios import SWITCHED_OFF

if TYPE_CHECKING:
    from domain.health_facts import HealthFacts

_PAGES = ("page_by_device", "page_by_device_counted", "page_by_state", "page_by_state_counted")
_HEALTH = ("list_threshold_classes", *_PAGES)


@drives(*_HEALTH, "page_of_workspace")
async def report_our_health(harness: Harness) -> Any:
    return [await _report(harness, with_counts=each) for each in (True, False)]


async def _report(harness: Harness, *, with_counts: bool) -> Any:
    load, ours = harness.stores.reads.load_health, frozenset([OURS])
    query = HealthQuery(with_counts=with_counts)
    first = await load(ours, query._replace(limit=1))
    after = WorklistPosition(first.rows[0].device.activated_at, OURS, "bus-1")
    return (
        first,
        await load(ours, query._replace(after=after)),
        await load(ours, query._replace(order="silence")),
        [await load(ours, query._replace(devices=DeviceFilter(tag))) for tag in (TAG, THEIRS)],
    )


@drives(*_HEALTH)
async def report_everybodys_health(harness: Harness) -> Any:
    """Return the rows of `OURS`. Each is judged by facts of `OURS` alone."""
    orders: tuple[Literal["device", "silence"], ...] = ("device", "silence")
    found: list[HealthFacts] = []
    for order, with_counts in product(orders, (True, False)):
        asked = HealthQuery(limit=99, order=order, with_counts=with_counts)
        found += (await harness.stores.reads.load_health(None, asked)).rows
    return [facts for facts in found if facts.device.workspace_id == OURS]


@drives("list_threshold_classes", "page_by_device_counted", prepared=(SWITCHED_OFF,))
async def report_our_health_when_switched_off(harness: Harness) -> Any:
    return await harness.stores.reads.load_health(frozenset([OURS]), HealthQuery())


@drives("list_threshold_classes", "count_health")
async def count_our_states(harness: Harness) -> Any:
    return await harness.stores.reads.count_states([OURS, "nowhere"], None)


@drives("list_threshold_classes", "count_health", "count_ages")
async def measure_our_fleet(harness: Harness) -> Any:
    measure = harness.stores.reads.measure_fleet
    figures = [
        await measure([OURS, "nowhere"], age_bounds=(60, 3600), by_workspace=by_workspace)
        for by_workspace in (True, False)
    ]
    return [(found.states, found.ages) for found in figures]


# Both have devices whose state depends on their class, and equal classes with unequal limits. A
# device that they retired has the id of one of ours.
IN_BETWEEN = (
    "UPDATE devices SET stale_after_seconds = 999999 WHERE device_id = 'bus-2'",
    "UPDATE devices SET retired_at = now() "
    f"WHERE workspace_id = '{THEIRS}' AND device_id = 'bus-1'",
    f"UPDATE workspaces SET stale_after_seconds = 99999 WHERE workspace_id = '{THEIRS}'",
)


@drives("list_threshold_classes", "count_health", prepared=IN_BETWEEN)
async def count_our_states_among_all(harness: Harness) -> Any:
    return (await harness.stores.reads.count_states(None, None))[1][OURS]


@drives("list_threshold_classes", "page_by_state", prepared=IN_BETWEEN)
async def list_our_late_devices_among_all(harness: Harness) -> Any:
    late = HealthQuery(states=frozenset({State.STALE}), order="silence", with_counts=False)
    page = await harness.stores.reads.load_health(None, late)
    return [facts for facts in page.rows if facts.device.workspace_id == OURS]


_KEPT = ("list_keys_by_state", "page_of_keys", "count_health")


@drives(*_KEPT)
async def list_our_late_devices_from_keys(harness: Harness) -> Any:
    return await _list_from_keys(harness)


@drives(*_KEPT, prepared=IN_BETWEEN)
async def list_our_late_devices_of_two_classes_from_keys(harness: Harness) -> Any:
    return await _list_from_keys(harness)


@drives("page_of_keys_counted")
async def read_our_devices_by_keys(harness: Harness) -> Any:
    keys = [WorklistPosition(BASE, OURS, name) for name in ("bus-1", "bus-2")]
    found = await HealthStatements(harness.database).load_devices([OURS], HealthQuery(), keys)
    return found.page.rows, found.page.counts


async def _list_from_keys(harness: Harness) -> Any:
    """Return a worklist from keys: ours alone, and ours among all."""
    load = harness.stores.reads.load_health
    late = HealthQuery(states=frozenset({State.STALE}), order="silence", counts_max_age=5.0)
    ours = await load(frozenset([OURS]), late)
    among_all = (await load(None, late)).rows
    return (
        (ours.rows, ours.counts),
        [facts for facts in among_all if facts.device.workspace_id == OURS],
    )
