"""Comparisons of core with legacy systems: what core shows, and what each cycle's comparison found.

Owns the rows of parity_cycles. The verdict on a device is domain/parity.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
import trio

from domain.core_view import view_core
from domain.health_facts import is_after_loss
from domain.parity import ParityVerdict
from domain.thresholds import resolve_thresholds
from ports.parity import CoreView, ParityCycle
from storage.documents import read_document
from storage.queries import bound, sql
from storage.rows import to_connection, to_device, to_parity_counts, to_workspace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from domain.model import ProviderConnection, SessionRef, Workspace
    from storage.gateway import Connection, Database
    from storage.rows import Row

DEVICES_AT_ONCE: Final = 200  # between two of which other tasks run


class PostgresParityStore:
    """ports.parity.ParityStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_core_views(self, workspace_id: str) -> list[CoreView]:
        async def work(connection: Connection) -> tuple[Any, list[Any], list[Any]]:
            workspace = await connection.fetchrow(sql("get_workspace"), workspace_id)
            links = await connection.fetch(sql("list_providers"), workspace_id, None, None, False)
            return workspace, links, await connection.fetch(sql("list_core_views"), workspace_id)

        found, links, rows = await self._database.run(work, readonly=True)
        connections = {link["provider_id"]: to_connection(link) for link in links}
        workspace = None if found is None else to_workspace(found)
        views: list[CoreView] = []
        for place, row in enumerate(rows):
            if place % DEVICES_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            assert workspace is not None  # noqa: S101 it has devices
            connection = connections[row["provider_id"]]  # in use while a device is active
            views.append(_to_core_view(row, workspace, connection))
        return views

    async def record_parity(
        self, session: SessionRef, workspace_id: str, cycle: ParityCycle
    ) -> bool:
        counted = {
            verdict.value: cycle.counts.by_verdict.get(verdict, 0) for verdict in ParityVerdict
        }
        call = bound(
            "record_parity",
            workspace_id=workspace_id,
            slot_start_at=cycle.slot_start_at,
            cycle_id=cycle.cycle_id,
            compared_at=cycle.compared_at,
            samples=orjson.dumps([dict(sample) for sample in cycle.samples]).decode(),
            why=cycle.why,
            **counted,
        )

        async def work(connection: Connection) -> bool:
            if await connection.fetchrow(sql("hold_session"), *session) is None:
                return False
            await connection.execute(*call)
            return True

        return await self._database.run(work)


class PostgresParityReads:
    """ports.parity.ParityReads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_parity(
        self, workspace_id: str, *, limit: int, before: datetime | None = None
    ) -> list[ParityCycle]:
        async def work(connection: Connection) -> list[Any]:
            return await connection.fetch(sql("list_parity"), workspace_id, before, limit)

        # It sees one snapshot: a transaction would cost two more round trips and add nothing.
        rows = await self._database.run(work, in_transaction=False)
        return [_to_parity_cycle(row) for row in rows]


def _to_core_view(row: Row, workspace: Workspace, connection: ProviderConnection) -> CoreView:
    device, received_at = to_device(row), row["last_update_received_at"]
    lives_on_calls = is_after_loss(received_at, row["stream_down_since"])
    limits = resolve_thresholds(workspace, connection, device, lives_on_calls=lives_on_calls)
    return CoreView(
        device.device_id,
        device.provider_id,
        device.external_id,
        device.vehicle_id,
        limits.delayed_after_seconds,
        view_core(
            read_document(row["document"]),
            received_at,
            is_polled=connection.transport == "poll" or lives_on_calls,
        ),
    )


def _to_parity_cycle(row: Row) -> ParityCycle:
    samples: list[Mapping[str, Any]] = orjson.loads(row["samples"])
    return ParityCycle(
        row["slot_start_at"],
        row["cycle_id"],
        row["compared_at"],
        to_parity_counts(row),
        samples,
        row["why"],
    )
