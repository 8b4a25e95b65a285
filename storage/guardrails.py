"""Guardrails: what they look at, and their rollback as one transaction, fenced like a unit.

Owns the order of that transaction. The workspace's row is locked first, because a transaction that
waits must not hold its session's row: the units of its own shard would wait for it too. Then the
session must be live and the lease must be this shard's under the same token, and both are held to
the end. So of two shards that judged one workspace at most one writes, and a shard that is killed
leaves all of it or nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from domain.changes import Author
from domain.cycles import CycleOutcome
from domain.guardrails import EndedCycle
from domain.registry import Stored
from ports.cutovers import StoredCutover
from storage.cutovers import lock_cutover, write_rollback
from storage.queries import bound, sql
from storage.rows import to_parity_counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.changes import Document
    from domain.model import Ownership
    from domain.parity import ParityCounts
    from ports.guardrails import GuardrailFinding
    from storage.gateway import Connection, Database
    from storage.rows import Row

GUARDRAIL: Final = "guardrail"  # who rolled back, in the history
ANSWERED: Final = "ok"  # the result of a connection in a cycle's summary


class PostgresGuardrailStore:
    """ports.guardrails.GuardrailStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_cycle_ends(self, workspace_id: str, limit: int) -> list[EndedCycle]:
        return (await self.load_cycle_ends_of({workspace_id: limit}))[workspace_id]

    async def load_cycle_ends_of(self, limits: Mapping[str, int]) -> dict[str, list[EndedCycle]]:
        rows = await self._fetch("load_cycle_ends", list(limits), list(limits.values()))
        ends: dict[str, list[EndedCycle]] = {workspace_id: [] for workspace_id in limits}
        for row in rows:
            ends[row["workspace_id"]].append(_to_ended_cycle(row))
        return ends

    async def load_comparisons(self, workspace_id: str, limit: int) -> list[ParityCounts]:
        rows = await self._fetch("load_gate_cycles", workspace_id, limit, False)
        return [to_parity_counts(row) for row in rows]

    async def roll_back(
        self, ownership: Ownership, workspace_id: str, finding: GuardrailFinding
    ) -> bool:
        async def work(connection: Connection) -> bool:
            stored = await lock_cutover(connection, workspace_id, finding.cutover_revision)
            if not isinstance(stored, StoredCutover) or not await _is_owner(connection, ownership):
                return False
            by = Author(GUARDRAIL, finding.trace_id)
            evidence = {"cycle_id": finding.cycle_id, "crossings": _describe(finding)}
            answer = await write_rollback(connection, stored, by=by, rollback=evidence)
            if not isinstance(answer, Stored) or answer.revision == finding.cutover_revision:
                return False  # there is no legacy system, or it is read and collects already
            await connection.execute(*_call("record_rollback", workspace_id, finding))
            await connection.execute(sql("note_rollback"), workspace_id)
            return True

        return await self._database.run(work)

    async def record_alert(
        self, ownership: Ownership, workspace_id: str, finding: GuardrailFinding
    ) -> bool:
        call = _call("record_alert", workspace_id, finding, why_not=finding.why_not)

        async def work(connection: Connection) -> bool:
            if not await _is_owner(connection, ownership):
                return False
            return await connection.fetchrow(*call) is not None

        return await self._database.run(work)

    async def _fetch(self, name: str, *args: Any) -> list[Any]:
        async def work(connection: Connection) -> list[Any]:
            return await connection.fetch(sql(name), *args)

        # It sees one snapshot: a transaction would cost two more round trips and add nothing.
        return await self._database.run(work, name=name, in_transaction=False)


async def _is_owner(connection: Connection, ownership: Ownership) -> bool:
    """Hold session and lease until the end of the transaction; return False if one is over."""
    resource, shard_id, epoch, token = ownership
    if await connection.fetchrow(sql("hold_session"), shard_id, epoch) is None:
        return False
    lease = await connection.fetchrow(sql("hold_lease"), resource, shard_id, epoch, token)
    return lease is not None


def _call(
    statement: str, workspace_id: str, finding: GuardrailFinding, **rest: str | None
) -> tuple[Any, ...]:
    return bound(
        statement,
        workspace_id=workspace_id,
        cycle_id=finding.cycle_id,
        trace_id=finding.trace_id,
        crossings=orjson.dumps(_describe(finding)).decode(),
        **rest,
    )


def _describe(finding: GuardrailFinding) -> list[Document]:
    return [
        {**crossing._asdict(), "guardrail": crossing.guardrail.value}
        for crossing in finding.crossings
    ]


def _to_ended_cycle(row: Row) -> EndedCycle:
    """Return the outcome, and the share of the connections that answered."""
    results = orjson.loads(row["connections"] or "{}").values()
    answered = sum(result == ANSWERED for result in results)
    return EndedCycle(CycleOutcome(row["outcome"]), answered / len(results) if results else 0.0)
