"""Health under cutover flags: what is not asked is switched off, and what is asked again is new."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from domain.asking import LEGACY_COLLECTS
from domain.cutover import Cutover, PollOwner, ProviderMode, ReadOwner
from domain.health import judge_health
from domain.health_reason import HealthReason, Party
from tests.domain.fixtures import NOW, ago, collector, facts, link, never_heard, silent_for, unasked

if TYPE_CHECKING:
    from datetime import datetime

    from domain.health_facts import HealthFacts

R = HealthReason
LEGACY = Cutover(poll_owner=PollOwner.LEGACY, read_owner=ReadOwner.LEGACY)


def under(known: HealthFacts, flags: Cutover, since: datetime | None = None) -> HealthFacts:
    workspace = replace(known.workspace, cutover=flags, asking_changed_at=since)
    return known._replace(workspace=workspace)


@pytest.mark.parametrize("known", [silent_for(minutes=9), silent_for(minutes=22)])
def test_a_late_device_is_switched_off_while_legacy_collects(
    known: HealthFacts,
) -> None:
    troubled = link(under(known, LEGACY, ago(hours=2)), call_status="failed")
    verdict = judge_health(troubled, NOW)
    assert (verdict.reason, verdict.party) == (R.SWITCHED_OFF, Party.CUSTOMER)
    assert (verdict.causes[0].since, verdict.causes[0].detail) == (ago(hours=2), LEGACY_COLLECTS)
    assert verdict.evidence["next_poll_at"] is None


def test_a_device_never_heard_is_switched_off_too() -> None:
    assert judge_health(under(never_heard(minutes=65), LEGACY), NOW).reason is R.SWITCHED_OFF


def test_a_fresh_device_is_healthy_under_any_flags() -> None:
    """What clients send is accepted while the legacy system collects."""
    assert judge_health(under(facts(), LEGACY), NOW).reason is R.REPORTING


@pytest.mark.parametrize("owner", [PollOwner.CORE, PollOwner.BOTH_SHADOW])
def test_in_shadow_a_late_device_is_judged_as_ever(owner: PollOwner) -> None:
    flags = Cutover(poll_owner=owner)
    assert judge_health(under(silent_for(minutes=22), flags), NOW).reason is R.DEVICE_SILENT


def test_what_the_provider_mode_leaves_out_is_switched_off() -> None:
    flags = Cutover(provider_mode=ProviderMode.DEPOT_SIM)
    verdict = judge_health(under(silent_for(minutes=22), flags), NOW)
    assert verdict.reason is R.SWITCHED_OFF
    assert verdict.causes[0].detail == "the connection is real, and provider_mode is depot_sim"


# --- After a change back


def polled_again(changed: datetime | None, **record: Any) -> HealthFacts:
    """A polled bus, silent for two hours; cycles were skipped until the flags changed back.

    The newest cycle runs and has not ended.
    """
    known = silent_for(hours=2)
    known = known._replace(connection=replace(known.connection, transport="poll"))
    known = link(
        unasked(known),
        **{
            "call_status": "succeeded",
            "call_begun_at": ago(hours=2),
            "call_ended_at": ago(hours=2),
            **record,
        },
    )
    known = collector(
        known,
        last_cycle_started_at=ago(seconds=20),
        last_slot_start_at=ago(seconds=20),
        earlier_cycle_started_at=ago(seconds=320),
    )
    return under(known, Cutover(), changed)


def test_the_time_under_the_legacy_system_is_no_gap_of_ours() -> None:
    assert judge_health(polled_again(None), NOW).reason is R.COLLECTOR_LATE
    assert judge_health(polled_again(ago(seconds=60)), NOW).reason is R.NO_ANSWER_YET


def test_a_late_start_counts_from_the_change_back() -> None:
    """The limit is 1.2 intervals and 5 s: 365 s."""
    known = collector(polled_again(None), last_cycle_started_at=ago(hours=1))
    assert judge_health(known, NOW).reason is R.COLLECTOR_LATE
    back = under(known, Cutover(), ago(seconds=365))
    assert judge_health(back, NOW).reason is not R.COLLECTOR_LATE
    overdue = under(known, Cutover(), ago(seconds=366))
    assert judge_health(overdue, NOW).reason is R.COLLECTOR_LATE


def streamed_again(changed: datetime | None) -> HealthFacts:
    """A bus on a stream without a state endpoint; another bus sent before the change back."""
    known = silent_for(minutes=22)
    record = {"call_status": None, "roster_at": None, "stream_status": "open"}
    known = link(
        unasked(known),
        **record,
        stream_changed_at=ago(minutes=5),
        data_at=ago(minutes=6),
        data_device_id="bus-8",
    )
    return under(known, Cutover(), changed)


def test_another_vehicles_data_of_before_the_change_is_no_answer() -> None:
    assert judge_health(streamed_again(None), NOW).reason is R.DEVICE_SILENT
    assert judge_health(streamed_again(ago(minutes=5)), NOW).reason is R.NO_ANSWER_YET
    assert judge_health(streamed_again(ago(minutes=7)), NOW).reason is R.DEVICE_SILENT
