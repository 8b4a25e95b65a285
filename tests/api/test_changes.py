"""Every command over the API is in the history of changes, with the key that gave it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from api.keys import parse_token
from domain.changes import ChangeKind
from tests.api.standing_time import START
from tests.api.test_access import DEVICE, PROVIDER, SWAP

if TYPE_CHECKING:
    from domain.changes import StoredChange
    from tests.api.harness import Harness

COMMANDS = (
    ("PUT", "", {"name": "Renamed"}, (ChangeKind.WORKSPACE, "north", "name")),
    ("PATCH", "", {"active": False}, (ChangeKind.WORKSPACE, "north", "active")),
    ("PUT", "/policy", {"grace_seconds": 60}, (ChangeKind.POLICY, "north", "grace_seconds")),
    ("PATCH", "/policy", {"grace_seconds": 60}, (ChangeKind.POLICY, "north", "grace_seconds")),
    ("PATCH", "/providers/live", {"active": False}, (ChangeKind.PROVIDER, "live", "active")),
    ("DELETE", "/providers/hourly", None, (ChangeKind.PROVIDER, "hourly", "archived_at")),
    (
        "PATCH",
        "/devices/bus-1",
        {"vehicle_name": "Renamed"},
        (ChangeKind.DEVICE, "bus-1", "vehicle_name"),
    ),
    ("PUT", "/providers/live", PROVIDER, (ChangeKind.PROVIDER, "live", "transport")),
    (
        "PUT",
        "/devices/bus-1",
        {**DEVICE, "vehicle_name": "Renamed"},
        (ChangeKind.DEVICE, "bus-1", "vehicle_name"),
    ),
    ("DELETE", "/devices/bus-1", None, (ChangeKind.DEVICE, "bus-1", "retired_at")),
    ("POST", "/devices/bus-1/swap", SWAP, (ChangeKind.DEVICE, "bus-1", "external_id")),
    (
        "POST",
        "/devices/import",
        {"devices": [{**DEVICE, "device_id": "bus-1", "vehicle_name": "Renamed"}]},
        (ChangeKind.DEVICE, "bus-1", "vehicle_name"),
    ),
)


async def find(harness: Harness, kind: ChangeKind, subject: str) -> StoredChange:
    later = START + timedelta(days=36_500)
    entries = await harness.stores.changes.find_as_of("north", kind, later)
    (entry,) = [one for one in entries if one.subject == subject]
    return entry


@pytest.mark.parametrize(("method", "path", "body", "changed"), COMMANDS)
async def test_a_command_is_recorded_with_its_key_and_trace(
    harness: Harness, method: str, path: str, body: Any, changed: tuple[ChangeKind, str, str]
) -> None:
    kind, subject, field = changed
    assert (await find(harness, kind, subject)).who == "system"
    rest = {} if body is None else {"json": body}
    answer = await harness.ask(
        method,
        f"/workspaces/north{path}",
        key="control",
        headers={"X-Request-Id": "trace-of-this", "If-Match": "*"},
        **rest,
    )
    assert answer.status in {200, 201}, answer.body
    entry = await find(harness, kind, subject)
    key = parse_token(harness.tokens["control"])
    assert key is not None
    assert (entry.who, entry.trace_id) == (key.key_id, "trace-of-this")
    assert entry.before is not None
    assert entry.before[field] != entry.after[field]
