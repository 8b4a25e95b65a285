"""The scenarios of policies, of the archive, and of the list that counts states."""

from __future__ import annotations

from typing import Any

from domain.model import Policy
from domain.registry import PolicyDraft
from tests.isolation.fleets import OURS, Harness
from tests.isolation.scenario import drives
from tests.isolation.scenarios import SWITCHED_OFF


@drives("lock_workspace", "update_workspace")
async def change_a_policy(harness: Harness) -> Any:
    return await harness.stores.registry.put_policy(
        OURS, draft=PolicyDraft(Policy(grace_seconds=60.0), 600)
    )


@drives(
    *("lock_workspace", "archive_workspace", "retire_devices", "end_assignments"),
    prepared=(SWITCHED_OFF,),
)
async def archive_a_workspace(harness: Harness) -> Any:
    registry = harness.stores.registry
    return await registry.archive_workspace(OURS), await registry.archive_workspace("nowhere")


@drives(
    *("get_provider", "archive_provider", "count_active_devices", "bump_config"),
    prepared=("UPDATE devices SET provider_id = 'spare' WHERE device_id = 'bus-8'",),
)
async def archive_providers(harness: Harness) -> Any:
    archive = harness.stores.registry.archive_provider
    return [await archive(OURS, name) for name in ("live", "spare", "only-theirs")]


@drives("list_threshold_classes", "page_health")
async def count_our_states(harness: Harness) -> Any:
    return await harness.stores.reads.count_states([OURS, "nowhere"], None)


@drives("list_threshold_classes", "page_health", "count_ages")
async def measure_our_fleet(harness: Harness) -> Any:
    measure = harness.stores.reads.measure_fleet
    figures = [
        await measure([OURS, "nowhere"], age_bounds=(60, 3600), by_workspace=by_workspace)
        for by_workspace in (True, False)
    ]
    return [(found.states, found.ages) for found in figures]
