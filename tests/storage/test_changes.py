"""The history of what people changed: written with the command, read as of any instant."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from domain.changes import Author, ChangeKind, StoredChange
from domain.model import Policy, PolicyOverride
from domain.registry import Conflict, PolicyDraft, Swap
from storage.queries import sql
from tests.storage.fixtures import BUSES, PROVIDER, WORKSPACE, connection, draft, populate
from tests.storage.test_upkeep import explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.gateway import Database
    from tests.conftest import Stores
    from tests.storage.fixtures import Cast

ANNA = Author("key-anna", "trace-9", "192.0.2.7")
POLICY = {
    "freshness_target_seconds": 300.0,
    "delayed_after_seconds": 360.0,
    "stale_after_seconds": 900.0,
    "grace_seconds": 3600.0,
}


@pytest.fixture
async def cast(postgres_stores: Stores) -> Cast:
    return await populate(postgres_stores)


async def find(cast: Cast, kind: ChangeKind, at: datetime | None = None) -> list[StoredChange]:
    found = cast.stores.changes.find_as_of
    return await found(WORKSPACE, kind, at or datetime.now(UTC) + timedelta(hours=1))


async def find_one(cast: Cast, kind: ChangeKind, subject: str) -> StoredChange:
    (found,) = [entry for entry in await find(cast, kind) if entry.subject == subject]
    return found


def differences(entry: StoredChange) -> dict[str, tuple[Any, Any]]:
    """Return the fields that the change changed, with their values before and after."""
    before: Mapping[str, Any] = entry.before or {}
    return {
        name: (before.get(name), value)
        for name, value in entry.after.items()
        if before.get(name) != value
    }


async def test_a_changed_workspace_leaves_who_when_before_and_after(cast: Cast) -> None:
    first = await find_one(cast, ChangeKind.WORKSPACE, WORKSPACE)
    await cast.stores.registry.put_workspace(WORKSPACE, name="Renamed", by=ANNA)
    entry = await find_one(cast, ChangeKind.WORKSPACE, WORKSPACE)
    assert (entry.who, entry.trace_id, entry.address) == ANNA
    assert first.at < entry.at < datetime.now(UTC) + timedelta(minutes=1)
    plain = {"name": "Harbour", "active": True, "time_zone": "UTC", "archived_at": None}
    assert entry.before == first.after == plain
    assert differences(entry) == {"name": ("Harbour", "Renamed")}
    assert (await find_one(cast, ChangeKind.POLICY, WORKSPACE)).before is None


async def test_a_changed_policy_leaves_an_entry_of_its_own(cast: Cast) -> None:
    named = await find_one(cast, ChangeKind.WORKSPACE, WORKSPACE)
    policy = Policy(stale_after_seconds=1200.0)
    await cast.stores.registry.put_policy(WORKSPACE, draft=PolicyDraft(policy, 600), by=ANNA)
    entry = await find_one(cast, ChangeKind.POLICY, WORKSPACE)
    schedule = {"poll_interval_seconds": 300, "start_offset_seconds": None}
    assert (entry.who, entry.before) == ("key-anna", {**POLICY, **schedule})
    assert differences(entry) == {
        "stale_after_seconds": (900.0, 1200.0),
        "poll_interval_seconds": (300, 600),
    }
    assert await find_one(cast, ChangeKind.WORKSPACE, WORKSPACE) == named


async def test_what_is_archived_leaves_entries_with_its_devices(cast: Cast) -> None:
    registry = cast.stores.registry
    await registry.put_workspace(WORKSPACE, name="Harbour", active=False)
    await registry.archive_workspace(WORKSPACE, by=ANNA)
    entries = [await find_one(cast, ChangeKind.WORKSPACE, WORKSPACE)]
    entries += await find(cast, ChangeKind.DEVICE)
    assert {entry.who for entry in entries} == {"key-anna"}
    assert [list(differences(entry)) for entry in entries] == [
        ["archived_at"],
        *[["retired_at"]] * len(BUSES),
    ]


async def test_a_new_connection_has_nothing_before_and_its_reference(cast: Cast) -> None:
    new = connection(override=PolicyOverride(stale_after_seconds=1000.0), active=False)
    await cast.stores.registry.put_provider(new, by=ANNA)
    entry = await find_one(cast, ChangeKind.PROVIDER, PROVIDER)
    assert differences(entry) == {
        "active": (True, False),
        "overrides": (asdict(PolicyOverride()), asdict(new.override)),
    }
    assert "cursor" not in orjson.dumps(entry.after).decode()


async def test_a_device_configured_retired_and_activated_has_each_step(cast: Cast) -> None:
    registry = cast.stores.registry
    first = await find_one(cast, ChangeKind.DEVICE, "bus-1")
    retired = await registry.retire_device(WORKSPACE, "bus-1", by=ANNA)
    second = await find_one(cast, ChangeKind.DEVICE, "bus-1")
    await registry.put_devices(WORKSPACE, [draft("bus-1")], by=ANNA)
    third = await find_one(cast, ChangeKind.DEVICE, "bus-1")
    assert first.before is None
    assert second.before == first.after
    assert list(differences(second)) == ["retired_at"]
    assert datetime.fromisoformat(second.after["retired_at"]) == retired.retired_at  # type: ignore[union-attr]
    assert third.before == second.after
    assert (third.after["assignment"], third.after["retired_at"]) == (2, None)


async def test_a_swap_shows_the_former_and_the_present_unit(cast: Cast) -> None:
    await cast.stores.registry.swap_device(WORKSPACE, "bus-1", Swap(external_id="x-9"), by=ANNA)
    entry = await find_one(cast, ChangeKind.DEVICE, "bus-1")
    changed = differences(entry)
    assert changed["external_id"] == ("x-bus-1", "x-9")
    assert changed["assignment"] == (1, 2)
    assert entry.who == "key-anna"


async def test_a_command_that_changes_nothing_leaves_no_entry(cast: Cast) -> None:
    before = [await find(cast, kind) for kind in ChangeKind]
    registry = cast.stores.registry
    await registry.put_provider(connection(), by=ANNA)
    await registry.put_devices(WORKSPACE, [draft(bus) for bus in BUSES], by=ANNA)
    clash = draft("bus-9", external_id="x-bus-1")
    (_, refused) = await registry.put_devices(WORKSPACE, [draft("bus-8"), clash], by=ANNA)  # type: ignore[misc]
    assert isinstance(refused, Conflict)
    assert [await find(cast, kind) for kind in ChangeKind] == before


async def test_it_is_read_as_of_any_instant(cast: Cast) -> None:
    registry, names = cast.stores.registry, ("One", "Two", "Three")
    for name in names:
        await registry.put_devices(WORKSPACE, [draft("bus-1", vehicle_name=name)], by=ANNA)
    entry = await find_one(cast, ChangeKind.DEVICE, "bus-1")
    moment = timedelta(microseconds=1)
    seen = []
    while entry.before is not None:
        seen.append(entry.after["vehicle_name"])
        exactly = await find(cast, ChangeKind.DEVICE, entry.at)
        assert entry in exactly
        (entry,) = [
            one
            for one in await find(cast, ChangeKind.DEVICE, entry.at - moment)
            if one.subject == "bus-1"
        ]
    assert seen == ["Three", "Two", "One"]
    assert await find(cast, ChangeKind.DEVICE, entry.at - moment) == []


async def test_an_index_gives_the_newest_entry_of_each_subject(database: Database) -> None:
    now = datetime.now(UTC)
    plan = await explain(database, sql("find_changes_as_of"), WORKSPACE, "device", now)
    assert "using changes_subject_index" in plan
    assert "Sort" not in plan
