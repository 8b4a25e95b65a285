"""The ledger and quarantine rows of one unit: what was refused and why, in few rows and with a sample. Pure.

Everything here comes from outside and was refused, so nothing in it may spoil the unit that records it: text is made
storable, samples are cut to 4 kB of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from domain.model import MAX_SAMPLE_BYTES, Reason

if TYPE_CHECKING:
    from domain.model import CanonicalUpdate, InvalidItem, Result, Submission

MAX_TEXT = 200


class Ledger:
    """Refusals aggregated by who, what and why; the first of each kind lends its trace id, detail and sample."""

    def __init__(self) -> None:
        self._rows: dict[tuple[Any, ...], list[Any]] = {}
        self.quarantined: list[tuple[Any, ...]] = []

    def add(self, submission: Submission, update: CanonicalUpdate, result: Result) -> None:
        """Everything but `accepted` and `duplicate` belongs here."""
        device_id = result.device_id or update.device_id
        reason = result.reason and result.reason.value
        external_id = update.external_id
        key = (update.workspace_id, submission.origin, update.provider_id, device_id, external_id, result[0], reason)
        row = self._rows.get(key)
        if row is None:
            self._rows[key] = [result.detail, 1, update.trace_id, sample_of(update)]
        else:
            row[1] += 1

    def add_invalid(self, submission: Submission, item: InvalidItem, device_id: str | None) -> None:
        """`device_id` is whose it was, as far as anybody knows."""
        key = (
            item.workspace_id,
            submission.origin,
            item.provider_id,
            device_id,
            item.external_id,
            "rejected",
            item.reason.value,
        )
        row = self._rows.get(key)
        if row is None:
            sample = item.sample[:MAX_SAMPLE_BYTES] or None
            self._rows[key] = [item.detail, item.occurrences, submission.trace_id, sample]
        else:
            row[1] += item.occurrences

    def quarantine(self, update: CanonicalUpdate, reason: str, detail: str) -> None:
        self.quarantined.append(quarantine_row(update, reason, detail))

    def rows(self) -> list[tuple[Any, ...]]:
        """For append_rejections, in key order."""
        rows = []
        for (workspace_id, origin, provider_id, device_id, external_id, outcome, reason), rest in self._rows.items():
            detail, occurrences, trace_id, sample = rest
            rows.append(
                (
                    storable(workspace_id),
                    origin,
                    storable(provider_id),
                    storable(device_id),
                    storable(external_id),
                    str(outcome),
                    reason,
                    storable(detail),
                    occurrences,
                    storable(trace_id),
                    sample,
                )
            )
        return rows


def quarantine_row(update: CanonicalUpdate, reason: str, detail: str) -> tuple[Any, ...]:
    """For append_quarantine."""
    return (
        storable(update.workspace_id),
        storable(update.provider_id),
        storable(update.device_id),
        storable(update.external_id),
        reason,
        storable(detail),
        storable(update.trace_id),
        sample_of(update),
    )


def quarantine_facts(submission: Submission, detail: str) -> tuple[Any, ...]:
    """For append_quarantine: a submission without updates whose cursor, cycle or facts the database refused."""
    concerned = (submission.cycle and submission.cycle.key, submission.cursor, *submission.facts, *submission.invalid)
    workspace_id = next((item.workspace_id for item in concerned if item), "")
    sample = repr(submission).encode("utf-8", "backslashreplace")[:MAX_SAMPLE_BYTES]
    reason = Reason.DATA_ERROR.value
    trace_id = storable(submission.trace_id)
    return (storable(workspace_id), None, None, None, reason, storable(detail), trace_id, sample)


def storable(text: str | None) -> str | None:
    """Text that PostgreSQL takes (no NUL, no lone surrogates) and an index or a page does not choke on."""
    if text is None or (len(text) <= MAX_TEXT and text.isprintable()):
        return text
    return text[:MAX_TEXT].encode("ascii", "backslashreplace").decode().replace("\x00", "\\x00")


def sample_of(update: CanonicalUpdate) -> bytes:
    """The update as JSON where JSON can say it, otherwise as Python shows it; at most 4 kB."""
    try:
        named = update._asdict() | {"readings": [tuple(reading) for reading in update.readings]}
        sample = orjson.dumps(named, option=orjson.OPT_UTC_Z)
    except (TypeError, ValueError):
        sample = repr(update).encode("utf-8", "backslashreplace")
    return sample[:MAX_SAMPLE_BYTES]
