"""No statement of one workspace reads, writes or locks a row of another that has the same ids.

Every named block of storage/sql whose text mentions a workspace is run through the stores for
`OURS`, once alone in a database and once beside `THEIRS`. Both runs must answer the same and leave
`OURS` the same, and not a byte of `THEIRS` may change. Then each block loses its conditions on the
workspace, one at a time, and that must be noticed.

A new statement fails `test_every_statement_of_a_workspace_has_a_case`; scenarios.py says how to add
one.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

import pytest

import tests.isolation.archive_scenarios
import tests.isolation.cutover_scenarios
import tests.isolation.health_scenarios
import tests.isolation.history_scenarios
import tests.isolation.indicator_scenarios
import tests.isolation.legacy_sync_scenarios
import tests.isolation.live_scenarios
import tests.isolation.ownership_scenarios
import tests.isolation.parity_scenarios
import tests.isolation.picture_scenarios
import tests.isolation.quarantine_scenarios
import tests.isolation.scenarios  # noqa: F401 all fill SCENARIOS
from storage import queries
from storage.faults import DatabaseRefused
from tests.isolation.fleets import THEIRS, Harness
from tests.isolation.mutants import join_parts, mutants_of
from tests.isolation.running import Databases, rows_by_table, run_scenario, statements_replaced
from tests.isolation.scenario import SCENARIOS

if TYPE_CHECKING:
    from storage.gateway import Database
    from tests.isolation.mutants import Mutant
    from tests.isolation.scenario import Scenario

OF_A_WORKSPACE: Final = {
    name: statement
    for name, statement in queries.STATEMENTS.items()
    if re.search(r"workspace_id|resource", statement)
}
USING_PARTS: Final = {
    name
    for _, text in queries.read_sources()
    for name in re.findall(r"^-- name: (\w+)\n(?:(?!-- name:).*\n)*?-- use: ", text, re.MULTILINE)
}
MUTANTS: Final = join_parts(
    (each for name, statement in OF_A_WORKSPACE.items() for each in mutants_of(name, statement)),
    USING_PARTS,
)

# Conditions that say again what another says already, for the planner's sake: taking one out
# changes no answer.
REDUNDANT: Final = {
    ("count_health", "s.workspace_id = $14"),
    ("count_health", "s.workspace_id = ANY ($2)"),
    ("page_by_state", "s.workspace_id = $14"),
    ("page_by_state", "s.workspace_id = ANY ($2)"),
    ("find_orphans", "workspace_id = $1"),  # abandon_orphans says it again
    ("drop_old_poll_cycles", "s.workspace_id = r.workspace_id"),
    ("drop_old_rejections", "s.workspace_id = r.workspace_id"),
}

_once = cache(run_scenario)


@pytest.mark.parametrize("name", sorted(OF_A_WORKSPACE))
def test_every_statement_of_a_workspace_has_a_case(name: str) -> None:
    assert any(name in scenario.statements for scenario in SCENARIOS.values()), (
        f"No scenario drives the statement {name}:"
        " add its name to `@drives` in tests/isolation/…scenarios.py,"
        " at a scenario that makes a store run it for OURS."
    )


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_scenario_answers_as_if_there_were_no_other_workspace(
    databases: Databases, name: str
) -> None:
    alone, beside = (_once(databases, SCENARIOS[name], beside=flag) for flag in (False, True))
    assert beside.answer == alone.answer
    assert beside.ours == alone.ours


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_scenario_does_not_change_or_lock_another_workspace(
    databases: Databases, name: str
) -> None:
    beside = _once(databases, SCENARIOS[name], beside=True)
    assert beside.theirs_after == beside.theirs_before


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_scenario_runs_the_statements_that_it_names(databases: Databases, name: str) -> None:
    unknown = SCENARIOS[name].statements - OF_A_WORKSPACE.keys()
    missing = SCENARIOS[name].statements - _once(databases, SCENARIOS[name], beside=True).executed
    assert (sorted(unknown), sorted(missing)) == ([], []), (
        "not a statement of a workspace, or not run by the scenario"
    )


@pytest.mark.parametrize(
    "mutants", MUTANTS, ids=lambda mutants: f"{mutants[0].statement}-{mutants[0].number}"
)
def test_a_statement_that_forgets_the_workspace_is_noticed(
    databases: Databases, mutants: list[Mutant]
) -> None:
    names = {mutant.statement for mutant in mutants}
    scenarios = [one for one in SCENARIOS.values() if names & one.statements]
    noticed = any(_notices(databases, scenario, mutants) for scenario in scenarios)
    expected = (mutants[0].statement, mutants[0].removed) not in REDUNDANT
    assert noticed is expected, (
        f"without `{mutants[0].removed}` no scenario of {sorted(names)} says anything else"
    )


def _notices(databases: Databases, scenario: Scenario, mutants: list[Mutant]) -> bool:
    usual = _once(databases, scenario, beside=True)
    changed = {mutant.statement: mutant.sql for mutant in mutants}
    with statements_replaced({**queries.STATEMENTS, **changed}):
        try:
            run = run_scenario(databases, scenario, beside=True)
        except Exception as error:
            return not _is_no_sql(error, mutants)
    return (run.answer, run.ours) != (
        usual.answer,
        usual.ours,
    ) or run.theirs_after != run.theirs_before


def _is_no_sql(error: Exception, mutants: list[Mutant]) -> bool:
    """Return False for errors of a statement that runs. Fails for one that cannot be parsed."""
    if isinstance(error, DatabaseRefused) and error.sqlstate.startswith("42"):
        pytest.fail(
            f"{error}: teach tests/isolation/mutants.py to write SQL here: {mutants[0].sql}"
        )
    return False


def test_the_other_workspace_has_a_row_in_every_table(databases: Databases) -> None:
    """A table without rows of `THEIRS` would prove nothing."""

    async def count(database: Database) -> dict[str, int]:
        return await rows_by_table(Harness.over(database), THEIRS)

    counts = databases.standing.run(count, databases.beside)
    assert [table for table, rows in counts.items() if not rows] == [], (
        "fill it for both in tests/isolation/fleets.py"
    )
