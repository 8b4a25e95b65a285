"""The four flags of a workspace, and the gate to core reads."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from domain.cutover import (
    NEW_CUTOVER,
    Cutover,
    GateSettings,
    PollOwner,
    ProviderMode,
    ReadOwner,
    RegistrySource,
    passes_gate,
    refuse_flags,
    refuse_gate,
    view_gate,
)
from domain.model import ProviderConnection
from domain.parity import ParityCounts, ParityVerdict

EVERY = [Cutover(*flags) for flags in product(RegistrySource, PollOwner, ReadOwner, ProviderMode)]
GATE = GateSettings()


def cycle(equal: int, different: int = 0, incomparable: int = 0) -> ParityCounts:
    by_verdict = {
        ParityVerdict.EQUAL: equal,
        ParityVerdict.DIFFERENT: different,
        ParityVerdict.INCOMPARABLE: incomparable,
    }
    return ParityCounts(equal + different + incomparable, by_verdict)


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
    plain = ProviderConnection("w", "p", "viriciti", "poll", "https://vendor.example", None)
    flags = replace(NEW_CUTOVER, provider_mode=mode)
    both = [replace(plain, simulated=simulated) for simulated in (False, True)]
    assert {one.simulated for one in both if flags.asks(one)} == asked


@pytest.mark.parametrize("before", ReadOwner)
@pytest.mark.parametrize("after", ReadOwner)
def test_only_the_way_to_core_reads_leads_through_the_gate(
    before: ReadOwner, after: ReadOwner
) -> None:
    stored, wanted = (replace(NEW_CUTOVER, read_owner=owner) for owner in (before, after))
    assert passes_gate(stored, wanted) == ((before, after) == (ReadOwner.LEGACY, ReadOwner.CORE))


@pytest.mark.parametrize(
    ("cycles", "is_open"),
    [
        ([cycle(100)] * 12, True),
        ([cycle(100)] * 11, False),
        ([cycle(99, 1)] * 12, True),  # 1 %, exactly
        ([cycle(99, 1)] * 11 + [cycle(98, 2)], False),
        ([cycle(88, 12)] + [cycle(100)] * 11, True),  # 12 of 1,200
        ([cycle(87, 13)] + [cycle(100)] * 11, False),
        ([cycle(90, 0, 10)] * 12, True),  # 90 % comparable, exactly
        ([cycle(100)] * 11 + [cycle(89, 0, 11)], False),
        ([cycle(100)] * 12 + [cycle(0, 100)], True),  # a thirteenth is not looked at
        ([cycle(0)] * 12, False),  # no devices
        ([], False),
    ],
)
def test_the_gate_opens_on_twelve_comparable_cycles(
    cycles: list[ParityCounts], is_open: bool
) -> None:
    view = view_gate(cycles, GATE)
    assert view.is_open == is_open
    assert (refuse_gate(view, GATE) is None) == is_open


def test_a_shut_gate_says_the_numbers_and_the_way_out() -> None:
    view = view_gate([cycle(90, 10)] * 12 + [cycle(1)], GATE)
    refusal = refuse_gate(view, GATE)
    assert refusal is not None
    assert refusal.rule == "parity-gate"
    for words in ("12 cycles", "12 of them comparable", "10.00%", "both_shadow", "force"):
        assert words in refusal.detail
