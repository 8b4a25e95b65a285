"""`make cutover-mutants`: break what a cutover rests on, and see a test turn red.

tests/mutants.py says how. The tests are the nearest ones to what is broken.
"""

from __future__ import annotations

import sys
from typing import Final

from benchmarks.edits import Edit
from tests.mutants import Mutant, run

MUTANTS: Final = (
    Mutant(
        "gate-count",
        "the last of the cycles that the gate asks for",
        Edit(
            "domain/parity_gate.py",
            r"len\(judged\) == comparable == gate\.cycles",
            "len(judged) == comparable >= gate.cycles - 1",
        ),
        "domain/test_parity_gate.py::test_the_gate_opens_on_twelve_comparable_cycles",
    ),
    Mutant(
        "gate-command",
        "the look at the gate in the command that changes who is read",
        Edit("storage/cutovers.py", r"if passes and force is None:", "if False:"),
        "storage/test_cutovers.py::test_core_reads_only_through_the_open_gate",
    ),
    Mutant(
        "tolerance-sign",
        "the sign of a difference: core may show any smaller value",
        Edit("domain/parity.py", r"apart = abs\(ours - theirs\)", "apart = ours - theirs"),
        "domain/test_parity.py::test_values_agree_within_their_tolerance",
    ),
    Mutant(
        "older",
        "the minute beside the interval by which core may be older",
        Edit("domain/parity.py", r"interval \+ TIME_TOLERANCE_SECONDS", "interval"),
        "domain/test_parity.py::test_core_is_older_by_an_interval_and_a_minute",
    ),
    Mutant(
        "fence",
        "the look at the lease in a guardrail's transaction: two shards may act",
        Edit("storage/guardrails.py", r"return lease is not None", "return True"),
        "storage/contract/test_guardrails.py::test_a_shard_without_the_lease_does_not_act",
    ),
    Mutant(
        "once",
        "the revision that was judged: a second rollback writes again",
        Edit(
            "storage/guardrails.py", r"workspace_id, finding\.cutover_revision\)", "workspace_id)"
        ),
        "storage/contract/test_guardrails.py::"
        "test_a_cutover_that_changed_since_it_was_judged_stays",
    ),
    Mutant(
        "ten-of-twelve",
        "the equality of completed cycles and their limit",
        Edit(
            "domain/guardrails.py",
            r"completed >= limits\.min_completed_cycles",
            "completed > limits.min_completed_cycles",
        ),
        "domain/test_guardrails.py::test_fewer_than_ten_of_twelve_cycles",
    ),
    Mutant(
        "dead-legacy",
        "the question whether the legacy system answers before a rollback",
        Edit(
            "domain/guardrails.py",
            r"if not _is_within\(sight\.legacy_answered_at",
            "if False and _is_within(sight.legacy_answered_at",
        ),
        "cutover/test_steps.py::test_a_dead_legacy_system_is_told_and_not_gone_back_to",
    ),
    Mutant(
        "flapping",
        "the quiet hour after a rollback",
        Edit(
            "domain/guardrails.py",
            r"if _is_within\(sight\.rolled_back_at",
            "if False and _is_within(sight.rolled_back_at",
        ),
        "cutover/test_steps.py::test_a_second_guardrail_within_the_hour_only_alerts",
    ),
    Mutant(
        "half-rollback",
        "the reads from a rollback: it gives back the polls alone",
        Edit("domain/cutover.py", r", read_owner=ReadOwner\.LEGACY\)", ")"),
        "storage/test_cutovers.py::test_a_rollback_gives_reads_and_polls_back_in_one_change",
    ),
    Mutant(
        "silent-core",
        "the 502: core's values stand in for those of a legacy system that is away",
        Edit(
            "api/read_owners.py",
            r"if \(wanted or workspace\.cutover\.read_owner\) is ReadOwner\.CORE:",
            "if wanted is not ReadOwner.LEGACY:",
        ),
        "api/test_read_owner.py::test_an_unreachable_legacy_system_is_a_502_and_never_core",
    ),
    Mutant(
        "mixed-pages",
        "the source in a cursor: a list goes on with the other system's devices",
        Edit("api/read_owners.py", r"cursor is not None and cursor\.source != source", "False"),
        "api/test_read_owner.py::test_a_cursor_does_not_go_on_under_the_other_source",
    ),
    Mutant(
        "poll-owner",
        "the poll owner: providers are asked although the legacy system collects",
        Edit(
            "domain/cutover.py",
            r"return self\.poll_owner is not PollOwner\.LEGACY",
            "return True",
        ),
        "actors/test_cutover_flags.py::test_a_cycle_is_skipped_while_the_legacy_system_collects",
    ),
    Mutant(
        "two-answers",
        "the second of two answers that must leave a device out",
        Edit(
            "domain/legacy_sync.py",
            r"retiring = names & memory\.left_out if",
            "retiring = names if",
        ),
        "domain/test_legacy_sync.py::test_a_device_is_retired_by_the_second_answer_without_it",
    ),
    Mutant(
        "too-many",
        "the limit on how many devices an answer may leave out",
        Edit(
            "domain/legacy_sync.py",
            r"return left_out > limit or left_out == active > 0",
            "return False",
        ),
        "domain/test_legacy_sync.py::test_more_than_two_and_a_tenth_or_all_are_too_many",
    ),
)


if __name__ == "__main__":
    sys.exit(run(MUTANTS, "break what a cutover rests on, and see a test turn red"))
