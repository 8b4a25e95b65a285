"""The scenarios of what is kept of the past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from domain.changes import ChangeKind
from tests.isolation.fleets import OURS, Harness, provider
from tests.isolation.scenario import drives


@drives("append_changes", "find_changes_as_of")
async def read_what_was_changed(harness: Harness) -> Any:
    await harness.put_workspace(OURS, name="changed")
    await harness.stores.registry.put_provider(provider(OURS, "live", active=False))
    find, later = harness.stores.changes.find_as_of, datetime.now(UTC) + timedelta(hours=1)
    found = [await find(OURS, kind, later) for kind in (ChangeKind.WORKSPACE, ChangeKind.PROVIDER)]
    return [entry._replace(change_id=0) for entries in found for entry in entries]
