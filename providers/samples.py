"""Malformed records, as they are shown to people. Pure.

Owns how a record is written, in full: it is cut to the ledger's length only after the connection's
secret was taken out of it (actors/scrubbing.py). It must never raise on data from the wire. orjson
reads four times as many levels as it writes, and a record that is too deep must not cost the page
or the stream that it came with.
"""

from __future__ import annotations

import sys
from reprlib import Repr
from typing import TYPE_CHECKING, Final

import orjson

from domain.model import FaultClass
from ports.providers import BadRecord, ProviderFault

if TYPE_CHECKING:
    from datetime import datetime

MAX_SAMPLES: Final = 20  # of one page
_MAX_LEVELS: Final = 20
_MAX_ITEMS: Final = 4096


class BadRecords:
    """The malformed records of one page, gathered by device and detail.

    Of a page at most MAX_SAMPLES records keep a sample. `count` is of records.
    """

    def __init__(self) -> None:
        self._gathered: dict[tuple[str | None, str], BadRecord] = {}
        self._samples = 0
        self.count = 0

    def add(
        self,
        external_id: str | None,
        detail: str,
        record: object,
        signals: tuple[str, ...] = (),
        *,
        refused_whole: bool = True,
        reception_at: datetime | None = None,
    ) -> None:
        """Count a record. As a sample it is written as JSON, or taken as it is if it is bytes."""
        self.count += 1
        key = (external_id, detail)
        known = self._gathered.get(key)
        if known is not None:
            self._gathered[key] = known._replace(
                occurrences=known.occurrences + 1,
                refused_whole=known.refused_whole or refused_whole,
                reception_at=_later(known.reception_at, reception_at),
            )
            return
        sample = b""
        if self._samples < MAX_SAMPLES:
            self._samples += 1
            sample = record if isinstance(record, bytes) else sample_of(record)
        self._gathered[key] = BadRecord(
            external_id,
            detail,
            sample,
            signals,
            refused_whole=refused_whole,
            reception_at=reception_at,
        )

    def records(self) -> tuple[BadRecord, ...]:
        return tuple(self._gathered.values())


def _later(known: datetime | None, at: datetime | None) -> datetime | None:
    return at if known is None or (at is not None and at > known) else known


def sample_of(record: object) -> bytes:
    """Return the record as JSON where JSON can express it.

    Otherwise return its upper levels as Python shows them.
    """
    try:
        return orjson.dumps(record)
    except TypeError:
        return _outline().repr(record).encode("utf-8", "backslashreplace")


def malformed_answer(message: str) -> ProviderFault:
    """Return the fault of an answer that arrived whole but is not what it should be."""
    return ProviderFault(FaultClass.PROTOCOL, message, unreadable=True)


def _outline() -> Repr:
    """Return a writer for records that are too deep for JSON, and for `repr`, too.

    Texts stay whole: a cut text could hold half a secret.
    """
    outline = Repr()
    outline.maxlevel = _MAX_LEVELS
    outline.maxdict = outline.maxlist = _MAX_ITEMS
    outline.maxstring = outline.maxother = sys.maxsize
    return outline
