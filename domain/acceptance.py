"""Acceptance: decide what one canonical update does to one device (FR-015).

This module owns the acceptance rule of spec.md. Deciding is pure: the caller loads the device,
applies the result and guards it in SQL.

The newest value of each signal wins; at equal times the stored value stays. `judge` runs for every
update that is sent. It walks the readings once, decides everything, and only then changes the fold:
an exception leaves the fold as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, NamedTuple

from domain.model import Outcome, Reading, Reason, Result
from domain.signals import PLAIN_VALUES, InvalidValue, check_value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from domain.model import CanonicalUpdate, Value

MAX_NAMED = 5  # dropped readings that `detail` names one by one
MAX_NAME = 40


class AcceptedEvent(NamedTuple):
    """One row of event history: an accepted update and the readings that advanced.

    `sequence` is the update's number within the device.
    """

    sequence: int
    update: CanonicalUpdate
    readings: tuple[Reading, ...]


@dataclass(slots=True)
class DeviceFold:
    """One device's registry facts and state while a unit folds its updates into it.

    Updates are folded in mailbox order.
    """

    workspace_id: str
    device_id: str
    provider_id: str
    external_id: str
    vehicle_id: str
    active: bool
    version: int
    document: dict[str, tuple[Value, datetime]]  # signal -> (value, observed_at)
    last_update_received_at: datetime | None
    last_observed_at: datetime | None
    last_changed_at: datetime | None
    last_rejected_at: datetime | None = None
    last_rejection_reason: str | None = None
    events: list[AcceptedEvent] = field(default_factory=list)


def judge(
    update: CanonicalUpdate,
    device: DeviceFold | None,
    now: datetime,
    *,
    future_guard_seconds: float = 300.0,
) -> Result:
    """Decide one update and fold it into its device. `now` is database time.

    - Accepted: the fold's document, times, version and events move on.
    - Rejected as `identity_conflict`, `invalid` or `future_timestamp`: only the rejection facts
      move.
    - Any other result leaves the fold unchanged.

    `detail` names the readings that were dropped, also for an accepted update. Instants in the fold
    and `now` must be aware and in UTC.
    """
    # To the sender, a retired device and another workspace's device are as unknown as a missing
    # one.
    if device is None or not device.active or update.workspace_id != device.workspace_id:
        return Result(Outcome.REJECTED, Reason.UNKNOWN_DEVICE)
    if (
        update.provider_id != device.provider_id
        or (update.external_id is not None and update.external_id != device.external_id)
        or (update.device_id is not None and update.device_id != device.device_id)
        or (update.vehicle_id is not None and update.vehicle_id != device.vehicle_id)
    ):
        return _reject(update, device, Reason.IDENTITY_CONFLICT, _describe_conflict(update, device))
    compared = _compare_readings(update.readings, device.document, now, future_guard_seconds)
    if compared.advanced:
        return _accept(update, device, compared)
    if len(compared.dropped) == len(update.readings):  # true for an update without readings, too
        return _reject(
            update,
            device,
            _reason_for(compared.dropped),
            _describe_dropped(compared.dropped) or "no readings",
        )
    outcome = (
        Outcome.CONFLICT
        if compared.conflicts
        else Outcome.STALE
        if compared.older
        else Outcome.DUPLICATE
    )
    return Result(
        outcome, None, device.device_id, device.version, _describe_dropped(compared.dropped)
    )


class _Dropped(NamedTuple):
    signal: str
    reason: Reason
    why: str


class _Comparison(NamedTuple):
    """The readings of one update compared with a document."""

    newer: dict[str, tuple[Value, datetime]]
    advanced: list[Reading]
    dropped: list[_Dropped]
    changed: bool  # an advancing reading brings another value
    conflicts: bool  # a reading ties in time with another value
    older: bool


def _compare_readings(
    readings: tuple[Reading, ...],
    document: Mapping[str, tuple[Value, datetime]],
    now: datetime,
    future_guard_seconds: float,
) -> _Comparison:
    """Compare each reading, in order, with the newest value so far. Changes no argument.

    A reading is dropped, or advances its signal, or is older, equal or in conflict.

    The ingest actor spends most of its CPU time in this loop. Therefore names are kept in locals, a
    quick check comes before the careful one, and a valid reading costs no function call.
    """
    newer: dict[str, tuple[Value, datetime]] = {}
    advanced: list[Reading] = []
    dropped: list[_Dropped] = []
    changed = conflicts = older = False
    for reading in readings:
        signal, value, observed_at = reading
        plain = PLAIN_VALUES.get(signal)
        if (
            plain is None
            or value.__class__ not in plain[0]
            # The check of the class has excluded text.
            or not plain[1] <= value <= plain[2]  # type: ignore[operator]
            or observed_at.tzinfo is not UTC
            or observed_at > now
        ):
            examined = _examine(reading, now, future_guard_seconds)
            if isinstance(examined, _Dropped):
                dropped.append(examined)
                continue
            reading = examined
            signal, value, observed_at = examined
        held = newer.get(signal) or document.get(signal)
        if held is None or observed_at > held[1]:
            newer[signal] = (value, observed_at)
            advanced.append(reading)
            if held is None or value != held[0]:
                changed = True
        elif observed_at < held[1]:
            older = True
        elif value != held[0]:
            conflicts = True
    return _Comparison(newer, advanced, dropped, changed, conflicts, older)


def _accept(update: CanonicalUpdate, device: DeviceFold, compared: _Comparison) -> Result:
    # 1. Make everything that can fail. Step 2 consists of assignments only.
    version = device.version + 1
    event = AcceptedEvent(version, update, tuple(compared.advanced))
    result = Result(
        Outcome.ACCEPTED, None, device.device_id, version, _describe_dropped(compared.dropped)
    )
    # a list costs half as much as a generator
    observed_at = max([observed for _, observed in compared.newer.values()])
    observed_at = _later(device.last_observed_at, observed_at)
    received_at = _later(device.last_update_received_at, update.received_at)
    changed_at = (
        _later(device.last_changed_at, update.received_at)
        if compared.changed
        else device.last_changed_at
    )
    # 2. Change the fold.
    device.document.update(compared.newer)
    device.version = version
    device.last_observed_at = observed_at
    device.last_update_received_at = received_at
    device.last_changed_at = changed_at
    device.events.append(event)
    return result


def _later(stored: datetime | None, offered: datetime) -> datetime:
    """Return the later instant; `offered` if nothing is stored (SQL's GREATEST).

    Updates arrive in any order, and none of these instants ever moves back.
    """
    return offered if stored is None or offered > stored else stored


def _examine(reading: Reading, now: datetime, future_guard_seconds: float) -> Reading | _Dropped:
    """Check a reading that failed the quick check, and return it cleaned or dropped.

    Such readings hold text, an unusual type, another time zone or a time in the future.
    """
    signal, value, observed_at = reading
    cleaned = check_value(signal, value)
    if isinstance(cleaned, InvalidValue):
        return _Dropped(signal, Reason.INVALID, cleaned.why)
    if observed_at.tzinfo is not UTC:
        if observed_at.utcoffset() is None:
            return _Dropped(signal, Reason.INVALID, "observed_at has no time zone")
        try:
            observed_at = observed_at.astimezone(UTC)
        except OverflowError:
            return _Dropped(signal, Reason.INVALID, "observed_at is outside the calendar")
    if observed_at > now and observed_at - now > timedelta(seconds=future_guard_seconds):
        return _Dropped(signal, Reason.FUTURE_TIMESTAMP, "observed in the future")
    return Reading(signal, cleaned, observed_at)


def _reject(update: CanonicalUpdate, device: DeviceFold, reason: Reason, detail: str) -> Result:
    """Reject an update of a known device, and note the rejection in the fold.

    Health uses the note to tell `updates_rejected` from silence.
    """
    result = Result(Outcome.REJECTED, reason, device.device_id, device.version, detail)
    if device.last_rejected_at is None or update.received_at >= device.last_rejected_at:
        device.last_rejected_at = update.received_at
        device.last_rejection_reason = reason.value
    return result


def _reason_for(dropped: list[_Dropped]) -> Reason:
    """Return the one reason for an update of which every reading was dropped.

    `future_timestamp` comes before `invalid`, because a wrong clock can be corrected.
    """
    ahead = any(item.reason is Reason.FUTURE_TIMESTAMP for item in dropped)
    return Reason.FUTURE_TIMESTAMP if ahead else Reason.INVALID


def _describe_dropped(dropped: list[_Dropped]) -> str | None:
    """Name the first dropped readings, each with its reason; None if none was dropped.

    Signal names come from outside: `ascii` keeps NUL and lone surrogates out of stored text.
    """
    if not dropped:
        return None
    named = [f"{ascii(item.signal)[1:-1][:MAX_NAME]}: {item.why}" for item in dropped[:MAX_NAMED]]
    if len(dropped) > MAX_NAMED:
        named.append(f"and {len(dropped) - MAX_NAMED} more")
    return "; ".join(named)


def _describe_conflict(update: CanonicalUpdate, device: DeviceFold) -> str:
    claims = (
        ("provider_id", update.provider_id, device.provider_id),
        ("external_id", update.external_id, device.external_id),
        ("device_id", update.device_id, device.device_id),
        ("vehicle_id", update.vehicle_id, device.vehicle_id),
    )
    wrong = [
        name
        for name, claimed, registered in claims
        if claimed is not None and claimed != registered
    ]
    return f"disagrees with the registry: {', '.join(wrong)}"
