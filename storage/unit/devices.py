"""The devices of one unit: find them, lock them, fold updates into them, write them back.

Owns the way from stored rows to folds; storage/unit/writes.py owns the way back. The rule itself is
domain.acceptance.judge. This is the hot path of the service and runs for every update. So it is
plain and flat where other code would be split further.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from domain.acceptance import DeviceFold, is_news, judge
from domain.model import Outcome, Reason, Result
from domain.refusals import REASONS_WITHOUT_NEWS
from storage.documents import read_document
from storage.rows import to_spans
from storage.unit.edges import device_edges
from storage.unit.ledger import Ledger, is_counted_by_signal
from storage.unit.rows import LockedDevice, RereadDevice, ResolvedDevice
from storage.unit.statements import NewestStatements
from storage.unit.steps import Statement, append, columns, shared
from storage.unit.writes import append_events, write_snapshots, write_states

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.model import CanonicalUpdate, InvalidItem, SessionRef, Submission
    from domain.refusals import RefusalCounts
    from storage.unit.steps import Rows, Steps
    from storage.unit.writes import Accepted, ChangedState

    Key = tuple[str, str]  # workspace_id, device_id
    ExternalKey = tuple[str, str, str]  # workspace_id, provider_id, external_id

_UNSENDABLE = re.compile("[\x00\ud800-\udfff]")  # no query can carry NUL or a lone surrogate


class VersionMismatch(AssertionError):
    """A row changed although this unit had locked it: a bug. The unit is aborted."""


class DeviceBatch:
    """The devices of one unit.

    Call `load`, then `judge` for each submission in mailbox order, then `write`.
    """

    def __init__(self, now: datetime, counts: RefusalCounts) -> None:
        self._now = now
        self._resolved: dict[ExternalKey, str] = {}  # to device ids
        self._rows: dict[Key, LockedDevice] = {}  # as they were locked
        self._folds: dict[Key, DeviceFold] = {}
        self._statements = NewestStatements()
        self._accepted: list[Accepted] = []
        self.ledger = Ledger(counts, now)

    def load(self, submissions: Sequence[Submission]) -> Steps:
        """Find and lock every device that this unit may write.

        Those are the devices of updates, statements and invalid items.
        """
        wanted, externals = _gather_keys(submissions)
        self._statements.note(submissions)
        if externals:
            rows = yield Statement("resolve_external_ids", columns(sorted(externals)))
            for device in map(ResolvedDevice._make, rows):
                external = (device.workspace_id, device.provider_id, device.external_id)
                self._resolved[external] = device.device_id
                wanted.add((device.workspace_id, device.device_id))
        keys = sorted(wanted | self._statements.keys())
        if not keys:
            return
        has_news = [key in wanted for key in keys] if self._statements.keys() else []
        workspace_ids, device_ids = columns(keys)
        rows = yield Statement("lock_devices", (shared(workspace_ids), device_ids, has_news))
        outdated = []
        for row in map(LockedDevice._make, rows):
            key = (row.workspace_id, row.device_id)
            self._rows[key] = row
            self._folds[key] = _open_fold(row)
            is_same = row.assignment == row.registered_assignment
            if row.version != row.snapshot_version or not is_same:
                outdated.append(key)
        if outdated:
            yield from self._renew(outdated)

    def _renew(self, outdated: Sequence[Key]) -> Steps:
        """Read the snapshots of outdated rows again, and which unit and vehicle the devices have.

        Another unit wrote those rows, or a command began another assignment, while this unit waited
        for their locks (see lock_devices).
        """
        rows = yield Statement("reread_devices", columns(outdated))
        for device in map(RereadDevice._make, rows):
            fold = self._folds[device.workspace_id, device.device_id]
            found, expected = (
                (device.version, device.registered_assignment),
                (fold.version, fold.assignment),
            )
            if found != expected:
                raise VersionMismatch(
                    f"snapshot and registry of {device.device_id} are at {found}, "
                    f"its state at {expected}"
                )
            fold.document = read_document(device.document)
            fold.provider_id, fold.external_id = device.provider_id, device.external_id
            fold.ids_are_vins, fold.vehicle_id = device.ids_are_vins, device.vehicle_id
            fold.active, fold.other_spans = device.active, to_spans(device.other_spans)

    def judge(self, submission: Submission) -> tuple[Result, ...]:
        """Fold one submission's updates into their devices, and return the results in order."""
        results = []
        folds, resolved = self._folds, self._resolved
        for update in submission.updates:
            device_id = update.device_id
            if device_id is None:
                external_id = update.external_id
                device_id = external_id and resolved.get(
                    (update.workspace_id, update.provider_id, external_id)
                )
            fold = folds.get((update.workspace_id, device_id)) if device_id else None
            if (
                fold is not None
                and (
                    update.external_id != fold.external_id or update.provider_id != fold.provider_id
                )
                and _is_outdated(submission, update)
            ):
                fold = None
            try:
                result = judge(update, fold)
            except Exception as error:
                result = self._quarantine(submission, update, error)
            else:
                outcome = result.outcome
                if outcome is Outcome.ACCEPTED:
                    assert fold is not None  # noqa: S101 for the type checker
                    self._accepted.append((fold, fold.events[-1], submission.ownership))
                if (
                    result.dropped
                    or result.conflicts
                    or (outcome is not Outcome.ACCEPTED and not is_counted_by_signal(result))
                ):
                    self.ledger.add(submission, update, result)
            results.append(result)
        if submission.invalid:
            self._refuse_invalid(submission, results)
        return tuple(results)

    def refuse(self, submission: Submission, result: Result) -> tuple[Result, ...]:
        """Refuse everything in the submission, and record it in the ledger."""
        for update in submission.updates:
            self.ledger.add(submission, update, result)
        for item in submission.invalid:
            self.ledger.add_invalid(submission, item, item.device_id)
        return (result,) * len(submission.updates)

    def write(self, session: SessionRef) -> Steps:
        """Write device_state, snapshots and events of the devices that changed."""
        rows = self._rows
        states = [
            state for key, fold in self._folds.items() if (state := self._changed_state(key, fold))
        ]
        if states:
            written = yield write_states(states)
            _expect(written, len(states), "device_state")
            yield from append("append_device_events", device_edges(states))
        moved = [
            (fold, rows[key].version)
            for key, fold in self._folds.items()
            if fold.version != rows[key].version
        ]
        if moved:
            written = yield write_snapshots(moved)
            _expect(written, len(moved), "snapshots")
            ((_, recorded_at),) = written
            yield append_events(self._accepted, session, recorded_at)

    # --- details

    def _quarantine(
        self, submission: Submission, update: CanonicalUpdate, error: Exception
    ) -> Result:
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        where = f" ({trace.tb_frame.f_code.co_name}, line {trace.tb_lineno})" if trace else ""
        detail = f"{error!r:.150}{where}"
        self.ledger.quarantine(submission, update, Reason.JUDGE_ERROR.value, detail)
        return Result(Outcome.QUARANTINED, Reason.JUDGE_ERROR, update.device_id, None, detail)

    def _refuse_invalid(self, submission: Submission, results: Sequence[Result]) -> None:
        """Record invalid items in the ledger, and on the device if it was refused whole.

        The device then shows that it sends and that we refuse (`updates_rejected`). The time is the
        arrival, as for a refusal by acceptance, so an accepted update with the same arrival is not
        older than the refusal. An update of the device that comes behind it decides instead.
        """
        last_places = _last_places(submission, results)
        for item in submission.invalid:
            device_id = self._find_device(item)
            self.ledger.add_invalid(submission, item, device_id)
            fold = self._folds.get((item.workspace_id, device_id)) if device_id else None
            is_held_against = item.refused_whole and item.reason not in REASONS_WITHOUT_NEWS
            if fold is None or not fold.active or not is_held_against:
                continue
            last_place = last_places.get((item.workspace_id, device_id), -1)
            if item.updates_before is not None and last_place >= item.updates_before:
                continue
            at = item.received_at or self._now
            if not is_news(at, item.reception_at, fold):
                continue
            if fold.last_rejected_at is None or at >= fold.last_rejected_at:
                fold.last_rejected_at, fold.last_rejection_reason = at, item.reason.value
                fold.note_reception(item.reception_at)
            if fold.last_outdated_at == at:  # of one receipt the last record decides
                fold.last_outdated_at = None

    def _find_device(self, item: InvalidItem) -> str | None:
        if item.device_id is not None or item.external_id is None:
            return item.device_id
        return self._resolved.get((item.workspace_id, item.provider_id, item.external_id))

    def _changed_state(self, key: Key, fold: DeviceFold) -> ChangedState | None:
        """Return the new state of the device, or None if nothing in it changed."""
        row = self._rows[key]
        statement = self._statements.replacement_for(row)
        if (
            statement is None
            and fold.version == row.version
            and fold.last_rejected_at == row.last_rejected_at
            and fold.last_outdated_at == row.last_outdated_at
        ):
            return None
        return row, fold, statement or row


def _gather_keys(submissions: Sequence[Submission]) -> tuple[set[Key], set[ExternalKey]]:
    """Return the device keys that are named directly, and the external keys to resolve.

    A key that no query can carry is left out, so its device turns out to be unknown.
    """
    named = set()
    externals = set()
    for submission in submissions:
        for update in submission.updates:
            if update.device_id is not None:
                named.add((update.workspace_id, update.device_id))
            elif update.external_id is not None:
                externals.add((update.workspace_id, update.provider_id, update.external_id))
        for item in submission.invalid:
            if item.device_id is not None:
                named.add((item.workspace_id, item.device_id))
            elif item.external_id is not None:
                externals.add((item.workspace_id, item.provider_id, item.external_id))
    return {key for key in named if is_sendable(key)}, {
        key for key in externals if is_sendable(key)
    }


def _is_outdated(submission: Submission, update: CanonicalUpdate) -> bool:
    """Return whether our own collector named a device that has another unit by now.

    It names both ids as they were configured when it looked. The unit is nobody's any more, as far
    as we know, and the device must not be blamed for it.
    """
    return (
        _is_collected(submission)
        and update.device_id is not None
        and update.external_id is not None
    )


def _is_collected(submission: Submission) -> bool:
    """Return whether our own collector read it, now or before it went to quarantine."""
    return submission.ownership is not None or (
        submission.is_replay and submission.origin in {"stream", "poll"}
    )


def _last_places(
    submission: Submission, results: Sequence[Result]
) -> Mapping[tuple[str, str | None], int]:
    """Return the place of each device's last update, if an invalid item says where it stands."""
    if all(item.updates_before is None for item in submission.invalid):
        return {}
    return {
        (update.workspace_id, result.device_id): place
        for place, (update, result) in enumerate(zip(submission.updates, results, strict=True))
    }


def is_sendable(key: tuple[str, ...]) -> bool:
    """Return whether a statement can carry this key. If it cannot, no row has the key."""
    text = "".join(key)
    # Most keys are printable, and that is quicker to check. A key that is not printable may still
    # be somebody's id, for instance with a no-break space.
    return text.isprintable() or not _UNSENDABLE.search(text)


def _open_fold(row: LockedDevice) -> DeviceFold:
    return DeviceFold(
        row.workspace_id,
        row.device_id,
        row.provider_id,
        row.external_id,
        row.vehicle_id,
        row.active,
        row.version,
        read_document(row.document),
        row.last_update_received_at,
        row.last_observed_at,
        row.last_changed_at,
        row.last_rejected_at,
        row.last_rejection_reason,
        row.last_outdated_at,
        row.held_back_seconds,
        row.statement_begun_at if row.statement == "named" else None,
        row.ids_are_vins,
        row.assignment,
        row.entered_at,
        () if row.other_spans is None else to_spans(row.other_spans),
        row.unaccepted_reception_at,
    )


def _expect(written: Rows, expected: int, table: str) -> None:
    """Raise VersionMismatch unless the statement wrote as many rows as were locked."""
    ((count, *_),) = written
    if count != expected:
        raise VersionMismatch(
            f"{table}: of {expected} locked rows, {count} still had the version that was read"
        )
