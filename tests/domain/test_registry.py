"""Which commands on the configuration are refused. The contract suite has the rest, with stores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from domain.model import Policy, PolicyOverride, ProviderConnection
from domain.registry import (
    ABSENT,
    Conflict,
    Moved,
    WorkspaceDraft,
    check_provider,
    check_workspace,
    count_changes,
    find_move,
    make_workspace,
)

STEADY = ProviderConnection(
    workspace_id="harbour",
    provider_id="steady",
    provider_type="viriciti",
    transport="stream",
    base_url="wss://steady.example",
    credential=None,
)


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
    refusal = check_workspace(replace(HARBOUR, poll_interval_seconds=seconds, policy=policy))
    assert refusal is not None
    assert refusal.field == field


@pytest.mark.parametrize("seconds", [2, 3600])
def test_both_limits_of_the_interval_are_allowed(seconds: int) -> None:
    assert check_workspace(replace(HARBOUR, poll_interval_seconds=seconds)) is None


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


HARBOUR = make_workspace("harbour", WorkspaceDraft("Harbour"))


def test_a_new_workspace_is_active_with_the_default_policy() -> None:
    assert (HARBOUR.active, HARBOUR.policy, HARBOUR.poll_interval_seconds) == (True, Policy(), 300)
    assert (HARBOUR.revision, HARBOUR.policy_revision) == (1, 1)


def test_a_draft_leaves_what_it_does_not_name() -> None:
    stored = replace(HARBOUR, active=False, policy=Policy(grace_seconds=60.0))
    assert WorkspaceDraft("Renamed").apply(stored) == replace(stored, name="Renamed")


@pytest.mark.parametrize(
    ("changes", "revisions"),
    [
        ({}, (1, 1)),
        ({"name": "Renamed"}, (2, 1)),
        ({"active": False}, (2, 1)),
        ({"policy": Policy(grace_seconds=60.0)}, (1, 2)),
        ({"poll_interval_seconds": 600}, (1, 2)),
        ({"name": "Renamed", "poll_interval_seconds": 600}, (2, 2)),
        ({"config_version": 9}, (1, 1)),
    ],
)
def test_a_revision_counts_what_belongs_to_it(
    changes: dict[str, Any], revisions: tuple[int, int]
) -> None:
    counted = count_changes(HARBOUR, replace(HARBOUR, **changes))
    assert (counted.revision, counted.policy_revision) == revisions


@pytest.mark.parametrize(
    ("revision", "expected", "moved"),
    [(3, None, False), (3, 3, False), (3, 2, True), (ABSENT, ABSENT, False), (3, ABSENT, True)],
)
def test_a_command_may_expect_a_revision(revision: int, expected: int | None, moved: bool) -> None:
    assert find_move(revision, expected) == (Moved(revision) if moved else None)
