"""rFMS 4 on the wire: a page of vehicle statuses. Pure.

Owns what a page says about each vehicle, and what is counted. answer.py finds the list of statuses,
and record.py reads each of them.
"""

from __future__ import annotations

from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from domain.identity import external_key
from ports.providers import BadRecord, Page, Sample
from providers.answers import error_code_in
from providers.error_reports import VEHICLE_ERROR
from providers.loose_types import read_instant, read_name
from providers.rfms.answer import LIST, WRAPPER, open_answer
from providers.rfms.errors import MAX_VIN_LENGTH, error_of_record
from providers.rfms.record import RecordReader
from providers.rfms.record_order import OrderWatch, RecordOrder
from providers.rfms.superseding import DatedSample, leave_out_superseded
from providers.samples import BadRecords, malformed_answer
from runtime.damaged_json import Damaged, read_damaged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, tzinfo


class StatusPage(NamedTuple):
    """One answer.

    `samples` are oldest first. `last_vin` is the last one in the answer's own order. A record with
    a wrong field gives its other readings and is counted as malformed all the same. `errors` are
    the maker's errors in the place of single vehicles, which were then not answered about.
    answer.py, `MorePages` explains the members about more pages. `is_listed` says that the answer
    has a list of statuses, perhaps an empty one.
    """

    samples: tuple[Sample, ...] = ()
    answered: frozenset[str] = frozenset()
    records: int = 0
    ignored: int = 0
    superseded: int = 0
    malformed: tuple[BadRecord, ...] = ()
    malformed_count: int = 0
    errors: Mapping[str, str] = MappingProxyType({})
    has_more: bool = False
    is_flagged: bool = True
    link: str | None = None
    problem: str | None = None
    server_time: datetime | None = None
    last_vin: str | None = None
    order: RecordOrder = RecordOrder()
    is_listed: bool = True

    @property
    def is_nameless(self) -> bool:
        """Return whether the vehicle of some record could not be read."""
        return any(record.external_id is None for record in self.malformed)

    @property
    def announces_more(self) -> bool:
        return self.has_more or self.link is not None or self.problem is not None


NOTHING_NEW: Final = StatusPage(is_listed=False)  # an answer without content


def read_page(body: bytes, zone: tzinfo | None = None) -> StatusPage:
    """Read an answer. Times without a zone are in `zone`; without one they cannot be read.

    Raises ProviderFault when it is not a page of statuses; a bad record in it is only counted, also
    if it is not even JSON.
    """
    try:
        page = orjson.loads(body)
    except ValueError as error:
        try:
            page = read_damaged(body, LIST, WRAPPER)
        except (ValueError, RecursionError):
            raise malformed_answer("the answer is not JSON") from error
    opened = open_answer(page, zone)
    reader = _PageReader(zone)
    for status in opened.statuses or ():
        reader.read(status)
    for vin, told in opened.errors.items():
        reader.note_error(vin, told, {"vin": vin, "error": told})
    is_listed = opened.statuses is not None
    return reader.page()._replace(is_listed=is_listed, **opened.paging._asdict())


def read_error_code(body: bytes) -> str | None:
    """Return the `error` member, as the standard and OAuth have it; None when there is none."""
    return error_code_in(body, "error")


def to_page(answer: StatusPage) -> Page:
    """Return the part of the answer that is about vehicles."""
    return Page(
        samples=answer.samples,
        answered=answer.answered,
        records=answer.records,
        ignored=answer.ignored,
        superseded=answer.superseded,
        malformed=answer.malformed,
        malformed_count=answer.malformed_count,
        errors=answer.errors,
    )


class _Newest(NamedTuple):
    """The newest record of one vehicle so far, and why it gave nothing, if it was malformed."""

    at: datetime | None
    refused: str | None

    def is_before(self, at: datetime | None) -> bool:
        return self.at is None or at is None or self.at <= at


class _PageReader:
    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = zone
        self._samples: list[DatedSample] = []
        self._answered: set[str] = set()
        self._errors: dict[str, str] = {}
        self._spellings: dict[str, str] = {}
        self._newest: dict[str, _Newest] = {}
        self._records = 0
        self._ignored = 0
        self._bad = BadRecords()
        self._last_vin: str | None = None
        self._order = OrderWatch()

    def read(self, status: object) -> None:
        damaged = status if isinstance(status, Damaged) else None
        fields = status if damaged is None else damaged.value
        fields = fields if isinstance(fields, dict) else {}
        named = fields.get("vin") if fields or damaged is None else damaged.text_of("vin")
        vin = self._spelled(read_name(named, MAX_VIN_LENGTH))
        created_at = read_instant(fields.get("createdDateTime"), self._zone)
        received_at = read_instant(fields.get("receivedDateTime"), self._zone)
        if vin is not None:
            self._answered.add(vin)
            self._last_vin = vin
        self._order.note(vin, received_at, created_at)
        sample = status if damaged is None else damaged.raw
        error = None if vin is None else error_of_record(fields)
        if vin is not None and error is not None:
            self.note_error(vin, error, sample)
            if created_at is None:
                return
        self._records += 1
        if vin is None or created_at is None or (damaged is not None and not fields):
            self._refuse(vin, received_at, created_at, _why(fields, vin, damaged), sample)
            return
        record = RecordReader(created_at, self._zone)
        record.read(fields)
        record.instant(fields, "receivedDateTime")
        if damaged is not None and not record.detail:
            record.add_flaw("the record is not valid JSON")
        self._keep(vin, record, DatedSample.of(vin, record.readings, created_at, received_at))
        if record.detail:
            signals = record.flawed_signals
            refused_whole = not record.readings
            self._bad.add(
                vin,
                record.detail,
                sample,
                signals,
                refused_whole=refused_whole,
                reception_at=received_at,
            )

    def _spelled(self, vin: str | None) -> str | None:
        """Return the vin as the page spelled it first: its case may change between records."""
        if vin is None:
            return None
        return self._spellings.setdefault(external_key(vin, is_vin=True), vin)

    def note_error(self, vin: str, error: str, sample: object) -> None:
        """Note the maker's error for a vehicle. It is counted, and is no refusal of data."""
        self._records += 1
        self._errors[vin] = error
        self._bad.add(vin, VEHICLE_ERROR, sample, refused_whole=False)

    def _refuse(
        self,
        vin: str | None,
        received_at: datetime | None,
        created_at: datetime | None,
        why: str,
        sample: object,
    ) -> None:
        self._bad.add(vin, why, sample, reception_at=received_at)
        self._note_newest(vin, received_at or created_at, why)

    def _keep(self, vin: str, record: RecordReader, sample: DatedSample) -> None:
        if record.readings:
            self._samples.append(sample)
        elif not record.detail:
            self._ignored += 1
        at = sample.reception_at or sample.created_at
        self._note_newest(vin, at, None if record.readings else record.detail or None)

    def _note_newest(self, vin: str | None, at: datetime | None, refused: str | None) -> None:
        if vin is None:
            return
        known = self._newest.get(vin)
        if known is None or known.is_before(at):
            self._newest[vin] = _Newest(at or (known.at if known else None), refused)

    def page(self) -> StatusPage:
        samples = sorted(self._samples, key=attrgetter("created_at", "order_at"))
        kept, superseded = leave_out_superseded(samples)
        return StatusPage(
            samples=tuple(kept),
            answered=frozenset(self._answered - self._errors.keys()),
            records=self._records,
            ignored=self._ignored + len(samples) - len(kept),
            superseded=superseded,
            malformed=tuple(map(self._judged, self._bad.records())),
            malformed_count=self._bad.count,
            errors=self._errors,
            last_vin=self._last_vin,
            order=self._order.result(),
        )

    def _judged(self, record: BadRecord) -> BadRecord:
        """Return the record; it is refused whole only if it is the vehicle's newest one."""
        newest = self._newest.get(record.external_id or "")
        if newest is None:
            return record
        return record._replace(refused_whole=newest.refused == record.detail)


def _why(fields: dict[str, Any], vin: str | None, damaged: Damaged | None) -> str:
    if damaged is not None and not fields:
        return "the record is not JSON"
    if vin is None:
        return "vin is missing or cannot be read"
    missing = fields.get("createdDateTime") is None
    return f"createdDateTime is {'missing' if missing else 'not a time with a zone'}"
