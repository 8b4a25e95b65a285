"""Devices judged together: they share what their connection has in common, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

from domain.health import Judge, judge_health
from domain.health_facts import ConnectionRecord
from domain.health_reason import HealthReason
from domain.model import FaultClass, PolicyOverride
from tests.domain.fixtures import (
    NOW,
    after_gap,
    ago,
    collector,
    link,
    never_heard,
    polled,
    silent_for,
    unasked,
)

if TYPE_CHECKING:
    from domain.health_facts import HealthFacts


def page() -> list[HealthFacts]:
    """Return devices of two workspaces, two connections in each, and three overrides."""
    refused = silent_for(minutes=9)._replace(last_rejected_at=ago(minutes=3))
    kinds = (silent_for(minutes=9), refused, silent_for(minutes=1), never_heard(minutes=65))
    overrides = (PolicyOverride(), PolicyOverride(30.0, 60.0), PolicyOverride(grace_seconds=7200))
    places = product(("north", "south"), ("live", "hourly"), overrides, kinds)
    return [
        _moved(known, workspace_id, provider_id, override)
        for workspace_id, provider_id, override, known in places
    ]


def _moved(
    known: HealthFacts, workspace_id: str, provider_id: str, override: PolicyOverride
) -> HealthFacts:
    names: Any = {"workspace_id": workspace_id, "provider_id": provider_id}
    moved = known._replace(
        workspace=replace(known.workspace, workspace_id=workspace_id),
        connection=replace(known.connection, **names),
        device=replace(known.device, override=override, **names),
    )
    if workspace_id == "south":
        moved = collector(moved, owner="shard-b", unknown_ids=((provider_id, "VID_0007"),))
    if provider_id == "hourly":
        quota = {"call_status": "failed", "fault": FaultClass.QUOTA}
        return link(polled(moved), **quota, last_failure_at=ago(minutes=2))
    # Longer ago than due: it counts only for devices with a long stale threshold.
    return link(moved, unreadable_at=ago(minutes=12), readable_at=None)


def test_devices_judged_together_get_their_own_verdicts() -> None:
    judge = Judge(NOW).judge
    together = [judge(known) for known in page()]
    assert together == [judge_health(known, NOW) for known in page()]
    assert len({(each.thresholds, each.state) for each in together}) > 9
    assert len({each.causes for each in together}) == 6


def test_what_a_connection_shares_is_gathered_once() -> None:
    judge = Judge(NOW).judge
    failing = link(silent_for(minutes=9), last_failure_at=ago(minutes=2))
    one, other = judge(failing), judge(failing._replace(device=replace(failing.device)))
    assert one.evidence["last_error"] is other.evidence["last_error"]
    assert one.thresholds is other.thresholds


def test_only_data_of_other_devices_ends_our_gap_for_one() -> None:
    """One device sent the newest data. The others know by it that the gap is over."""
    record = ConnectionRecord(data_at=ago(seconds=50), data_device_id="bus-9")
    gone = unasked(silent_for(minutes=50))
    other = after_gap(gone, back=70.0)._replace(connection_record=record)
    sender = other._replace(device=replace(other.device, device_id="bus-9"))
    expected = [HealthReason.DEVICE_SILENT, HealthReason.COLLECTOR_LATE]
    assert _reasons(other, sender) == expected
    assert _reasons(sender, other) == expected[::-1]


def test_without_a_start_each_device_waits_for_its_own_time() -> None:
    old = collector(unasked(never_heard(minutes=65)), last_cycle_started_at=None)
    old = old._replace(workspace=replace(old.workspace, scheduled_since=None))
    new = old._replace(device=replace(old.device, activated_at=ago(minutes=2)))
    expected = [HealthReason.COLLECTOR_LATE, HealthReason.AWAITING_FIRST_DATA]
    assert _reasons(old, new) == expected
    assert _reasons(new, old) == expected[::-1]


def test_devices_without_a_start_are_judged_together_as_alone() -> None:
    """Activations lie before, at and after the time from which our side collects."""
    judge = Judge(NOW).judge
    page_of_some = [
        known._replace(
            workspace=replace(
                known.workspace,
                workspace_id=f"{transport} {since} {changed}",
                scheduled_since=since,
                asking_changed_at=changed,
            ),
            connection=replace(known.connection, transport=transport),
            device=replace(
                known.device,
                workspace_id=f"{transport} {since} {changed}",
                activated_at=ago(minutes=activated),
            ),
        )
        for transport in ("push", "poll", "stream")
        for since in (None, ago(minutes=3), ago(minutes=30))
        for changed in (None, ago(minutes=4), ago(minutes=40))
        for activated in (300, 30, 4, 3, 2)
        for known in (
            collector(never_heard(minutes=65), last_cycle_started_at=None),
            collector(silent_for(minutes=20), last_cycle_started_at=None),
        )
    ]
    together = [judge(known) for known in page_of_some]
    assert together == [judge_health(known, NOW) for known in page_of_some]
    assert len({each.reason for each in together}) > 3


def _reasons(*page_of_some: HealthFacts) -> list[HealthReason]:
    judge = Judge(NOW).judge
    return [judge(known).reason for known in page_of_some]
