"""The scenarios of the synchronisation with a legacy registry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from domain.changes import LEGACY_SYNC
from domain.legacy_sync import SyncOutcome
from ports.legacy import LegacyDevice, LegacyRegistry
from ports.legacy_syncs import SyncOrder
from tests.isolation.fleets import OURS, SESSION, THEIRS, Harness, ago
from tests.isolation.scenario import drives

# Both, so that a statement that looks too far finds another workspace that is synchronised.
SYNCED: Final = "UPDATE workspaces SET device_registry_source = 'legacy_sync', cutover_revision = 2"
RETIRED: Final = (
    f"UPDATE devices SET retired_at = clock_timestamp() WHERE workspace_id = '{THEIRS}'"
    " AND device_id = 'bus-1'"
)
NO_SYNC: Final = f"DELETE FROM legacy_syncs WHERE workspace_id = '{OURS}'"
ORDER: Final = SyncOrder(2, LEGACY_SYNC, SESSION)


def answer(minutes: float, *names: str) -> LegacyRegistry:
    devices = (LegacyDevice(name, "live", f"x-{name}", OURS, OURS) for name in names)
    return LegacyRegistry(tuple(devices), (), ago(5) + timedelta(minutes=minutes))


@drives("get_legacy_sync", prepared=(NO_SYNC,))
async def read_syncs(harness: Harness) -> Any:
    syncs = harness.stores.legacy_syncs
    return [await syncs.get_sync(name) for name in (OURS, "nowhere")]


@drives(
    *("lock_workspace", "get_legacy_sync", "list_synced_devices", "list_providers"),
    *("retire_left_out", "end_assignments", "put_devices", "append_whole", "append_changes"),
    *("bump_config", "save_legacy_sync"),
    prepared=(SYNCED,),
)
async def retire_what_was_left_out(harness: Harness) -> Any:
    syncs = harness.stores.legacy_syncs
    return await syncs.apply_answer(OURS, answer(1, "bus-2", "bus-3"), ORDER)


@drives("list_synced_devices", "return_devices", "resume_assignments", prepared=(SYNCED, RETIRED))
async def return_what_was_retired(harness: Harness) -> Any:
    syncs = harness.stores.legacy_syncs
    await syncs.apply_answer(OURS, answer(1, "bus-2", "bus-3"), ORDER)
    return await syncs.apply_answer(OURS, answer(2, "bus-1", "bus-2", "bus-9"), ORDER)


@drives("note_failed_sync", prepared=(SYNCED,))
async def note_a_failed_sync(harness: Harness) -> Any:
    syncs = harness.stores.legacy_syncs
    return await syncs.note_failure(OURS, SyncOutcome.UNREACHABLE, "no answer", ORDER)
