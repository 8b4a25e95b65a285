"""A fleet in memory that is synchronised by the rules of domain/, answer by answer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from domain.device_changes import DeviceChange, Registered, plan_changes, unit_of
from domain.identity import key_of
from domain.legacy_settling import SettledSync, count_sync, settle_sync
from domain.legacy_sync import (
    RETURNS_WITHIN,
    RegistryAnswer,
    SyncedDevice,
    SyncMemory,
    SyncPlan,
    plan_sync,
)

if TYPE_CHECKING:
    from domain.assignments import DeviceAssignment
    from domain.model import Device

VINS = {"steady": False, "maker": True}


@dataclass
class SyncedFleet:
    """What is stored. Nobody but the sync changes it, as under legacy_sync."""

    now: datetime = datetime(2026, 5, 1, 12, tzinfo=UTC)
    devices: dict[str, Device] = field(default_factory=dict)
    assignments: dict[tuple[str, int], DeviceAssignment] = field(default_factory=dict)
    memory: SyncMemory = field(default_factory=lambda: SyncMemory(1))
    settled: SettledSync = field(default_factory=lambda: SettledSync([], [], []))
    counts: dict[str, int] = field(default_factory=dict)

    def active(self) -> dict[str, Device]:
        return {name: one for name, one in self.devices.items() if one.retired_at is None}

    def stored(self) -> list[SyncedDevice]:
        since = self.now - RETURNS_WITHIN
        return [
            SyncedDevice(
                one.device_id,
                one.provider_id,
                one.external_id,
                key_of(one),
                one.vehicle_id,
                one.vehicle_name,
                one.retired_at,
            )
            for one in self.devices.values()
            if one.retired_at is None or one.retired_at >= since
        ]

    def known(self) -> Registered:
        by_unit: dict[tuple[str, str], list[DeviceAssignment]] = {}
        for one in self.assignments.values():
            by_unit.setdefault((one.provider_id, one.external_key), []).append(one)
        holders = {(one.provider_id, key_of(one)): one.device_id for one in self.active().values()}
        present = {
            name: self.assignments[name, one.assignment] for name, one in self.devices.items()
        }
        return Registered(VINS, dict(self.devices), holders, by_unit, present)

    def sync(self, answer: RegistryAnswer, *, forced: bool = False) -> SyncPlan:
        self.now += timedelta(minutes=5)
        plan = plan_sync(answer, self.stored(), self.memory, VINS, self.now, forced=forced)
        known = self.known()
        self.settled = settle_sync(plan, known, self.now)
        changes = plan_changes("harbour", self.settled.drafts, known, self.now)
        self.counts = count_sync(plan, self.settled, changes, known)
        for name in plan.retiring:
            self._end(name, self.now)
            self.devices[name] = replace(self.devices[name], retired_at=self.now)
        for draft in self.settled.returning:
            self._end(draft.device_id, None)
            self.devices[draft.device_id] = replace(
                self.devices[draft.device_id],
                retired_at=None,
                external_id=draft.external_id,
                vehicle_name=draft.vehicle_name,
            )
        for change in changes:
            self._store(change)
        self.memory = SyncMemory(1, plan.left_out, plan.doubted)
        self._check()
        return plan

    def _store(self, change: DeviceChange) -> None:
        name = change.device.device_id
        if change.ends_at is not None:
            self._end(name, change.ends_at)
        self.devices[name] = change.device
        if change.begun is not None:
            self.assignments[name, change.begun.assignment] = change.begun

    def _end(self, name: str, at: datetime | None) -> None:
        key = (name, self.devices[name].assignment)
        self.assignments[key] = replace(self.assignments[key], ended_at=at)

    def _check(self) -> None:
        """Assert what the database's constraints would: no unit is in two active devices."""
        units = [(one.provider_id, key_of(one)) for one in self.active().values()]
        assert len(units) == len(set(units))
        lasting = {name for (name, _), one in self.assignments.items() if one.ended_at is None}
        assert lasting == set(self.active())

    def disagreeing(self, answer: RegistryAnswer) -> set[str]:
        """Return the devices that are not stored as the answer has them."""
        active = self.active()
        return {
            draft.device_id
            for draft in answer.drafts
            if (one := active.get(draft.device_id)) is None
            or (one.provider_id, key_of(one), one.vehicle_id, one.vehicle_name)
            != (*unit_of(draft, VINS), draft.vehicle_id, draft.vehicle_name)
        }
