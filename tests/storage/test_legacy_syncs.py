"""Answers of legacy registries, applied to what is stored."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio

from domain.changes import LEGACY_SYNC, Author, ChangeKind
from domain.cutover import Cutover, RegistrySource
from domain.legacy_sync import HeldBack, HeldBackWhy, NotSynced, RefusedDevice, SyncOutcome
from ports.changes import AuditQuery
from ports.cutovers import Force, new_draft
from ports.legacy import LegacyConfiguration, LegacyDevice, LegacyRegistry
from ports.legacy_syncs import SyncOrder, SyncReport
from storage.gateway import Database
from storage.legacy_syncs import PostgresLegacySyncs
from tests.storage.fixtures import BUSES, WORKSPACE, begin, draft, populate
from tests.storage.pauses import SlowCommit, wait_until_somebody_waits_for_a_lock
from tests.storage.proxy import open_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from domain.changes import StoredChange
    from domain.model import Device
    from tests.conftest import Stores
    from tests.storage.fixtures import Cast

SYNCED = new_draft(Cutover(device_registry_source=RegistrySource.LEGACY_SYNC))._replace(
    legacy=LegacyConfiguration("http://127.0.0.1:9", None, {"values": {}})
)
REVISION = 2  # of the cutover once it is set
ALL = (*BUSES, "bus-4", "bus-5")
NONE = dict.fromkeys(
    (
        *("unchanged", "created", "changed", "swapped", "activated", "returned", "retired"),
        *("held_back", "refused"),
    ),
    0,
)


class Synced:
    """The cast under legacy_sync, with five buses, and the answers of its legacy registry."""

    def __init__(self, cast: Cast, syncs: PostgresLegacySyncs) -> None:
        self.cast = cast
        self.syncs = syncs
        self._answered_at = cast.noon

    async def answer(
        self, devices: Iterable[LegacyDevice], *, seconds: float = 1, **rest: Any
    ) -> SyncReport:
        """Apply an answer that came so many seconds after the one before."""
        self._answered_at += timedelta(seconds=seconds)
        given = {name: rest.pop(name) for name in LegacyRegistry._fields if name in rest}
        registry = LegacyRegistry(tuple(devices), (), self._answered_at)._replace(**given)
        order = SyncOrder(REVISION, LEGACY_SYNC, self.cast.session)._replace(**rest)
        return await self.syncs.apply_answer(WORKSPACE, registry, order)

    async def device(self, device_id: str) -> Device:
        found = await self.cast.stores.registry.get_device(WORKSPACE, device_id)
        assert found is not None
        return found

    async def retire(self, device_id: str) -> None:
        """Leave the device out twice."""
        for _ in range(2):
            report = await self.answer(there(*(name for name in ALL if name != device_id)))
        assert report.counts["retired"] == 1

    async def version(self) -> int:
        return (await self.cast.stores.sessions.load_config_versions())[WORKSPACE]

    async def changes(self, **wish: Any) -> list[StoredChange]:
        plain = AuditQuery(frozenset({WORKSPACE}))
        entries = await self.cast.stores.changes.list_changes(plain._replace(**wish))
        return [entry.change for entry in entries]


def legacy(device_id: str, **rest: Any) -> LegacyDevice:
    return LegacyDevice(*draft(device_id)[:5])._replace(**rest)


def there(*device_ids: str) -> list[LegacyDevice]:
    return [legacy(device_id) for device_id in device_ids]


@pytest.fixture
async def synced(postgres_stores: Stores) -> Synced:
    cast = await populate(postgres_stores)
    await postgres_stores.registry.put_devices(WORKSPACE, [draft(bus) for bus in ALL])
    await postgres_stores.cutovers.put_cutover(WORKSPACE, draft=SYNCED)
    return Synced(cast, postgres_stores.legacy_syncs)


async def test_an_answer_that_says_what_is_stored_changes_nothing(synced: Synced) -> None:
    before = await synced.version(), await synced.changes()
    report = await synced.answer(there(*ALL))
    assert (report.outcome, report.counts) == (SyncOutcome.SYNCED, {**NONE, "unchanged": 5})
    assert (await synced.version(), await synced.changes()) == before
    assert await synced.syncs.get_sync(WORKSPACE) == report


async def test_an_answer_creates_changes_and_swaps_at_once(synced: Synced) -> None:
    version = await synced.version()
    report = await synced.answer(
        [
            legacy("bus-1", external_id="x-bus-2"),
            legacy("bus-2", external_id="x-bus-1"),
            legacy("bus-3", vehicle_name="Renamed"),
            *there("bus-4", "bus-5", "bus-6"),
            legacy("bus-7", provider_id="nobody"),
        ]
    )
    counts = {"unchanged": 2, "created": 1, "changed": 1, "swapped": 2, "refused": 1}
    assert report.counts == {**NONE, **counts}
    assert report.refused == [
        RefusedDevice("bus-7", "x-bus-7", "provider_id", "There is no provider nobody here.")
    ]
    assert (await synced.device("bus-1")).external_id == "x-bus-2"
    assert (await synced.device("bus-6")).assignment == 1
    assert await synced.version() == version + 1


async def test_a_sync_is_one_entry_with_its_devices_as_parts(
    synced: Synced,
) -> None:
    await synced.answer([*there(*ALL, "bus-6"), legacy("bus-7")], by=Author("legacy-sync", "t-1"))
    (whole,) = await synced.changes(kind=ChangeKind.SYNC)
    assert (whole.subject, whole.who, whole.trace_id) == (WORKSPACE, "legacy-sync", "t-1")
    assert whole.after == {**NONE, "unchanged": 5, "created": 2}
    parts = await synced.changes(part_of=whole.change_id)
    assert sorted(part.subject for part in parts) == ["bus-6", "bus-7"]


async def test_a_device_that_two_answers_leave_out_is_retired(synced: Synced) -> None:
    first = await synced.answer(there(*ALL[1:]))
    assert first.held_back == [HeldBack("bus-1", "vehicle-bus-1", HeldBackWhy.ONCE)]
    assert (await synced.device("bus-1")).retired_at is None
    second = await synced.answer(there(*ALL[1:]))
    assert second.counts == {**NONE, "unchanged": 4, "retired": 1}
    assert (await synced.device("bus-1")).retired_at is not None
    assert await synced.cast.send(synced.cast.update("bus-1", 0, soc_percent=50.0)) == [
        "rejected:unknown_device"
    ]


@pytest.mark.parametrize("names", [(), ALL[:2]])
async def test_an_answer_that_leaves_out_too_many_is_shown_as_doubted(
    synced: Synced, names: tuple[str, ...]
) -> None:
    for _ in range(3):
        report = await synced.answer(there(*names))
    assert report.outcome is SyncOutcome.DOUBTED
    assert report.counts == {**NONE, "unchanged": len(names), "held_back": 5 - len(names)}
    assert await synced.syncs.get_sync(WORKSPACE) == report


async def test_force_retires_them_and_keeps_its_reason(synced: Synced) -> None:
    await synced.answer(there("bus-1"))
    force = Force("the depot was sold")
    report = await synced.answer(there("bus-1"), force=force, by=Author("key-anna"), session=None)
    assert report.counts == {**NONE, "unchanged": 1, "retired": 4}
    (whole,) = await synced.changes(kind=ChangeKind.SYNC)
    assert (whole.who, whole.after["force"]) == ("key-anna", {"reason": "the depot was sold"})


async def test_a_return_within_a_day_keeps_history_and_values(synced: Synced) -> None:
    cast = synced.cast
    await cast.send(cast.update("bus-1", 0, soc_percent=50.0))
    activated_at = (await synced.device("bus-1")).activated_at
    await synced.retire("bus-1")
    report = await synced.answer([*there(*ALL[1:]), legacy("bus-1", vehicle_name="Renamed")])
    assert report.counts == {**NONE, "unchanged": 4, "returned": 1}
    device = await synced.device("bus-1")
    assert (device.assignment, device.activated_at, device.retired_at) == (1, activated_at, None)
    assert device.vehicle_name == "Renamed"
    assert await cast.document("bus-1") == {"soc_percent": 50.0}
    assert await cast.send(cast.update("bus-1", 60, soc_percent=51.0)) == ["accepted"]


async def test_a_resumed_assignment_lasts_and_can_be_swapped(
    synced: Synced, database: Database
) -> None:
    await synced.retire("bus-1")
    await synced.answer(there(*ALL))
    swapped = [legacy("bus-1", external_id="x-new"), *there(*ALL[1:])]
    assert (await synced.answer(swapped)).counts["swapped"] == 1
    ends = await database.run(
        lambda connection: connection.fetch(
            "SELECT assignment, external_id, ended_at IS NULL FROM assignments"
            " WHERE device_id = 'bus-1' ORDER BY assignment"
        )
    )
    assert [tuple(row) for row in ends] == [(1, "x-bus-1", False), (2, "x-new", True)]


async def move_retirement(database: Database, ago: timedelta) -> None:
    async def work(connection: Any) -> None:
        for table, column in (("devices", "retired_at"), ("assignments", "ended_at")):
            await connection.execute(
                f"UPDATE {table} SET {column} = clock_timestamp() - $1::interval"
                " WHERE device_id = 'bus-1'",
                ago,
            )

    await database.run(work)


async def test_a_return_after_more_than_a_day_begins_anew(
    synced: Synced, database: Database
) -> None:
    await synced.cast.send(synced.cast.update("bus-1", 0, soc_percent=50.0))
    await synced.retire("bus-1")
    await move_retirement(database, timedelta(days=1, seconds=1))
    assert (await synced.answer(there(*ALL))).counts["activated"] == 1
    assert (await synced.device("bus-1")).assignment == 2
    assert await synced.cast.document("bus-1") == {}


async def test_a_device_that_a_person_retired_begins_anew(synced: Synced) -> None:
    registry = synced.cast.stores.registry
    await synced.cast.stores.cutovers.put_cutover(WORKSPACE, draft=new_draft())
    await registry.retire_device(WORKSPACE, "bus-1")
    await synced.cast.stores.cutovers.put_cutover(WORKSPACE, draft=SYNCED)
    report = await synced.answer(there(*ALL), revision=REVISION + 2)
    assert report.counts == {**NONE, "unchanged": 4, "activated": 1}


# What is not applied


async def test_one_answer_is_applied_once(synced: Synced) -> None:
    await synced.answer(there(*ALL[1:]))
    for seconds in (0, -1):
        report = await synced.answer(there(*ALL[1:]), seconds=seconds)
        assert (report.outcome, report.counts) == (NotSynced.OUTDATED, {})
    assert (await synced.device("bus-1")).retired_at is None


async def test_two_syncs_at_once_with_one_answer_count_it_once(synced: Synced) -> None:
    await synced.answer(there(*ALL))
    reports: list[SyncReport] = []
    answer = LegacyRegistry(tuple(there(*ALL[1:])), (), synced.cast.at(600))

    async def sync() -> None:
        order = SyncOrder(REVISION, LEGACY_SYNC, synced.cast.session)
        reports.append(await synced.syncs.apply_answer(WORKSPACE, answer, order))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sync)
        nursery.start_soon(sync)
    assert {one.outcome for one in reports} == {SyncOutcome.SYNCED, NotSynced.OUTDATED}
    assert (await synced.device("bus-1")).retired_at is None


async def test_an_answer_under_other_flags_changes_nothing(synced: Synced) -> None:
    report = await synced.answer(there("bus-9"), revision=REVISION - 1)
    assert report.outcome is NotSynced.CHANGED
    await synced.cast.stores.cutovers.put_cutover(WORKSPACE, draft=new_draft())
    report = await synced.answer(there("bus-9"), revision=REVISION + 1)
    assert report.outcome is NotSynced.CHANGED
    assert await synced.syncs.get_sync(WORKSPACE) is None


async def test_what_was_left_out_under_other_flags_is_forgotten(synced: Synced) -> None:
    await synced.answer(there(*ALL[1:]))
    await synced.cast.stores.cutovers.put_cutover(WORKSPACE, draft=new_draft())
    await synced.cast.stores.cutovers.put_cutover(WORKSPACE, draft=SYNCED)
    report = await synced.answer(there(*ALL[1:]), revision=REVISION + 2)
    assert [one.why for one in report.held_back] == [HeldBackWhy.ONCE]


async def test_a_dead_session_writes_nothing(synced: Synced) -> None:
    await begin(synced.cast.stores, synced.cast.session.shard_id)
    assert (await synced.answer(there("bus-9"))).outcome is NotSynced.FENCED
    order = SyncOrder(REVISION, LEGACY_SYNC, synced.cast.session)
    failed = await synced.syncs.note_failure(WORKSPACE, SyncOutcome.UNFIT, "no list", order)
    assert failed.outcome is NotSynced.FENCED
    assert await synced.syncs.get_sync(WORKSPACE) is None


async def test_a_dry_run_says_what_it_would_do(synced: Synced) -> None:
    await synced.answer(there(*ALL[1:]))
    before = await synced.syncs.get_sync(WORKSPACE)
    answer = [*there("bus-2", "bus-3", "bus-4", "bus-6"), legacy("bus-5", external_id="x-9")]
    tried = await synced.answer(answer, dry_run=True, session=None)
    assert await synced.syncs.get_sync(WORKSPACE) == before
    assert (await synced.device("bus-1")).retired_at is None
    done = await synced.answer(answer)
    assert tried._replace(synced_at=done.synced_at, answered_at=done.answered_at) == done
    assert done.counts == {**NONE, "unchanged": 3, "created": 1, "swapped": 1, "retired": 1}


async def test_a_failure_is_noted_and_forgets_nothing(synced: Synced) -> None:
    first = await synced.answer(there(*ALL[1:]))
    order = SyncOrder(REVISION, LEGACY_SYNC, synced.cast.session)
    failed = await synced.syncs.note_failure(WORKSPACE, SyncOutcome.UNREACHABLE, "gone\0", order)
    assert (failed.outcome, failed.detail) == (SyncOutcome.UNREACHABLE, "gone")
    assert (failed.answered_at, failed.counts) == (first.answered_at, {})
    assert await synced.syncs.get_sync(WORKSPACE) == failed
    assert (await synced.answer(there(*ALL[1:]))).counts["retired"] == 1


async def test_a_failure_under_other_flags_is_not_noted(synced: Synced) -> None:
    order = SyncOrder(REVISION - 1, LEGACY_SYNC)
    failed = await synced.syncs.note_failure(WORKSPACE, SyncOutcome.UNFIT, "no list", order)
    assert failed.outcome is NotSynced.CHANGED
    assert await synced.syncs.get_sync(WORKSPACE) is None


# Beside others


@pytest.fixture
async def slow(dsn: str, database: Database) -> AsyncIterator[SlowCommit]:
    """Within the bridge of `database`."""
    slow = SlowCommit(dsn)
    yield slow
    await slow.aclose()


@pytest.mark.parametrize("other", ["rename", "take over"])
async def test_a_command_and_a_next_session_wait_for_a_sync(
    synced: Synced, database: Database, slow: SlowCommit, other: str
) -> None:
    stores = synced.cast.stores
    order: list[str] = []

    async def sync() -> None:
        synced.syncs = PostgresLegacySyncs(slow)
        await synced.answer(there(*ALL, "bus-6"))
        order.append("synced")

    async def disturb() -> None:
        if other == "rename":
            await stores.registry.put_workspace(WORKSPACE, name="Renamed")
        else:
            await begin(stores, synced.cast.session.shard_id)
        order.append(other)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sync)
        await slow.worked.wait()
        nursery.start_soon(disturb)
        await wait_until_somebody_waits_for_a_lock(database)
        order.append("commit")
        slow.commit()
    assert order in (["commit", "synced", other], ["commit", other, "synced"])


async def test_a_sync_of_many_devices_makes_no_more_round_trips(synced: Synced, dsn: str) -> None:
    trips = []
    async with open_proxy(dsn) as proxy, aclosing(Database(proxy.dsn, pool_size=1)) as database:
        synced.syncs = PostgresLegacySyncs(database)
        await synced.answer(there(*ALL))  # opens the connection
        for names in (("new-1",), [f"many-{number}" for number in range(300)]):
            before = proxy.round_trips
            report = await synced.answer(there(*ALL, "new-1", *names))
            trips.append(proxy.round_trips - before)
            assert report.counts["created"] == len(names)
    assert trips[1] <= trips[0] <= 25
