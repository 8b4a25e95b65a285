"""The four flags of a workspace."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from domain.cutover import (
    NEW_CUTOVER,
    Cutover,
    PollOwner,
    ProviderMode,
    ReadOwner,
    RegistrySource,
    refuse_flags,
)

EVERY = [Cutover(*flags) for flags in product(RegistrySource, PollOwner, ReadOwner, ProviderMode)]


def test_a_new_workspace_is_ours_in_every_flag() -> None:
    assert (
        Cutover(RegistrySource.CORE, PollOwner.CORE, ReadOwner.CORE, ProviderMode.LEGACY_PROVIDER)
        == NEW_CUTOVER
    )
    assert refuse_flags(NEW_CUTOVER, has_legacy=False) is None


@pytest.mark.parametrize("flags", EVERY, ids=str)
def test_core_is_not_read_while_only_the_legacy_system_collects(flags: Cutover) -> None:
    refusal = refuse_flags(flags, has_legacy=True)
    contradicts = flags.read_owner is ReadOwner.CORE and flags.poll_owner is PollOwner.LEGACY
    assert (refusal is not None) == contradicts
    if refusal is not None:
        assert (refusal.rule, refusal.field) == ("read-without-poll", "read_owner")


@pytest.mark.parametrize("flags", EVERY, ids=str)
def test_flags_that_ask_the_legacy_system_need_one(flags: Cutover) -> None:
    refusal = refuse_flags(flags, has_legacy=False)
    ours = flags.read_owner is ReadOwner.CORE and flags.poll_owner is PollOwner.CORE
    is_ours = ours and flags.device_registry_source is RegistrySource.CORE
    assert (refusal is None) == is_ours


@pytest.mark.parametrize("flags", EVERY, ids=str)
def test_a_rollback_gives_reads_and_polls_to_legacy(flags: Cutover) -> None:
    after = flags.rolled_back()
    assert (after.read_owner, after.poll_owner) == (ReadOwner.LEGACY, PollOwner.LEGACY)
    assert after.device_registry_source is flags.device_registry_source
    assert after.provider_mode is flags.provider_mode
    assert refuse_flags(after, has_legacy=True) is None


@pytest.mark.parametrize(
    ("mode", "asked"),
    [
        (ProviderMode.LEGACY_PROVIDER, {False}),
        (ProviderMode.DEPOT_SIM, {True}),
        (ProviderMode.MIXED, {False, True}),
    ],
)
def test_the_provider_mode_picks_connections(mode: ProviderMode, asked: set[bool]) -> None:
    flags = replace(NEW_CUTOVER, provider_mode=mode)
    assert {one for one in (False, True) if flags.asks(simulated=one)} == asked
