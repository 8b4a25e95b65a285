"""Which connections the flags of a workspace let us ask."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import pytest

from domain.asking import LEGACY_COLLECTS, under_flags, why_not_asked
from domain.cutover import Cutover, PollOwner, ProviderMode, ReadOwner
from tests.domain.fixtures import TRAM_AND_BUS

if TYPE_CHECKING:
    from domain.model import Transport

LEGACY = Cutover(poll_owner=PollOwner.LEGACY, read_owner=ReadOwner.LEGACY)


@pytest.mark.parametrize("transport", ["poll", "stream", "push"])
@pytest.mark.parametrize(
    ("mode", "asked"),
    [
        (ProviderMode.LEGACY_PROVIDER, {False}),
        (ProviderMode.DEPOT_SIM, {True}),
        (ProviderMode.MIXED, {False, True}),
    ],
)
def test_the_provider_mode_picks_what_is_polled_and_streamed(
    transport: Transport, mode: ProviderMode, asked: set[bool]
) -> None:
    for simulated, owner in product((False, True), (PollOwner.CORE, PollOwner.BOTH_SHADOW)):
        connection = replace(TRAM_AND_BUS, transport=transport, simulated=simulated)
        flags = Cutover(poll_owner=owner, provider_mode=mode)
        is_asked = transport == "push" or simulated in asked
        assert (why_not_asked(connection, flags) is None) is is_asked
        assert under_flags(connection, flags).active is is_asked


@pytest.mark.parametrize("mode", ProviderMode)
def test_nothing_is_asked_while_the_legacy_system_collects(mode: ProviderMode) -> None:
    flags = replace(LEGACY, provider_mode=mode)
    assert why_not_asked(TRAM_AND_BUS, flags) == LEGACY_COLLECTS
    assert under_flags(TRAM_AND_BUS, flags) == replace(TRAM_AND_BUS, active=False)


def test_a_connection_that_is_asked_stays_the_same_object() -> None:
    assert under_flags(TRAM_AND_BUS, Cutover()) is TRAM_AND_BUS


def test_the_reason_names_the_kind_and_the_mode() -> None:
    simulated = replace(TRAM_AND_BUS, simulated=True)
    why = "the connection is simulated, and provider_mode is legacy_provider"
    assert why_not_asked(simulated, Cutover()) == why
    why = "the connection is real, and provider_mode is depot_sim"
    assert why_not_asked(TRAM_AND_BUS, Cutover(provider_mode=ProviderMode.DEPOT_SIM)) == why
