"""Acceptance: decide what one canonical update does to one device (FR-015).

This module owns the acceptance rule of spec.md. Deciding is pure: the caller loads the device,
applies the result and guards it in SQL.

The newest value of each signal wins, as domain.order says; at equal times the stored value stays.
`judge` runs for every update that is sent. It compares the readings (domain.comparison), decides
everything, and only then changes the fold: an exception leaves the fold as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from domain.assignments import find_outside
from domain.comparison import MAX_NAME, compare_readings
from domain.held import Held, to_micros
from domain.identity import external_key
from domain.model import Dropped, Outcome, Reason, Result

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.assignments import VehicleSpan
    from domain.comparison import Comparison
    from domain.held import Document
    from domain.model import CanonicalUpdate, Reading

FUTURE_GUARD_SECONDS: Final = 300.0

MAX_NAMED = 5  # dropped readings that `detail` names one by one


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

    Updates are folded in mailbox order. `last_rejected_at` is the arrival of the newest update that
    was refused whole, `last_outdated_at` of the newest of which everything was older than what is
    held. `answered_begun_at` is when the newest call before this unit was begun whose answer named
    the device. `held_back_seconds` is how long the newest accepted data is proven to have been held
    back by the provider; None if nothing proves it. `unaccepted_reception_at` is when the provider
    itself had received the newest of what was refused whole or outdated.
    """

    workspace_id: str
    device_id: str
    provider_id: str
    external_id: str
    vehicle_id: str
    active: bool
    version: int
    document: Document
    last_update_received_at: datetime | None
    last_observed_at: datetime | None
    last_changed_at: datetime | None
    last_rejected_at: datetime | None = None
    last_rejection_reason: str | None = None
    last_outdated_at: datetime | None = None
    held_back_seconds: float | None = None
    answered_begun_at: datetime | None = None
    ids_are_vins: bool = False
    assignment: int = 1
    entered_at: datetime | None = None  # of the assignment; None: from the beginning
    other_spans: tuple[VehicleSpan, ...] = ()  # when the external id sat in another vehicle
    unaccepted_reception_at: datetime | None = None
    events: list[AcceptedEvent] = field(default_factory=list)

    def has_external_id(self, external_id: str) -> bool:
        """Return whether the external id is this device's, perhaps in another spelling."""
        is_vin = self.ids_are_vins
        return external_id == self.external_id or external_key(
            external_id, is_vin=is_vin
        ) == external_key(self.external_id, is_vin=is_vin)

    def knew(self, instant: datetime) -> bool:
        """Return whether the present assignment was entered by then."""
        return self.entered_at is None or instant >= self.entered_at

    def note_reception(self, reception_at: datetime | None) -> None:
        """Note the provider's reception of something that was not accepted."""
        if reception_at is not None:
            self.unaccepted_reception_at = _later(self.unaccepted_reception_at, reception_at)


def judge(
    update: CanonicalUpdate,
    device: DeviceFold | None,
    *,
    future_guard_seconds: float = FUTURE_GUARD_SECONDS,
) -> Result:
    """Decide one update and fold it into its device.

    - Accepted: the fold's document, times, version and events move on.
    - Refused whole (`identity_conflict`, `invalid`, `future_timestamp`): only the rejection facts
      move. If all of it is refused, or repeated, or "not available", it brings no news.
    - Stale: if everything in it was older, `last_outdated_at` moves.
    - What came before the present assignment was entered moves no such fact. Neither does an update
      of which everything is of another vehicle (`outside_assignment`), nor one that the provider
      had received before something that is held.
    - Any other result leaves the fold unchanged.

    Of several updates with one arrival, the last decides whether the device is refused or outdated.
    `dropped` has the readings that were refused, also those of an accepted update. Instants must be
    aware, and in UTC in the fold.
    """
    # To the sender, a retired device and another workspace's device are as unknown as a missing
    # one.
    if device is None or not device.active or update.workspace_id != device.workspace_id:
        return Result(Outcome.REJECTED, Reason.UNKNOWN_DEVICE)
    outside: tuple[Reading, ...] = ()
    if device.other_spans:
        places = find_outside(update.readings, device.other_spans)
        outside = tuple(update.readings[place] for place in places)
        if outside and len(outside) == len(update.readings):
            return _refuse_outside(device, outside)
        update = _leave_out(update, places)
    if (
        update.provider_id != device.provider_id
        or (
            update.external_id != device.external_id  # mostly equal, and quicker to compare
            and update.external_id is not None
            and not device.has_external_id(update.external_id)
        )
        or (update.device_id is not None and update.device_id != device.device_id)
        or (update.vehicle_id is not None and update.vehicle_id != device.vehicle_id)
    ):
        detail = _describe_conflict(update, device)
        _note_refusal(update, device, Reason.IDENTITY_CONFLICT)
        return Result(
            Outcome.REJECTED, Reason.IDENTITY_CONFLICT, device.device_id, device.version, detail
        )
    compared = compare_readings(update, device.document, future_guard_seconds)
    if outside:
        compared.dropped.extend(map(_drop_outside, outside))
    if compared.advanced:
        return _accept(update, device, compared)
    return _pass_over(update, device, compared)


def _refuse_outside(device: DeviceFold, outside: tuple[Reading, ...]) -> Result:
    """Refuse an update of which everything is of another vehicle.

    The fold stays as it is: to the device, this is an answer without news.
    """
    dropped = tuple(map(_drop_outside, outside))
    return Result(
        Outcome.REJECTED,
        Reason.OUTSIDE_ASSIGNMENT,
        device.device_id,
        device.version,
        _describe_dropped(dropped),
        dropped,
    )


def _leave_out(update: CanonicalUpdate, places: frozenset[int]) -> CanonicalUpdate:
    """Return the update without the readings at these places, and without their arrivals."""
    kept = [place for place in range(len(update.readings)) if place not in places]
    arrivals = update.arrivals
    return update._replace(
        readings=tuple(update.readings[place] for place in kept),
        arrivals=None if arrivals is None else tuple(arrivals[place] for place in kept),
    )


def _drop_outside(reading: Reading) -> Dropped:
    signal = ascii(reading.signal)[1:-1][:MAX_NAME]  # as domain/comparison.py names it
    why = "observed while the unit sat in another vehicle"
    return Dropped(signal, Reason.OUTSIDE_ASSIGNMENT, why)


def _accept(update: CanonicalUpdate, device: DeviceFold, compared: Comparison) -> Result:
    # 1. Make everything that can fail. Step 2 consists of assignments only.
    version = device.version + 1
    event = AcceptedEvent(version, update, tuple(compared.advanced))
    if compared.dropped or compared.conflicts or compared.ahead:
        result = _result(Outcome.ACCEPTED, None, device.device_id, version, compared)
    else:
        result = Result(Outcome.ACCEPTED, None, device.device_id, version)
    assert compared.newest is not None  # noqa: S101 for the type checker: a reading advances
    observed_at = _later(device.last_observed_at, compared.newest)
    received_at = _later(device.last_update_received_at, update.received_at)
    changed_at = (
        _later(device.last_changed_at, update.received_at)
        if compared.changed
        else device.last_changed_at
    )
    held_back = device.held_back_seconds
    if received_at is update.received_at:
        held_back = _measure_hold(update, device, compared.newest)
    # 2. Change the fold.
    device.document.update(compared.newer)
    device.version = version
    device.last_observed_at = observed_at
    device.last_update_received_at = received_at
    device.last_changed_at = changed_at
    device.held_back_seconds = held_back
    device.events.append(event)
    if device.last_rejected_at is not None or device.last_outdated_at is not None:
        _forget_trouble(update, device)
    return result


def _pass_over(update: CanonicalUpdate, device: DeviceFold, compared: Comparison) -> Result:
    """Return the result of an update of which nothing advances, and note what it says."""
    if compared.conflicts or compared.older or compared.equal:
        outcome = (
            Outcome.CONFLICT
            if compared.conflicts
            else Outcome.STALE
            if compared.older
            else Outcome.DUPLICATE
        )
        is_outdated = compared.older and not compared.equal and not compared.conflicts
        is_outdated = is_outdated and is_news(update.received_at, update.reception_at, device)
        _forget_trouble(update, device)
        last = device.last_outdated_at
        if is_outdated and (last is None or update.received_at > last):
            device.last_outdated_at = update.received_at
            device.note_reception(update.reception_at)
        return _result(outcome, None, device.device_id, device.version, compared)
    reason = _reason_for(compared.dropped)  # also without any reading
    if reason is not Reason.NOT_AVAILABLE:
        _note_refusal(update, device, reason)
    result = _result(Outcome.REJECTED, reason, device.device_id, device.version, compared)
    return result if result.detail else result._replace(detail="no readings")


def _result(
    outcome: Outcome,
    reason: Reason | None,
    device_id: str,
    version: int,
    compared: Comparison,
) -> Result:
    return Result(
        outcome,
        reason,
        device_id,
        version,
        _describe_dropped(compared.dropped),
        tuple(compared.dropped),
        tuple(compared.conflicts),
        compared.ahead,
    )


def _measure_hold(
    update: CanonicalUpdate, device: DeviceFold, observed_at: datetime
) -> float | None:
    """Return for how many seconds the update is proven to have been held back; None if unknown.

    The proof is the provider's own reception, or a call that was begun after the data was observed
    and whose answer named the device without it.
    """
    if update.reception_at is not None:
        return max(0.0, (update.received_at - update.reception_at).total_seconds())
    if device.answered_begun_at is None:
        return None
    held_back = (device.answered_begun_at - observed_at).total_seconds()
    return held_back if held_back > 0 else None


def _note_refusal(update: CanonicalUpdate, device: DeviceFold, reason: Reason) -> None:
    """Note that the update was refused whole: health tells `updates_rejected` from silence."""
    newest = device.last_rejected_at
    is_new = is_news(update.received_at, update.reception_at, device)
    if is_new and (newest is None or update.received_at >= newest):
        _forget_trouble(update, device)
        device.note_reception(update.reception_at)
        device.last_rejected_at = update.received_at
        device.last_rejection_reason = reason.value


def is_news(arrived_at: datetime, reception_at: datetime | None, device: DeviceFold) -> bool:
    """Return whether what came, and is not accepted, says something new about the device.

    It does not if the present assignment was entered later, or if the provider had received it
    before something that is held. A collector that goes on from an earlier cursor reads such
    records once more. Nor does a record that was refused before: rosters repeat the newest one of
    each vehicle. Either is our doing; the device has sent nothing since.
    """
    if not device.knew(arrived_at):
        return False
    if reception_at is None:
        return True
    refused = device.unaccepted_reception_at
    is_of_this_arrival = arrived_at in {device.last_rejected_at, device.last_outdated_at}
    if refused is not None and reception_at <= refused and not is_of_this_arrival:
        return False
    reception = to_micros(reception_at)
    held = map(Held.of, device.document.values())
    return not any(one.reception is not None and one.reception >= reception for one in held)


def _forget_trouble(update: CanonicalUpdate, device: DeviceFold) -> None:
    """Remove what an earlier update of the same arrival noted: the last one decides."""
    if device.last_rejected_at == update.received_at:
        device.last_rejected_at = device.last_rejection_reason = None
    if device.last_outdated_at == update.received_at:
        device.last_outdated_at = None


def _later(stored: datetime | None, offered: datetime) -> datetime:
    """Return the later instant; `offered` if nothing is stored (SQL's GREATEST).

    Updates arrive in any order, and none of these instants ever moves back.
    """
    return offered if stored is None or offered > stored else stored


def _reason_for(dropped: Sequence[Dropped]) -> Reason:
    """Return the one reason for an update of which every reading was dropped.

    `future_timestamp` comes before `invalid`, because a wrong clock can be corrected. Answers
    without news count only if there is nothing else.
    """
    reasons = {item.reason for item in dropped}
    for reason in (Reason.FUTURE_TIMESTAMP, Reason.INVALID):
        if reason in reasons:
            return reason
    return min(reasons, default=Reason.INVALID)


def _describe_dropped(dropped: Sequence[Dropped]) -> str | None:
    """Name the first dropped readings, each with its reason; None if none was dropped."""
    if not dropped:
        return None
    named = [f"{item.signal}: {item.why}" for item in dropped[:MAX_NAMED]]
    if len(dropped) > MAX_NAMED:
        named.append(f"and {len(dropped) - MAX_NAMED} more")
    return "; ".join(named)


def _describe_conflict(update: CanonicalUpdate, device: DeviceFold) -> str:
    claims = (
        ("provider_id", update.provider_id, device.provider_id),
        ("external_id", _other_external_id(update, device), None),
        ("device_id", update.device_id, device.device_id),
        ("vehicle_id", update.vehicle_id, device.vehicle_id),
    )
    wrong = [
        name
        for name, claimed, registered in claims
        if claimed is not None and claimed != registered
    ]
    return f"disagrees with the registry: {', '.join(wrong)}"


def _other_external_id(update: CanonicalUpdate, device: DeviceFold) -> str | None:
    """Return the external id of the update if it is not the device's, in any spelling."""
    external_id = update.external_id
    return None if external_id is None or device.has_external_id(external_id) else external_id
