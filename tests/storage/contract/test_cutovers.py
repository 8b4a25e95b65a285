"""What a shard reads of the cutover of a workspace that it owns, and the notes that it makes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from domain.cutover import Cutover, PollOwner, ProviderMode, ReadOwner
from ports.cutovers import CutoverDraft, UnfitNote, new_draft
from ports.legacy import LegacyConfiguration
from tests.storage.contract.cast import HARBOUR, ISLAND

if TYPE_CHECKING:
    from ports.cutovers import StoredCutover
    from tests.storage.contract.cast import World

LEGACY = LegacyConfiguration("http://127.0.0.1:9", None, {"values": {"path": "/state"}})
LEGACY_FLAGS = Cutover(poll_owner=PollOwner.LEGACY, read_owner=ReadOwner.LEGACY)
SHADOW = Cutover(poll_owner=PollOwner.BOTH_SHADOW, read_owner=ReadOwner.LEGACY)


async def put(world: World, flags: Cutover) -> None:
    await world.stores.cutovers.put_cutover(HARBOUR, draft=make(flags))


def make(flags: Cutover) -> CutoverDraft:
    return new_draft(flags)._replace(legacy=LEGACY)


async def load(world: World, workspace_id: str = HARBOUR) -> StoredCutover:
    found = await world.stores.cutovers.load_cutover(world.session, workspace_id)
    assert found is not None
    return found


async def test_a_new_workspace_is_ours(world: World) -> None:
    assert (await load(world)).draft == new_draft()


async def test_a_changed_cutover_is_loaded_and_moves_the_configuration(world: World) -> None:
    version = await world.config_version()
    await put(world, LEGACY_FLAGS)
    stored = await load(world)
    assert stored.draft == make(LEGACY_FLAGS)
    assert stored.workspace.cutover == (await world.workspace(HARBOUR)).cutover == LEGACY_FLAGS
    assert stored.workspace.cutover_revision == 2
    assert await world.config_version() == version + 1
    assert (await load(world, ISLAND)).draft == new_draft()


async def test_the_same_cutover_again_changes_nothing(world: World) -> None:
    await put(world, SHADOW)
    before = await load(world)
    await put(world, SHADOW)
    assert await load(world) == before
    assert (await load(world)).workspace.config_version == before.workspace.config_version


@pytest.mark.parametrize(
    ("flags", "is_noted"),
    [
        (LEGACY_FLAGS, True),
        (SHADOW, False),
        (Cutover(provider_mode=ProviderMode.MIXED), True),
        (Cutover(read_owner=ReadOwner.LEGACY), False),
    ],
)
async def test_when_other_providers_are_asked_is_noted(
    world: World, flags: Cutover, is_noted: bool
) -> None:
    await put(world, flags)
    assert ((await load(world)).workspace.asking_changed_at is not None) is is_noted


async def test_a_workspace_that_is_put_again_keeps_its_cutover(world: World) -> None:
    await put(world, LEGACY_FLAGS)
    before = await load(world)
    await world.put_workspace(HARBOUR, name="Renamed")
    after = await load(world)
    assert after.draft == make(LEGACY_FLAGS)
    assert after.workspace.asking_changed_at == before.workspace.asking_changed_at is not None


async def test_a_session_that_is_over_is_told_nothing(world: World) -> None:
    await world.stores.sessions.end_session(world.session)
    assert await world.stores.cutovers.load_cutover(world.session, HARBOUR) is None


async def test_notes_of_the_legacy_system_stand_beside_the_cutover(world: World) -> None:
    await put(world, SHADOW)
    note = world.stores.cutovers.note_legacy_answer
    await note(HARBOUR, world.now)
    await note(HARBOUR, world.now + timedelta(seconds=9), "no answer within 3 s")
    stored = await load(world)
    noted = (stored.legacy_answered_at, stored.legacy_failed_at, stored.legacy_fault)
    assert noted == (world.now, world.now + timedelta(seconds=9), "no answer within 3 s")


async def test_what_does_not_fit_is_kept_with_its_sample(world: World) -> None:
    await put(world, SHADOW)
    unfit = UnfitNote(world.now, 3, "bus-7", "/values/received_at", "no instant", '{"id": "\0ü"}')
    await world.stores.cutovers.note_legacy_unfit(HARBOUR, unfit._replace(items=1))
    await world.stores.cutovers.note_legacy_unfit(HARBOUR, unfit)
    assert (await load(world)).legacy_unfit == unfit


async def test_notes_are_not_kept_for_another_legacy_system(world: World) -> None:
    await put(world, SHADOW)
    await world.stores.cutovers.note_legacy_answer(HARBOUR, world.now)
    await put(world, LEGACY_FLAGS)
    assert (await load(world)).legacy_answered_at == world.now
    other = make(SHADOW)._replace(legacy=LEGACY._replace(base_url="http://127.0.0.1:8"))
    await world.stores.cutovers.put_cutover(HARBOUR, draft=other)
    assert (await load(world)).legacy_answered_at is None
