"""Random histories of devices, units and vehicles, against a model of which unit sat where.

Each reading is remembered with its unit and time, so a shown value betrays the vehicle that it is
of. What people state is the truth: a unit sits in a vehicle from the moment they say.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.acceptance import DeviceFold, judge
from domain.device_changes import DeviceChange, Registered, judge_drafts, plan_changes, retire
from domain.identity import external_key, key_of
from domain.model import CanonicalUpdate, Device, Outcome, Reading, Reason, Result
from domain.registry import DeviceDraft, Stored

if TYPE_CHECKING:
    from domain.assignments import DeviceAssignment

START = datetime(2026, 5, 1, 12, tzinfo=UTC)
DEVICES, UNITS, VEHICLES = ("d-1", "d-2"), ("VIN-1", "vin-1 ", "VIN-2"), ("bus-A", "bus-B", "bus-C")

minutes = st.integers(0, 30)
device, unit, vehicle = (st.sampled_from(names) for names in (DEVICES, UNITS, VEHICLES))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), device, unit, vehicle, st.none()),
        st.tuples(st.just("swap"), device, unit, vehicle, st.none() | minutes),
        st.tuples(st.just("retire"), device, unit, vehicle, st.none()),
        st.tuples(st.just("read"), device, unit, vehicle, minutes),
    ),
    min_size=4,
    max_size=25,
)


@dataclass
class Registry:
    """What is stored, by the rules of domain/; and what people have stated."""

    now: datetime = START
    devices: dict[str, Device] = field(default_factory=dict)
    folds: dict[str, DeviceFold] = field(default_factory=dict)
    assignments: list[DeviceAssignment] = field(default_factory=list)
    stated: dict[tuple[str, datetime], str] = field(default_factory=dict)
    soc: int = 0
    sent: dict[int, tuple[str, datetime]] = field(default_factory=dict)  # value -> unit, observed

    def step(self, kind: str, name: str, unit: str, vehicle: str, ago: int | None) -> None:
        self.now += timedelta(minutes=1)
        earlier = None if ago is None else self.now - timedelta(minutes=ago)
        if kind == "read":
            assert earlier is not None
            self.read(unit, earlier)
        elif kind == "retire":
            self.retire(name)
        else:
            draft = DeviceDraft(name, "maker", unit, vehicle, vehicle, effective_at=earlier)
            self.command(draft, may_swap=kind == "swap")

    def known(self) -> Registered:
        active = [one for one in self.devices.values() if one.retired_at is None]
        by_unit: dict[tuple[str, str], list[DeviceAssignment]] = {}
        for one in self.assignments:
            by_unit.setdefault((one.provider_id, one.external_key), []).append(one)
        present = {one.device_id: one for one in self.assignments}
        holders = {("maker", key_of(one)): one.device_id for one in active}
        return Registered({"maker": True}, self.devices, holders, by_unit, present)

    def command(self, draft: DeviceDraft, *, may_swap: bool) -> None:
        (answer,) = judge_drafts([draft], self.known(), self.now, may_swap=may_swap)
        if isinstance(answer, Stored):
            for change in plan_changes("harbour", [draft], self.known(), self.now):
                self.apply(change)

    def apply(self, change: DeviceChange) -> None:
        made, begun = change.device, change.begun
        if change.ends_at is not None:
            self.end(made.device_id, change.ends_at)
        self.devices = {**self.devices, made.device_id: made}
        if begun is None:
            return
        self.assignments.append(begun)
        self.stated[begun.external_key, begun.effective_at] = made.vehicle_id
        version = self.folds[made.device_id].version if made.device_id in self.folds else 0
        self.folds[made.device_id] = fold_of(made, version, begun.entered_at)

    def end(self, name: str, ended_at: datetime) -> None:
        self.assignments = [
            replace(one, ended_at=ended_at)
            if one.device_id == name and one.ended_at is None
            else one
            for one in self.assignments
        ]

    def retire(self, name: str) -> None:
        stored = self.devices.get(name)
        if stored is not None and stored.retired_at is None:
            self.devices = {**self.devices, name: retire(stored, self.now)}
            self.folds[name].active = False
            self.end(name, self.now)

    def read(self, unit: str, observed_at: datetime) -> None:
        self.soc += 1
        key = external_key(unit, is_vin=True)
        self.sent[self.soc] = (key, observed_at)
        holder = self.known().holders.get(("maker", key))
        if holder is None:
            return
        reading = Reading("odometer_km", float(self.soc), observed_at)
        update = CanonicalUpdate(
            "harbour", "maker", None, unit, None, (reading,), self.now, "trace-1"
        )
        before = self.folds[holder].version
        result = judge(update, self.folds[holder])
        self.check_result(result, holder, before, observed_at)

    def check_result(self, result: Result, holder: str, before: int, observed_at: datetime) -> None:
        fold = self.folds[holder]
        assert fold.version == before + (result.outcome is Outcome.ACCEPTED)
        if observed_at == self.now:
            assert result.reason is not Reason.OUTSIDE_ASSIGNMENT
        if result.reason is Reason.OUTSIDE_ASSIGNMENT:
            assert fold.last_rejected_at is None

    def vehicle_of(self, key: str, at: datetime) -> str:
        """Return the vehicle in which the unit sat, as people have stated it by now."""
        starts = sorted(since for unit, since in self.stated if unit == key)
        begun = [since for since in starts if since <= at] or starts[:1]
        return self.stated[key, begun[-1]]

    def check_shown(self) -> None:
        for name, stored in self.devices.items():
            if stored.retired_at is not None:
                continue
            for signal in self.folds[name].document.values():
                shown: Any = signal[0]
                key, observed_at = self.sent[int(shown)]
                assert self.vehicle_of(key, observed_at) == stored.vehicle_id


def fold_of(made: Device, version: int, entered_at: datetime) -> DeviceFold:
    return DeviceFold(
        *("harbour", made.device_id, made.provider_id, made.external_id, made.vehicle_id),
        active=True,
        version=version,
        document={},
        last_update_received_at=None,
        last_observed_at=None,
        last_changed_at=None,
        ids_are_vins=True,
        assignment=made.assignment,
        entered_at=entered_at,
        other_spans=made.other_spans,
    )


@settings(max_examples=300, deadline=None)
@given(steps)
def test_no_value_of_another_vehicle_is_ever_shown(
    history: list[tuple[str, str, str, str, int | None]],
) -> None:
    registry = Registry()
    versions: dict[str, int] = {}
    for step in history:
        registry.step(*step)
        registry.check_shown()
        for name, fold in registry.folds.items():
            assert fold.version >= versions.get(name, 0)
            versions[name] = fold.version
