"""The health rule over random histories of a provider, our side and a device."""

from __future__ import annotations

import os
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.health import judge_health
from domain.health_answer import due_seconds
from domain.health_gaps import find_gap
from domain.health_reason import CONNECTION_REASONS, HealthReason, Party
from domain.health_state import State
from tests.domain.health_world import STEP, TROUBLES, Trouble, World

if TYPE_CHECKING:
    from domain.health import Verdict

R = HealthReason
HISTORY_SECONDS = 5400.0
# `HISTORIES=5000 pytest tests/domain/test_health_histories.py` plays more of them.
HISTORIES = int(os.environ.get("HISTORIES", "200"))
SEED = int(os.environ.get("HISTORIES_SEED", "20261128"))
MAX_RESTLESS_SHARE = 0.02
FRESH_REASONS = frozenset({R.REPORTING, R.PROVIDER_DELAY, R.SIGNAL_SILENT})
SILENCE = frozenset({R.DEVICE_SILENT, R.NEVER_REPORTED})
OF_DEVICE = frozenset({"silent", "refused", "outdated"})
ORDER = list(HealthReason)

troubles = st.builds(
    lambda name, begin, length: Trouble(name, begin * 60.0, (begin + length) * 60.0),
    st.sampled_from(list(TROUBLES)),
    st.integers(0, 80),
    st.integers(1, 60),
)
worlds = st.builds(
    World,
    transport=st.sampled_from(["poll", "stream", "push"]),
    interval=st.sampled_from([60, 300, 600]),
    troubles=st.lists(troubles, max_size=4).map(tuple),
)


def has_recent_answer(world: World, verdict: Verdict) -> bool:
    """Return what the world itself knows about answers."""
    limit = due_seconds(world.facts.workspace)
    if world.transport == "push":
        limit = max(limit, verdict.thresholds.stale_after_seconds)
    heard_at = world.facts.last_update_received_at
    return any(
        world.now - ended_at <= timedelta(seconds=limit)
        and (heard_at is None or begun_at > heard_at)
        for begun_at, ended_at in world.answers[-40:]
    )


@given(worlds)
@settings(max_examples=30, deadline=None)
def test_every_moment_has_one_state_one_reason_and_one_party(world: World) -> None:
    for moment in world.live(HISTORY_SECONDS):
        verdict = judge_health(moment.facts, moment.now)
        assert (verdict.state is State.HEALTHY) == (verdict.reason in FRESH_REASONS)
        assert (verdict.party is Party.NONE) == (verdict.reason is R.REPORTING)
        found = [ORDER.index(each.reason) for each in verdict.causes]
        assert found == sorted(set(found))


@given(worlds)
@settings(max_examples=30, deadline=None)
def test_the_device_is_blamed_only_on_a_recent_answer(world: World) -> None:
    for moment in world.live(HISTORY_SECONDS):
        verdict = judge_health(moment.facts, moment.now)
        if verdict.reason in SILENCE:
            assert has_recent_answer(moment, verdict)


@given(worlds)
@settings(max_examples=30, deadline=None)
def test_no_cause_of_the_connection_displaces_a_recent_answer(world: World) -> None:
    """Without calls, our own gap does: what came before it proves nothing."""
    for moment in world.live(HISTORY_SECONDS):
        verdict = judge_health(moment.facts, moment.now)
        is_known = moment.facts.statement == "named" or moment.transport == "push"
        is_after_gap = moment.transport != "push" or find_gap(moment.facts, moment.now) is None
        if is_known and is_after_gap and has_recent_answer(moment, verdict):
            assert verdict.reason not in CONNECTION_REASONS


@given(worlds)
@settings(max_examples=30, deadline=None)
def test_a_device_is_not_blamed_for_long_for_others_faults(world: World) -> None:
    """It may be blamed for the larger of its delayed threshold and due."""
    blamed_for = innocent_for = 0.0
    for moment in world.live(HISTORY_SECONDS):
        verdict = judge_health(moment.facts, moment.now)
        innocent_for = 0.0 if moment.truth() & OF_DEVICE else innocent_for + STEP
        parties = {TROUBLES[name] for name in moment.truth()}
        is_others_fault = bool(parties) and parties <= {Party.OURS, Party.PROVIDER}
        is_wrong = verdict.party is Party.DEVICE and is_others_fault and innocent_for
        blamed_for = blamed_for + STEP if is_wrong else 0.0
        longest = max(
            verdict.thresholds.delayed_after_seconds,
            2.2 * moment.interval,
            # What was refused before is held against it for so long.
            verdict.thresholds.stale_after_seconds if verdict.reason not in SILENCE else 0.0,
        )
        assert blamed_for <= longest + STEP


@given(worlds)
@settings(max_examples=30, deadline=None)
def test_a_client_that_pushes_when_it_can_is_never_silent(world: World) -> None:
    """It cannot push while we are away."""
    for moment in world.live(HISTORY_SECONDS):
        assert judge_health(moment.facts, moment.now).reason is not R.SENDER_SILENT


def random_world(random: Random) -> World:
    spans = []
    for _ in range(random.randint(1, 4)):
        begin, length = random.uniform(0, 4800), random.uniform(60, 4800)
        spans.append(Trouble(random.choice(list(TROUBLES)), begin, begin + length))
    transport = random.choice(["poll", "stream", "push"])
    return World(transport, random.choice([60, 300, 600]), tuple(spans))


def most_changes_an_hour(world: World) -> int:
    """Return the most changes of reason within an hour in which the truth did not change."""
    spans: list[tuple[frozenset[str], list[tuple[float, HealthReason]]]] = []
    for moment in world.live(HISTORY_SECONDS):
        truth, reason = moment.truth(), judge_health(moment.facts, moment.now).reason
        if not spans or spans[-1][0] != truth:
            spans.append((truth, []))
        spans[-1][1].append((moment.seconds, reason))
    most = 0
    for _, seen in spans:
        changes = [at for (_, one), (at, next_one) in pairwise(seen) if one is not next_one]
        for index, at in enumerate(changes):
            most = max(most, sum(1 for each in changes[index:] if each - at < 3600))
    return most


def test_reasons_rarely_change_while_the_truth_does_not() -> None:
    """At most 2% of devices may see more than two changes an hour.

    Of the worlds that exceed it, nearly all have a provider that fails every second call.
    """
    random = Random(SEED)
    worlds = [random_world(random) for _ in range(HISTORIES)]
    restless = [world for world in worlds if most_changes_an_hour(world) > 2]
    assert len(restless) <= MAX_RESTLESS_SHARE * HISTORIES, restless


@pytest.mark.parametrize("interval", [300, 600, 1200, 3600])
def test_a_device_that_lives_on_state_calls_does_not_alternate(interval: int) -> None:
    """Its socket is away for hours, and its news come with the calls alone."""
    world = World("stream", interval, (Trouble("socket_lost", 900, 4 * HISTORY_SECONDS),))
    seen = [
        judge_health(moment.facts, moment.now).reason
        for moment in world.live(4 * HISTORY_SECONDS)
        if moment.seconds > 900 + 2 * interval
    ]
    assert set(seen) == {R.REPORTING}
