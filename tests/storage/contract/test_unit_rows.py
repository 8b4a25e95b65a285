"""The rows that the unit's statements return: each value in the column of its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from domain.held import to_micros
from domain.model import (
    ConnectionFact,
    ConnectionFactKind,
    CursorAdvance,
    FaultClass,
    InvalidItem,
    Reason,
)
from storage.unit.rows import ConnectionRow, LockedDevice, LockedRow, RereadDevice, ResolvedDevice
from tests.statements import named
from tests.storage.contract.cast import HARBOUR, submission

if TYPE_CHECKING:
    from tests.storage.contract.cast import World


async def test_a_locked_device_has_its_facts_by_name(world: World) -> None:
    received, refused, answered = (world.ago(minutes=minutes) for minutes in (9, 8, 7))
    news = world.update("bus-1", world.ago(minutes=10), soc_percent=50.0, received_at=received)
    item = InvalidItem(
        *(HARBOUR, "steady", None, Reason.INVALID, "no value", b"{}"),
        device_id="bus-1",
        received_at=refused,
    )
    statement = named(HARBOUR, ("bus-1",), answered)
    await world.commit(submission(news, invalid=(item,), statements=(statement,)))
    (row,) = await world.inside.ask("lock_devices", [HARBOUR], ["bus-1"], [True])
    locked = LockedDevice._make(row)
    stated = to_micros(world.ago(minutes=10))
    waited = to_micros(received) - stated
    assert orjson.loads(locked.document or "") == {"soc_percent": [50.0, stated, waited, None, 0]}
    assert locked == LockedDevice(
        workspace_id=HARBOUR,
        device_id="bus-1",
        provider_id="steady",
        external_id="x-bus-1",
        ids_are_vins=False,
        vehicle_id="v-bus-1",
        active=True,
        registered_assignment=1,
        other_spans=None,
        assignment=1,
        entered_at=None,
        statements_count_from=locked.statements_count_from,
        version=1,
        snapshot_version=1,
        document=locked.document,
        last_update_received_at=received,
        last_observed_at=world.ago(minutes=10),
        last_changed_at=received,
        last_rejected_at=refused,
        last_rejection_reason="invalid",
        last_outdated_at=None,
        held_back_seconds=None,
        unaccepted_reception_at=None,
        statement="named",
        statement_begun_at=answered,
        statement_at=answered,
        statement_detail=None,
    )
    (again,) = await world.inside.ask("reread_devices", [HARBOUR], ["bus-1"])
    assert RereadDevice._make(again) == (
        *(HARBOUR, "bus-1", 1, locked.document, "steady", "x-bus-1", False, "v-bus-1", True),
        *(1, None),
    )


async def test_a_locked_connection_has_its_facts_by_name(world: World) -> None:
    opened, failed, closed = (world.ago(minutes=minutes) for minutes in (9, 8, 7))
    kinds = ConnectionFactKind
    facts = (
        ConnectionFact(HARBOUR, "steady", kinds.STREAM_OPENED, opened),
        ConnectionFact(HARBOUR, "steady", kinds.CALL_FAILED, failed, FaultClass.QUOTA, "429"),
        ConnectionFact(HARBOUR, "steady", kinds.STREAM_CLOSED, closed),
    )
    cursor = CursorAdvance(HARBOUR, "steady", "page-7")
    (receipt,) = await world.commit(submission(facts=facts, cursor=cursor))
    (row,) = await world.inside.ask("lock_connections", [HARBOUR], ["steady"])
    assert ConnectionRow._make(row) == ConnectionRow(
        workspace_id=HARBOUR,
        provider_id="steady",
        call_status="failed",
        last_failure_at=failed,
        failing_since=failed,
        fault="quota",
        fault_detail="429",
        stream_status="closed",
        stream_changed_at=closed,
        cursor="page-7",
        cursor_at=receipt.committed_at,
        call_begun_at=failed,
        call_ended_at=failed,
    )


async def test_a_resolved_device_has_its_ids_by_name(world: World) -> None:
    (row,) = await world.inside.ask("resolve_external_ids", [HARBOUR], ["steady"], ["x-bus-1"])
    assert ResolvedDevice._make(row) == ResolvedDevice(
        workspace_id=HARBOUR, provider_id="steady", external_id="x-bus-1", device_id="bus-1"
    )


async def test_a_locked_row_has_its_key_and_holder_by_name(world: World) -> None:
    async with world.inside.holding("device_state", HARBOUR, "bus-1"):
        rows = await world.inside.ask("find_locked_device_states", [HARBOUR], ["bus-1"])
    (locked,) = map(LockedRow._make, rows)
    assert (locked.workspace_id, locked.name) == (HARBOUR, "bus-1")
    assert locked.holder not in ("", HARBOUR, "bus-1")
