"""Which commands on the configuration are refused. The contract suite has the rest, with stores."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.model import Policy, PolicyOverride, ProviderConnection
from domain.registry import Conflict, check_provider, check_workspace

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
