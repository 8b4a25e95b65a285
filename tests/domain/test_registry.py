"""Which commands on the configuration are refused. The contract suite has the rest, with stores."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.model import Policy, PolicyOverride, ProviderConnection
from domain.registry import (
    Answer,
    Conflict,
    DeviceDraft,
    NotFound,
    Stored,
    check_provider,
    check_workspace,
    judge_drafts,
)

STEADY = ProviderConnection(
    workspace_id="harbour",
    provider_id="steady",
    provider_type="viriciti",
    transport="stream",
    base_url="wss://steady.example",
    credential=None,
)
BUS = DeviceDraft("bus-1", "steady", "x-1", "B 1", "Bus 1")


@pytest.mark.parametrize(
    ("seconds", "policy", "field"),
    [
        (1, Policy(), "poll_interval_seconds"),
        (3601, Policy(), "poll_interval_seconds"),
        (300, Policy(freshness_target_seconds=0.0), "freshness_target_seconds"),
        (300, Policy(delayed_after_seconds=299.0), "delayed_after_seconds"),
        (300, Policy(stale_after_seconds=360.0), "stale_after_seconds"),
        (300, Policy(grace_seconds=0.0), "grace_seconds"),
    ],
)
def test_a_workspaces_conflict_names_the_field(seconds: int, policy: Policy, field: str) -> None:
    refusal = check_workspace(seconds, policy)
    assert refusal is not None
    assert refusal.field == field


@pytest.mark.parametrize("seconds", [2, 3600])
def test_both_limits_of_the_interval_are_allowed(seconds: int) -> None:
    assert check_workspace(seconds, Policy()) is None


@pytest.mark.parametrize(
    ("connection", "field"),
    [
        (replace(STEADY, expected_update_seconds=0.0), "expected_update_seconds"),
        (replace(STEADY, override=PolicyOverride(0.0, None, None)), "delayed_after_seconds"),
        (replace(STEADY, override=PolicyOverride(None, 0.0, None)), "stale_after_seconds"),
        (replace(STEADY, override=PolicyOverride(None, None, 0.0)), "grace_seconds"),
    ],
)
def test_a_connections_conflict_names_the_field(connection: ProviderConnection, field: str) -> None:
    assert check_provider(connection) == Conflict("must be above 0", field)


@pytest.mark.parametrize(
    ("draft", "answer"),
    [
        (BUS, Conflict("device bus-1 is given twice", "device_id")),
        (
            BUS._replace(device_id="bus-2"),
            Conflict("external id x-1 is given twice", "external_id"),
        ),
        (
            BUS._replace(device_id="bus-2", external_id="x-9"),
            Conflict("external id x-9 belongs to active device bus-9", "external_id"),
        ),
        (
            BUS._replace(device_id="bus-2", external_id="x-2", grace_seconds=0.0),
            Conflict("must be above 0", "grace_seconds"),
        ),
        (BUS._replace(device_id="bus-2", provider_id="nobody"), NotFound("provider nobody")),
        (BUS._replace(device_id="bus-2", external_id="x-2"), Stored(created=True)),
    ],
)
def test_each_draft_is_judged_after_those_before_it(draft: DeviceDraft, answer: Answer) -> None:
    holders = {("steady", "x-9"): "bus-9"}
    assert judge_drafts([BUS, draft], {"steady"}, {}, holders) == [Stored(created=True), answer]
