"""The ledger and quarantine rows of one unit: refusals and their reasons, with samples. Pure.

Which refusals are written now, and which are only counted, is decided in domain/refusals.py.

Everything here came from outside and was refused, so it must not make the unit that records it
fail: text is made storable, and samples are cut to 4 kB of bytes. Quarantine keeps updates whole up
to 64 kB, so that they can be replayed.
"""

from __future__ import annotations

from dataclasses import fields
from hashlib import blake2b
from typing import TYPE_CHECKING, overload

from domain.model import MAX_SAMPLE_BYTES, MAX_WHOLE_BYTES, Outcome, Reason
from domain.position import wire_names
from domain.refusals import UNKNOWN_SIGNAL, RefusalCount, RefusalKey
from domain.signals import CATALOGUE
from storage.unit.rows import QuarantineRow
from storage.unit.steps import Statement, named_columns, nullable
from storage.whole_updates import dump_update, is_read_back

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from domain.model import CanonicalUpdate, InvalidItem, Origin, Result, Submission
    from domain.refusals import RefusalCounts
    from storage.unit.steps import Steps

    # the parts of a RefusalKey: workspace, hour, origin, provider, device, external id …
    Whose = tuple[str, datetime, str, str | None, str | None, str | None]
    Kind = tuple[str, str | None, str | None]  # … and outcome, reason, signal
    Place = tuple[str, bytes]  # workspace_id and digest of a row

MAX_TEXT = 200
_COUNTED = tuple(field.name for field in fields(RefusalCount))


class Ledger:
    """Refusals of one unit, counted by device, outcome, reason and signal.

    The first refusal of each key gives the row its trace id, detail and sample. A sample is
    made only for a key whose row may be new.
    """

    def __init__(self, counts: RefusalCounts, now: datetime) -> None:
        """`counts` has what earlier units counted; `now` is the time of the unit."""
        self._counts = counts
        self.now = now
        self._hour = now.replace(minute=0, second=0, microsecond=0)
        self.counted: dict[RefusalKey, RefusalCount] = {}
        self.quarantined: list[QuarantineRow] = []

    def add(self, submission: Submission, update: CanonicalUpdate, result: Result) -> None:
        """Add what was refused of an update: the whole of it, or single readings."""
        device_id = result.device_id or update.device_id
        whose = self._whose(update, submission.origin, device_id)
        trace_id = storable(update.trace_id)
        sample: bytes | None = None  # one for all rows of this update
        for kind, detail in _kinds_of(result):
            key = RefusalKey(*whose, *kind)
            is_new = self._may_be_new(key)
            if is_new and sample is None:
                sample = sample_of(update)
            self._count(key, trace_id, detail, sample if is_new else None, 1)

    def add_invalid(self, submission: Submission, item: InvalidItem, device_id: str | None) -> None:
        """Add an invalid item, a position under both its names.

        `device_id` is the device it came from, if that is known.
        """
        whose = self._whose(item, submission.origin, device_id)
        trace_id = storable(submission.trace_id)
        sample = item.sample[:MAX_SAMPLE_BYTES] or None
        names: Sequence[str | None] = (None,) if item.signal is None else wire_names(item.signal)
        for name in names:
            signal = name if name is None or name in CATALOGUE else UNKNOWN_SIGNAL
            key = RefusalKey(*whose, "rejected", item.reason.value, signal)
            kept = sample if self._may_be_new(key) else None
            self._count(key, trace_id, item.detail, kept, item.occurrences)

    def quarantine(
        self, submission: Submission, update: CanonicalUpdate, reason: str, detail: str
    ) -> None:
        """Set the update aside. A replayed one has its row already."""
        if not submission.is_replay:
            self.quarantined.append(quarantine_row(submission.origin, update, reason, detail))

    def write(self) -> Steps:
        """Write what is due, and stage what that leaves until the unit is committed."""
        plan = self._counts.plan(self.counted, self.now)
        if not (plan.rows or plan.kept):
            return
        written: set[RefusalKey] = set()
        if plan.rows:
            places = {(key.workspace_id, digest_of(key)): key for key in plan.rows}
            appended = yield _append(places, plan.rows)
            written |= {places.pop((workspace_id, digest)) for workspace_id, digest in appended}
            if places:
                counted = yield _count_up(places, plan.rows)
                written |= {places[workspace_id, digest] for workspace_id, digest in counted}
        self._counts.stage(plan, written)

    # --- details

    def _whose(
        self, refused: CanonicalUpdate | InvalidItem, origin: str, device_id: str | None
    ) -> Whose:
        """Return the first part of a RefusalKey: whose refusals are counted, and in which hour."""
        return (
            storable(refused.workspace_id),
            self._hour,
            origin,
            storable(refused.provider_id),
            storable(device_id),
            storable(refused.external_id),
        )

    def _may_be_new(self, key: RefusalKey) -> bool:
        """Return whether the key may have no row yet, so that it needs a sample."""
        return key not in self.counted and not self._counts.can_wait(key, self.now)

    def _count(
        self,
        key: RefusalKey,
        trace_id: str,
        detail: str | None,
        sample: bytes | None,
        occurrences: int,
    ) -> None:
        known = self.counted.get(key)
        if known is not None:
            self.counted[key] = known.plus(occurrences, self.now)
            return
        self.counted[key] = RefusalCount(occurrences, self.now, trace_id, storable(detail), sample)


def _kinds_of(result: Result) -> Iterator[tuple[Kind, str | None]]:
    """Yield outcome, reason and signal of each row that counts an update, and its detail."""
    for signal, reason, why in result.dropped:
        name = signal if signal in CATALOGUE else UNKNOWN_SIGNAL
        detail = why if name == signal else f"{signal}: {why}"
        yield ("rejected", reason.value, name), detail
    for signal in result.conflicts:
        for name in wire_names(signal):
            yield ("conflict", None, name), None
    if not is_counted_by_signal(result):
        reason_name = result.reason and result.reason.value
        yield (result.outcome.value, reason_name, None), result.detail


def is_counted_by_signal(result: Result) -> bool:
    """Return whether the rows of single readings say everything that the ledger keeps of it."""
    match result.outcome:
        case Outcome.ACCEPTED | Outcome.DUPLICATE:
            return True
        case Outcome.CONFLICT:
            return bool(result.conflicts)
        case Outcome.REJECTED:
            return bool(result.dropped)
        case _:
            return False


def digest_of(key: RefusalKey) -> bytes:
    """Return 16 bytes that stand for the key within its workspace, whatever its length."""
    return blake2b(repr(key[1:]).encode(), digest_size=16).digest()


def _append(
    places: Mapping[Place, RefusalKey], counts: Mapping[RefusalKey, RefusalCount]
) -> Statement:
    """Return the statement that appends those of these rows that are new."""
    ordered = [(places[place], place[1]) for place in sorted(places)]
    found = named_columns((key for key, _ in ordered), RefusalKey._fields)
    found |= named_columns((counts[key] for key, _ in ordered), _COUNTED)
    return Statement.bound(
        "append_rejections",
        **{name: nullable(column) for name, column in found.items()},
        digest=[digest for _, digest in ordered],
    )


def _count_up(
    places: Mapping[Place, RefusalKey], counts: Mapping[RefusalKey, RefusalCount]
) -> Statement:
    """Return the statement that counts up these rows, which exist."""
    return Statement.bound(
        "count_rejections",
        workspace_id=[workspace_id for workspace_id, _ in places],
        hour=[key.hour for key in places.values()],
        digest=[digest for _, digest in places],
        occurrences=[counts[key].occurrences for key in places.values()],
        last_at=[counts[key].last_at for key in places.values()],
    )


def quarantine_row(
    origin: Origin, update: CanonicalUpdate, reason: str, detail: str
) -> QuarantineRow:
    """Return the update's row for append_quarantine: with the whole of it, or with a sample."""
    whole = _whole_of(update)
    return QuarantineRow(
        workspace_id=storable(update.workspace_id),
        provider_id=storable(update.provider_id),
        device_id=storable(update.device_id),
        external_id=storable(update.external_id),
        reason=reason,
        detail=storable(detail),
        trace_id=storable(update.trace_id),
        sample=sample_of(update) if whole is None else whole,
        origin=origin,
        is_whole=whole is not None,
    )


def quarantine_facts(submission: Submission, detail: str) -> QuarantineRow:
    """Return the row for append_quarantine of a submission without updates.

    The database refused its cursor, cycle or facts.
    """
    concerned = (
        submission.cycle and submission.cycle.key,
        submission.cursor,
        *submission.facts,
        *submission.invalid,
    )
    workspace_id = next((item.workspace_id for item in concerned if item), "")
    sample = repr(submission).encode("utf-8", "backslashreplace")[:MAX_SAMPLE_BYTES]
    return QuarantineRow(
        workspace_id=storable(workspace_id),
        provider_id=None,
        device_id=None,
        external_id=None,
        reason=Reason.DATA_ERROR.value,
        detail=storable(detail),
        trace_id=storable(submission.trace_id),
        sample=sample,
        origin=submission.origin,
        is_whole=False,
    )


@overload
def storable(text: str) -> str: ...
@overload
def storable(text: None) -> None: ...
@overload
def storable(text: str | None) -> str | None: ...
def storable(text: str | None) -> str | None:
    """Return the text in a form that PostgreSQL takes: without NUL and lone surrogates.

    Text that is long or not printable is cut to MAX_TEXT characters and escaped, so that an index
    can hold it and a page can show it.
    """
    if text is None or (len(text) <= MAX_TEXT and text.isprintable()):
        return text
    return text[:MAX_TEXT].encode("ascii", "backslashreplace").decode().replace("\x00", "\\x00")


def sample_of(update: CanonicalUpdate) -> bytes:
    """Return the update as JSON, or as Python's repr if JSON cannot hold it; at most 4 kB."""
    try:
        sample = dump_update(update)
    except (TypeError, ValueError):
        sample = repr(update).encode("utf-8", "backslashreplace")
    return sample[:MAX_SAMPLE_BYTES]


def _whole_of(update: CanonicalUpdate) -> bytes | None:
    """Return the update as JSON; None if it is too large or would not be read back as it is."""
    try:
        whole = dump_update(update)
    except (TypeError, ValueError):
        return None
    return whole if len(whole) <= MAX_WHOLE_BYTES and is_read_back(update, whole) else None
