"""The ledger and quarantine rows of one unit: refusals and their reasons, with samples. Pure.

Everything here came from outside and was refused, so it must not make the unit that records it
fail: text is made storable, and samples are cut to 4 kB of bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import orjson

from domain.model import MAX_SAMPLE_BYTES, Reason
from storage.unit_rows import QuarantineRow, RefusalRow

if TYPE_CHECKING:
    from domain.model import CanonicalUpdate, InvalidItem, Result, Submission

MAX_TEXT = 200


class _Kind(NamedTuple):
    """The facts by which refusals are aggregated."""

    workspace_id: str
    origin: str
    provider_id: str
    device_id: str | None
    external_id: str | None
    outcome: str
    reason: str | None


@dataclass(slots=True)
class _Refusals:
    """The refusals of one kind: the facts of the first, and how many there were."""

    detail: str | None
    occurrences: int
    trace_id: str
    sample: bytes | None


class Ledger:
    """Refusals, aggregated by origin, device, outcome and reason.

    The first refusal of each kind gives the row its trace id, detail and sample.
    """

    def __init__(self) -> None:
        self._refusals: dict[_Kind, _Refusals] = {}
        self.quarantined: list[QuarantineRow] = []

    def add(self, submission: Submission, update: CanonicalUpdate, result: Result) -> None:
        """Add a refused update: one whose outcome is neither `accepted` nor `duplicate`."""
        kind = _Kind(
            update.workspace_id,
            submission.origin,
            update.provider_id,
            result.device_id or update.device_id,
            update.external_id,
            result.outcome,
            result.reason and result.reason.value,
        )
        known = self._refusals.get(kind)
        if known is None:
            sample = sample_of(update)
            self._refusals[kind] = _Refusals(result.detail, 1, update.trace_id, sample)
        else:
            known.occurrences += 1

    def add_invalid(self, submission: Submission, item: InvalidItem, device_id: str | None) -> None:
        """Add an invalid item. `device_id` is the device it came from, if that is known."""
        kind = _Kind(
            item.workspace_id,
            submission.origin,
            item.provider_id,
            device_id,
            item.external_id,
            "rejected",
            item.reason.value,
        )
        known = self._refusals.get(kind)
        if known is None:
            sample = item.sample[:MAX_SAMPLE_BYTES] or None
            trace_id = submission.trace_id
            self._refusals[kind] = _Refusals(item.detail, item.occurrences, trace_id, sample)
        else:
            known.occurrences += item.occurrences

    def quarantine(self, update: CanonicalUpdate, reason: str, detail: str) -> None:
        self.quarantined.append(quarantine_row(update, reason, detail))

    def rows(self) -> list[RefusalRow]:
        """Return the rows for append_rejections, aggregated.

        They are in the order in which the first refusal of each kind was added.
        """
        return [
            RefusalRow(
                workspace_id=storable(kind.workspace_id),
                origin=kind.origin,
                provider_id=storable(kind.provider_id),
                device_id=storable(kind.device_id),
                external_id=storable(kind.external_id),
                outcome=str(kind.outcome),
                reason=kind.reason,
                detail=storable(refusals.detail),
                occurrences=refusals.occurrences,
                trace_id=storable(refusals.trace_id),
                sample=refusals.sample,
            )
            for kind, refusals in self._refusals.items()
        ]


def quarantine_row(update: CanonicalUpdate, reason: str, detail: str) -> QuarantineRow:
    """Return the update's row for append_quarantine."""
    return QuarantineRow(
        workspace_id=storable(update.workspace_id),
        provider_id=storable(update.provider_id),
        device_id=storable(update.device_id),
        external_id=storable(update.external_id),
        reason=reason,
        detail=storable(detail),
        trace_id=storable(update.trace_id),
        sample=sample_of(update),
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
    )


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
        named = update._asdict() | {"readings": [tuple(reading) for reading in update.readings]}
        sample = orjson.dumps(named, option=orjson.OPT_UTC_Z)
    except (TypeError, ValueError):
        sample = repr(update).encode("utf-8", "backslashreplace")
    return sample[:MAX_SAMPLE_BYTES]
