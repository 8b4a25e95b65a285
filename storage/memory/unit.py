"""The statements of storage/sql/ingest.sql in Python: one method for each, under the block's name.

Owns what a statement does to the rows, and the refusals that PostgreSQL's types and constraints
would make. Decides nothing else: the unit itself is storage/unit/dialogue.py, on the twin as on
PostgreSQL.
"""

from __future__ import annotations

from itertools import zip_longest
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import orjson

from domain.cycles import CycleOutcome
from domain.identity import external_key
from domain.model import MAX_SAMPLE_BYTES, MAX_WHOLE_BYTES
from domain.resource import workspace_resource
from ports.reads import EventRow, RejectionRow
from storage.documents import read_readings
from storage.faults import CLIENT_SIDE, explain_error
from storage.memory.counting import count_devices
from storage.memory.tables import (
    DeviceEdge,
    DeviceState,
    Edge,
    Quarantined,
    Snapshot,
    WriterRow,
)
from storage.queries import PARAMETERS
from storage.rows import dump_spans
from storage.unit.rows import (
    ConnectionRow,
    CountedDevices,
    LockedDevice,
    RereadDevice,
    ResolvedDevice,
)
from storage.unit.steps import Copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from storage.memory.locks import RowLocks
    from storage.memory.tables import UnitTables
    from storage.unit.steps import Rows, Statement

# The columns that an event may leave out.
_EVENT_DEFAULTS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("trace", "trace_id", "resource", "token", "reception_at")),
    "assignment": 1,
}


class UnitStatements:
    """One unit's statements over its overlay.

    `now` is read once for each statement, like clock_timestamp() in a short one.
    """

    def __init__(self, tables: UnitTables, now: Callable[[], datetime], locks: RowLocks) -> None:
        self._tables = tables
        self._now = now
        self._locks = locks

    def execute(self, statement: Statement) -> Rows:
        """Return the rows that the statement returns.

        Raises UnitPoisoned or DatabaseRefused as PostgreSQL would.
        """
        method: Callable[..., Rows] = getattr(self, statement.name)
        if isinstance(statement, Copy):
            names, columns = statement.args
            _refuse_unsendable(columns)
            rows = zip(*columns, strict=True)
            return method([dict(zip(names, row, strict=True)) for row in rows])
        _refuse_unsendable(statement.args)
        names = PARAMETERS[statement.name].names
        if names:
            return method(**dict(zip(names, statement.args, strict=True)))
        return method(*statement.args)

    def fence(self, shard_id: str, epoch: int, writer: int, unit: int) -> Rows:
        mine = self._tables.session_writers.get((shard_id, writer))
        session = self._tables.committed.sessions.get((shard_id,))
        if mine is None or session is None or session.state != "live":
            return []
        if not mine.epoch == session.epoch == epoch:
            return []
        self._tables.session_writers.put((shard_id, writer), WriterRow(epoch, unit))
        return [(self._now(), "500ms")]

    # --- Devices

    def resolve_external_ids(self, *names: list[str]) -> Rows:
        tables = self._tables.committed
        rows = []
        for name in _triples(*names):
            workspace_id, provider_id, external_id = name
            connection = tables.providers.get((workspace_id, provider_id))
            is_vin = connection is not None and connection.ids_are_vins
            key = (workspace_id, provider_id, external_key(external_id, is_vin=is_vin))
            if holder := tables.holders.get(key):
                rows.append(ResolvedDevice(*name, holder))
        return rows

    def lock_devices(self, workspaces: list[str], devices: list[str], has_news: list[bool]) -> Rows:
        rows = []
        workspaces = _unshare(workspaces, devices)
        keys = zip_longest(workspaces, devices, has_news)
        for workspace_id, device_id, flag in sorted(keys, key=itemgetter(0, 1)):
            key = (workspace_id, device_id)
            device = self._tables.committed.devices.get(key)
            if device is None:
                continue
            state = self._tables.device_state.get(key) or DeviceState()
            snapshot = self._tables.snapshots.get(key) or Snapshot()
            rows.append(
                LockedDevice(
                    workspace_id,
                    device_id,
                    device.provider_id,
                    device.external_id,
                    device.ids_are_vins,
                    device.vehicle_id,
                    active=device.retired_at is None,
                    registered_assignment=device.assignment,
                    other_spans=dump_spans(device.other_spans),
                    snapshot_version=snapshot.version,
                    document=None if flag is False else snapshot.document,
                    statements_count_from=(
                        None if flag is None else state.entered_at or device.activated_at
                    ),
                    **state._asdict(),
                )
            )
        return rows

    def reread_devices(self, workspaces: list[str], devices: list[str]) -> Rows:
        rows = []
        for key in zip(workspaces, devices, strict=True):
            snapshot = self._tables.snapshots.get(key)
            device = self._tables.committed.devices.get(key)
            if snapshot is None or device is None:
                continue
            rows.append(
                RereadDevice(
                    *key,
                    *snapshot,
                    device.provider_id,
                    device.external_id,
                    device.ids_are_vins,
                    device.vehicle_id,
                    active=device.retired_at is None,
                    registered_assignment=device.assignment,
                    other_spans=dump_spans(device.other_spans),
                )
            )
        return rows

    def write_device_states(self, **columns: list[Any]) -> Rows:
        written = 0
        columns["workspace_id"] = _unshare(columns["workspace_id"], columns["device_id"])
        for row in _rows(columns):
            key = (row.pop("workspace_id"), row.pop("device_id"))
            old_version = row.pop("old_version")
            stored = self._tables.device_state.get(key)
            if stored is not None and stored.version == old_version:
                self._tables.device_state.put(key, stored._replace(**row))
                written += 1
        return [(written,)]

    def append_device_events(self, **columns: list[Any]) -> Rows:
        for row in _rows(columns):
            edge = DeviceEdge(**row)
            key = (edge.workspace_id, next(self._tables.committed.numbers))
            self._tables.device_events.put(key, edge)
        return []

    def write_snapshots(self, **columns: list[Any]) -> Rows:
        written = 0
        columns["workspace_id"] = _unshare(columns["workspace_id"], columns["device_id"])
        for row in _rows(columns):
            key = (row["workspace_id"], row["device_id"])
            stored = self._tables.snapshots.get(key)
            if stored is not None and stored.version == row["old_version"]:
                self._tables.snapshots.put(key, Snapshot(row["version"], row["document"]))
                written += 1
        return [(written, self._now())]

    def append_events(self, rows: Iterable[dict[str, Any]]) -> Rows:
        for given in rows:
            row = {**_EVENT_DEFAULTS, **given}
            if row["recorded_at"].date() not in self._tables.committed.partitions:
                raise explain_error("23514", None, 'no partition of relation "events" found')
            workspace_id = row.pop("workspace_id")
            key = (workspace_id, row.pop("device_id"), row["sequence"])
            # PostgreSQL has no such constraint, because its locks ensure this. Here a breach is
            # found at once.
            if self._tables.events.get(key) is not None:
                raise AssertionError(f"{key} twice")
            row["readings"] = read_readings(row.pop("signals"), row.pop("observed_at"))
            row["trace_id"] = row["trace_id"] or row["trace"]
            del row["trace"]
            if row["token"] is not None and row["resource"] is None:
                row["resource"] = workspace_resource(workspace_id)
            self._tables.events.put(key, EventRow(**row))
        return []

    # --- Connections and cycles

    def lock_connections(self, workspaces: list[str], providers: list[str]) -> Rows:
        keys = sorted(zip(workspaces, providers, strict=True))
        return [row for key in keys if (row := self._tables.connection_state.get(key)) is not None]

    def write_connections(self, **columns: list[Any]) -> Rows:
        for row in _rows(columns):
            stored = ConnectionRow(**row)
            key = (stored.workspace_id, stored.provider_id)
            self._tables.connection_state.put(key, stored)
        return []

    def append_connection_events(self, **columns: list[Any]) -> Rows:
        for row in _rows(columns):
            edge = Edge(**row)
            key = (edge.workspace_id, next(self._tables.committed.numbers))
            self._tables.connection_events.put(key, edge)
        return []

    def count_devices(self, workspaces: list[str], slots: list[datetime]) -> Rows:
        now = self._now()
        state_of = self._tables.device_state.get
        return [
            CountedDevices(now, *count_devices(self._tables.committed, state_of, *key, now))
            for key in zip(workspaces, slots, strict=True)
        ]

    def end_cycles(self, *, shard_id: str, epoch: int, **columns: list[Any]) -> Rows:
        for end in _rows(columns):
            facts = orjson.loads(_check_json(end["summary"]))
            key = self._tables.committed.cycle_ids.get((end["workspace_id"], end["cycle_id"]))
            cycle = self._tables.poll_cycles.get(key) if key else None
            if cycle is None or (cycle.row.shard_id, cycle.epoch) != (shard_id, epoch):
                continue
            if cycle.row.outcome is CycleOutcome.RUNNING:
                outcome = CycleOutcome(end["outcome"])
                row = cycle.row._replace(
                    ended_at=end["ended_at"],
                    outcome=outcome,
                    summary=facts,
                    active_devices=end["active_devices"],
                    fresh_devices=end["fresh_devices"],
                    updated_devices=end["updated_devices"],
                )
                self._tables.poll_cycles.put(row.key, cycle._replace(row=row))
        return []

    # --- What is locked

    def find_locked_device_states(self, *keys: list[str]) -> Rows:
        return self._locks.find("device_state", *keys)

    def find_locked_snapshots(self, *keys: list[str]) -> Rows:
        return self._locks.find("snapshots", *keys)

    def find_locked_connections(self, *keys: list[str]) -> Rows:
        return self._locks.find("connection_state", *keys)

    def find_locked_cycles(self, *keys: list[str]) -> Rows:
        return self._locks.find("poll_cycles", *keys)

    # --- What was refused

    def append_rejections(self, **columns: list[Any]) -> Rows:
        now = self._now()
        appended = []
        for facts in _rows(columns):
            key = (facts.pop("workspace_id"), facts.pop("digest"))
            if self._tables.rejections.get(key) is None:
                number = next(self._tables.committed.numbers)
                self._put_rejection(
                    key, RejectionRow(rejection_id=number, recorded_at=now, **facts)
                )
                appended.append(key)
        return appended

    def count_rejections(self, **columns: list[Any]) -> Rows:
        counted = []
        for facts in _rows(columns):
            key = (facts["workspace_id"], facts["digest"])
            known = self._tables.rejections.get(key)
            if known is not None:
                occurrences = known.occurrences + facts["occurrences"]
                last_at = max(known.last_at, facts["last_at"])
                row = known._replace(occurrences=occurrences, last_at=last_at)
                self._put_rejection(key, row)
                counted.append(key)
        return counted

    def _put_rejection(self, key: tuple[str, bytes], row: RejectionRow) -> None:
        _check(row.occurrences > 0, "rejections_occurrences_check")
        _check(len(row.sample or b"") <= MAX_SAMPLE_BYTES, "rejections_sample_check")
        self._tables.rejections.put(key, row)

    def append_quarantine(self, **columns: list[Any]) -> Rows:
        now = self._now()
        for facts in _rows(columns):
            row = Quarantined(recorded_at=now, **facts)
            _check(len(row.sample or b"") <= MAX_WHOLE_BYTES, "quarantine_sample_check")
            self._tables.quarantine.put(
                (row.workspace_id, next(self._tables.committed.numbers)), row
            )
        return []


def _rows(columns: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows that `unnest` would make of these columns, by name."""
    for values in zip_longest(*columns.values()):
        yield dict(zip(columns, values, strict=True))


def _unshare(workspaces: list[str], devices: list[str]) -> list[str]:
    """Return the workspace of each device. One that all of them share is sent once."""
    return workspaces * len(devices) if len(workspaces) == 1 else workspaces


def _triples(
    first: list[str], second: list[str], third: list[str]
) -> Iterator[tuple[str, str, str]]:
    return zip(first, second, third, strict=True)


def _check(holds: bool, constraint: str) -> None:
    if not holds:
        raise explain_error("23514", constraint, f"violates check constraint {constraint}")


def _refuse_unsendable(args: Sequence[Any]) -> None:
    """Raise for text that the driver cannot encode or that PostgreSQL's text cannot hold."""
    for text in _texts(args):
        if "\x00" in text:
            raise explain_error("22021", None, 'invalid byte sequence for encoding "UTF8": 0x00')
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise explain_error(CLIENT_SIDE, None, "surrogates not allowed")


def _texts(args: Iterable[Any]) -> Iterator[str]:
    for arg in args:
        if isinstance(arg, str):
            yield arg
        elif isinstance(arg, list):
            yield from (item for item in arg if isinstance(item, str))


def _check_json(text: str) -> str:
    """Return the text, or raise if jsonb cannot hold it.

    jsonb holds everything that orjson writes, except the NUL that JSON can spell.
    """
    if "\\u0000" in text.replace("\\\\", ""):
        raise explain_error(
            "22P05",
            None,
            "unsupported Unicode escape sequence: \\u0000 cannot be converted to text",
        )
    return text
