"""`make acceptance-mutants`: remove what an id names, and see the id's test turn red.

This shows that the tests of `make acceptance` can fail. tests/mutants.py says how.
"""

from __future__ import annotations

import sys
from typing import Final

from benchmarks.edits import Edit
from tests.mutants import Mutant, run

_KEPT: Final = 'self.__dict__.setdefault("kept", {})'

MUTANTS: Final = (
    Mutant(
        "SC-01",
        "the stagger: every phase is the same",
        Edit("domain/schedule.py", r"^(    share = )_fraction\([^\n]*$", r"\g<1>0.0"),
        "acceptance/test_schedule.py::"
        "test_acceptance_1_fr_001_sc_01_every_workspace_has_a_cycle_in_every_slot",
    ),
    Mutant(
        "FR-002",
        "the spread of late starts: a takeover starts everything at once",
        Edit(
            "domain/schedule.py",
            r"now \+ min\(wait, left - timedelta\(microseconds=1\)\)",
            "now",
        ),
        "processes/test_takeover_starts.py::test_fr_001_fr_002_d_002_a_takeover_keeps_starts_apart",
    ),
    Mutant(
        "FR-015",
        "the rejection of stale and duplicate readings",
        Edit("domain/comparison.py", r"if lead <= 0:", "if lead <= -2:"),
        "acceptance/test_retries.py::test_fr_015_a_batch_sent_again_changes_nothing",
    ),
    Mutant(
        "FR-014",
        "the look at the key's scopes",
        Edit("api/auth.py", r"if scope in access\.scopes:", "if access.scopes:"),
        "acceptance/test_bad_requests.py::test_fr_014_writes_need_a_key_with_the_right_scope",
    ),
    Mutant(
        "SC-04",
        "the comparison of an update's vehicle with the registry",
        Edit(
            "domain/acceptance.py",
            r"        or \(update\.vehicle_id is not None and [^\n]*\n",
            "",
        ),
        "acceptance/test_acceptance_path.py::"
        "test_acceptance_4_sc_04_bad_identity_is_refused_and_moves_nothing",
    ),
    Mutant(
        "SC-02",
        "the event that is appended with the snapshot",
        Edit(
            "storage/unit/steps.py",
            r"tuple\(kept\.values\(\)\)",
            "tuple([] for _ in kept)",
        ),
        "acceptance/test_acceptance_path.py::"
        "test_acceptance_2_sc_02_one_transaction_writes_snapshot_and_event",
    ),
    Mutant(
        "NFR-004",
        "the end of the grace",
        Edit(
            "domain/health_state.py",
            r"if activated_at < limits\.grace_before",
            "if activated_at is None",
        ),
        "acceptance/test_health_report.py::"
        "test_nfr_004_acceptance_8_sc_10_a_breach_of_grace_shows_at_the_next_request",
    ),
    Mutant(
        "SC-05",
        "the look into the database: a shard answers from what it read first",
        Edit(
            "storage/reads.py",
            r"rows = (await self\._fetch\(\"get_snapshot\", workspace_id, device_id\))",
            rf"rows = {_KEPT}.get(device_id) or {_KEPT}.setdefault(device_id, \g<1>)",
        ),
        "acceptance/test_readers.py::"
        "test_acceptance_5_fr_008_d_003_sc_05_readers_of_two_shards_agree_on_versions",
    ),
    Mutant(
        "D-008",
        "reads of the present rows: a list shows what it showed first",
        Edit(
            "storage/reads.py",
            r"rows = (await self\._fetch\(\"list_snapshots\", [^)]*\))",
            rf"rows = {_KEPT}.get(workspace_id) or {_KEPT}.setdefault(workspace_id, \g<1>)",
        ),
        "processes/test_instances.py::test_d_008_an_accepted_update_is_read_at_the_next_request",
    ),
    Mutant(
        "D-006",
        "the workspace's own stale threshold: it is 15 minutes for all",
        Edit(
            "domain/thresholds.py",
            r"middle\.stale_after_seconds, policy\.stale_after_seconds",
            "middle.stale_after_seconds, 900.0",
        ),
        "acceptance/test_devices_and_policy.py::"
        "test_d_006_d_007_limits_are_15_and_60_minutes_unless_changed",
    ),
    Mutant(
        "SC-07",
        "devices that never reported, from the worklist",
        Edit(
            "api/issues.py",
            r"for state in self\.state or IssueState\)",
            "for state in self.state or (IssueState.STALE,))",
        ),
        "acceptance/test_health_report.py::"
        "test_acceptance_7_fr_007_sc_07_the_worklist_has_reason_and_recency",
    ),
)


if __name__ == "__main__":
    sys.exit(run(MUTANTS, "remove what an id names, and see the id's test turn red"))
