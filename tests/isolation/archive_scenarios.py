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
