"""The audit: who changed what, when and from where, over HTTP."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from api.challenges import read_key
from tests.api.test_access import DEVICE, PROVIDER

if TYPE_CHECKING:
    from tests.api.harness import Harness

WHOLE = "/audit"
NORTH = "/workspaces/north/audit"


def key_id_of(harness: Harness, name: str) -> str:
    return read_key(harness.tokens[name]).key_id


async def read(harness: Harness, path: str = WHOLE, key: str | None = None) -> list[dict[str, Any]]:
    """Return the entries that keys made: not those of the harness itself."""
    scope = "admin" if path.startswith(WHOLE) else "control"
    answer = await harness.ask("GET", path, key=key or scope)
    assert answer.status == 200, answer.body
    items: list[dict[str, Any]] = json.loads(answer.body)["items"]
    return [item for item in items if item["who"] != "system"]


async def write(
    harness: Harness, method: str, path: str, body: Any = None, *, status: int = 200, **more: Any
) -> Any:
    key = more.pop("key", "control")
    rest = {} if body is None else {"json": body}
    answer = await harness.ask(method, path, key=key, **rest, **more)
    assert answer.status == status, answer.body
    return json.loads(answer.body)


async def test_a_write_says_who_when_from_where_and_what(harness: Harness) -> None:
    trace = {"X-Request-Id": "trace-7"}
    await write(harness, "PATCH", "/workspaces/north", {"name": "Renamed"}, headers=trace)
    (entry,) = await read(harness)
    assert entry["at"].endswith("Z")
    shown = {name: entry[name] for name in ("kind", "subject", "workspace_id", "trace_id")}
    assert shown == {
        "kind": "workspace",
        "subject": "north",
        "workspace_id": "north",
        "trace_id": "trace-7",
    }
    assert (entry["who"], entry["key_name"]) == (key_id_of(harness, "control"), "control")
    assert entry["address"] == "<local>"  # as the client without a socket calls itself
    assert entry["changed"] == ["name"]
    assert entry["before"] | {"name": "Renamed"} == entry["after"]
    assert await read(harness, NORTH) == [entry]


async def test_what_is_refused_or_changes_nothing_leaves_no_entry(harness: Harness) -> None:
    stale = {"If-Match": '"77"'}
    body = {"name": "Renamed"}
    await write(harness, "PUT", "/workspaces/north", body, status=412, headers=stale)
    await write(harness, "PUT", "/workspaces/north", {"name": 7}, status=422)
    await write(harness, "PUT", "/workspaces/north", body, status=403, key="read")
    taken = {**DEVICE, "external_id": "x-bus-2"}
    await write(harness, "PUT", "/workspaces/north/devices/bus-1", taken, status=409)
    await write(harness, "PATCH", "/workspaces/north", {})
    assert await read(harness) == []


async def test_an_import_is_one_entry_with_its_devices_behind_it(harness: Harness) -> None:
    devices = [
        {**DEVICE, "device_id": "bus-1", "vehicle_name": "Renamed"},
        {**DEVICE, "device_id": "new-1", "external_id": "x-new-1"},
        {**DEVICE, "device_id": "new-2", "external_id": "x-new-2"},
    ]
    raw = json.dumps({"devices": devices}).encode()
    answer = await harness.ask(
        "POST",
        "/workspaces/north/devices/import",
        key="control",
        data=raw,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status == 200, answer.body
    (entry,) = await read(harness, NORTH)
    digest = hashlib.sha256(raw).hexdigest()
    assert (entry["kind"], entry["before"]) == ("import", None)
    assert entry["after"] == {"sha256": digest, "created": 2, "updated": 1}
    parts = await read(harness, f"{NORTH}?part_of={entry['change_id']}")
    assert [part["subject"] for part in parts] == ["new-2", "new-1", "bus-1"]
    assert {part["part_of"] for part in parts} == {entry["change_id"]}
    assert parts[2]["changed"] == ["vehicle_name"]
    assert await read(harness, f"/workspaces/south/audit?part_of={entry['change_id']}") == []


async def test_a_run_that_was_asked_for_is_an_entry_once(harness: Harness) -> None:
    path = "/workspaces/north/cycles"
    first = await write(harness, "POST", path, {"when": "now"}, status=202)
    await write(harness, "POST", path, {"when": "now"}, status=202)
    await write(harness, "POST", path, status=202)
    (entry,) = await read(harness, NORTH)
    assert (entry["kind"], entry["subject"]) == ("cycle", first["cycle_id"])


async def test_keys_made_and_revoked_are_in_the_whole_audit(harness: Harness) -> None:
    body = {"name": "dashboard", "workspaces": ["north"]}
    made = await write(harness, "POST", "/keys", body, status=201, key="admin")
    for _ in range(2):
        await write(harness, "DELETE", f"/keys/{made['key_id']}", key="admin")
    revoked, created = await read(harness)
    for entry in (revoked, created):
        assert (entry["kind"], entry["subject"]) == ("key", made["key_id"])
        assert (entry["workspace_id"], entry["who"]) == (None, key_id_of(harness, "admin"))
    assert (created["before"], created["after"]["scopes"]) == (None, ["read"])
    assert revoked["changed"] == ["revoked_at"]
    assert await read(harness, NORTH) == []


async def test_a_limited_key_sees_its_workspaces_and_their_keys(harness: Harness) -> None:
    await harness.add_key("limited", ["admin"], ["north"])
    for name, workspaces in (("of-north", ["north"]), ("of-both", ["north", "south"])):
        body = {"name": name, "workspaces": workspaces}
        await write(harness, "POST", "/keys", body, status=201, key="admin")
    for workspace in ("north", "south"):
        await write(harness, "PATCH", f"/workspaces/{workspace}", {"name": "Renamed"})
    entries = await read(harness, key="limited")
    assert [entry["after"]["name"] for entry in entries] == ["Renamed", "of-north"]
    assert entries[0]["workspace_id"] == "north"


FILTERS: tuple[tuple[str, list[str]], ...] = (
    ("kind=provider", ["live"]),
    ("subject=bus-1", ["bus-1", "bus-1"]),
    ("kind=device&subject=live", []),
    ("until=2000-01-01T00:00:00Z", []),
    ("since=2000-01-01T00:00:00Z", ["bus-1", "live", "bus-1"]),
    ("who=nobody", []),
)


@pytest.mark.parametrize(("query", "subjects"), FILTERS)
async def test_entries_are_filtered(harness: Harness, query: str, subjects: list[str]) -> None:
    await _change_three(harness)
    assert [entry["subject"] for entry in await read(harness, f"{NORTH}?{query}")] == subjects


async def test_pages_hold_every_entry_once_newest_first(harness: Harness) -> None:
    await _change_three(harness)
    who = key_id_of(harness, "control")
    pages = await harness.walk(f"{NORTH}?who={who}&limit=2", key="control")
    assert [len(page["items"]) for page in pages] == [2, 1]
    subjects = [item["subject"] for page in pages for item in page["items"]]
    assert subjects == ["bus-1", "live", "bus-1"]


async def test_a_filter_that_is_no_filter_is_named(harness: Harness) -> None:
    for query in (
        "kind=mood",
        "since=yesterday",
        "part_of=0",
        "colour=red",
        "who=%00",
        "subject=a%00b",
    ):
        answer = await harness.ask("GET", f"{NORTH}?{query}", key="control")
        assert answer.status == 400, answer.body
        assert query.partition("=")[0] in answer.body.decode()


async def _change_three(harness: Harness) -> None:
    await write(harness, "PATCH", "/workspaces/north/devices/bus-1", {"vehicle_name": "One"})
    await write(harness, "PUT", "/workspaces/north/providers/live", PROVIDER)
    await write(harness, "PATCH", "/workspaces/north/devices/bus-1", {"vehicle_name": "Two"})
