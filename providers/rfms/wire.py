"""rFMS 4 on the wire: a page of vehicle statuses. Pure.

Owns the shape of an answer and of its paging, and what is counted. record.py reads each status. It
must never take a field for "no more pages" that it cannot read. Source: the rFMS 4.0.0 OpenAPI
document.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from ports.providers import BadRecord, Page, Sample
from providers.answers import error_code_in
from providers.damaged_json import Damaged, read_damaged
from providers.loose_types import read_flag, read_instant
from providers.rfms.record import RecordReader
from providers.rfms.record_order import OrderWatch, RecordOrder
from providers.rfms.superseding import DatedSample, leave_out_superseded
from providers.samples import BadRecords, malformed_answer

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

MAX_VIN_LENGTH: Final = 64
_WRAPPER: Final = "vehicleStatusResponse"
_LIST: Final = "vehicleStatuses"
_MORE: Final = "moreDataAvailable"
_PAGING: Final = frozenset({_MORE, "moreDataAvailableLink", "requestServerDateTime"})
_INNER: Final = _PAGING | {_WRAPPER, _LIST}  # what the standard has around a list
_ERRORS: Final = frozenset({"error", "errors", "error_description", "fault"})
_NO_LIST: Final = f"the answer has no {_WRAPPER}.{_LIST} (rFMS 4)"


class StatusPage(NamedTuple):
    """One answer.

    `samples` are oldest first. `last_vin` is the last one in the answer's own order. A record with
    a wrong field gives its other readings and is counted as malformed all the same. `problem` says
    why it cannot be told whether there are more pages. `is_listed` says that the answer has a list
    of statuses, perhaps an empty one.
    """

    samples: tuple[Sample, ...] = ()
    answered: frozenset[str] = frozenset()
    records: int = 0
    ignored: int = 0
    superseded: int = 0
    malformed: tuple[BadRecord, ...] = ()
    malformed_count: int = 0
    has_more: bool = False
    link: str | None = None
    problem: str | None = None
    last_vin: str | None = None
    server_time: datetime | None = None
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
            page = read_damaged(body, _LIST, _WRAPPER)
        except (ValueError, RecursionError):
            raise malformed_answer("the answer is not JSON") from error
    statuses, paging = _open(page)
    reader = _PageReader(zone)
    for status in statuses or ():
        reader.read(status)
    return _with_paging(reader.page(), paging, zone)._replace(is_listed=statuses is not None)


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
    )


def _open(page: Any) -> tuple[list[Any] | None, dict[str, Any]]:
    """Return the list of statuses, None if there is none, and the members about paging.

    The standard wraps the list. A bare list, and one that is wrapped once less, say the same. An
    answer without a list says that nothing is new, if it has a member of the standard, or none at
    all, and neither an error nor another list. Raises ProviderFault for any other answer.
    """
    if isinstance(page, list) and all(isinstance(status, dict | Damaged) for status in page):
        return page, {}
    if not isinstance(page, dict):
        raise malformed_answer(_NO_LIST)
    page = {name: value for name, value in page.items() if value or name not in _ERRORS}
    wrapped = page.get(_WRAPPER)
    if isinstance(wrapped, list):
        return wrapped, page
    inner = page if wrapped is None else wrapped
    if not isinstance(inner, dict):
        raise malformed_answer(_NO_LIST)
    statuses = inner.get(_LIST)
    if isinstance(statuses, list):
        return statuses, _paging_of(page, inner)
    is_known = not page or not _INNER.isdisjoint(page)
    has_error = any(place.get(name) for place in (page, inner) for name in _ERRORS)
    rest = (inner[name] for name in inner.keys() - _INNER - _ERRORS)
    has_other = any(isinstance(value, list | dict) for value in rest)
    if statuses is not None or not is_known or has_error or has_other:
        raise malformed_answer(_NO_LIST)
    return None, _paging_of(page, inner)


def _paging_of(page: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    """Return the members about paging, from both levels: null hides nothing, nor does false."""
    said = {**page, **{name: value for name, value in inner.items() if value is not None}}
    if read_flag(page.get(_MORE)):
        said[_MORE] = True
    return said


def _with_paging(page: StatusPage, fields: dict[str, Any], zone: tzinfo | None) -> StatusPage:
    more, link = fields.get(_MORE), fields.get("moreDataAvailableLink")
    has_more, problem = False, None
    if more is not None:
        flag = read_flag(more)
        has_more = flag is True
        if flag is None:
            problem = "moreDataAvailable is neither true nor false"
    if link is not None and not isinstance(link, str):
        problem = "moreDataAvailableLink is not text"
    return page._replace(
        has_more=has_more,
        link=link.strip() or None if isinstance(link, str) else None,
        problem=problem,
        server_time=read_instant(fields.get("requestServerDateTime"), zone),
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
        self._newest: dict[str, _Newest] = {}
        self._records = 0
        self._ignored = 0
        self._bad = BadRecords()
        self._last_vin: str | None = None
        self._order = OrderWatch()

    def read(self, status: object) -> None:
        self._records += 1
        damaged = status if isinstance(status, Damaged) else None
        fields = status if damaged is None else damaged.value
        fields = fields if isinstance(fields, dict) else {}
        vin = _vin(fields.get("vin") if fields or damaged is None else damaged.text_of("vin"))
        created_at = read_instant(fields.get("createdDateTime"), self._zone)
        received_at = read_instant(fields.get("receivedDateTime"), self._zone)
        if vin is not None:
            self._answered.add(vin)
            self._last_vin = vin
        self._order.note(vin, received_at, created_at)
        sample = status if damaged is None else damaged.raw
        if vin is None or created_at is None or (damaged is not None and not fields):
            self._refuse(vin, received_at or created_at, _why(fields, vin, damaged), sample)
            return
        record = RecordReader(created_at, self._zone)
        record.read(fields)
        record.instant(fields, "receivedDateTime")
        if damaged is not None and not record.detail:
            record.add_flaw("the record is not valid JSON")
        self._keep(vin, record, DatedSample.of(vin, record.readings, created_at, received_at))
        if record.detail:
            signals = record.flawed_signals
            self._bad.add(vin, record.detail, sample, signals, refused_whole=not record.readings)

    def _refuse(self, vin: str | None, at: datetime | None, why: str, sample: object) -> None:
        self._bad.add(vin, why, sample)
        self._note_newest(vin, at, why)

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
            answered=frozenset(self._answered),
            records=self._records,
            ignored=self._ignored + len(samples) - len(kept),
            superseded=superseded,
            malformed=tuple(map(self._judged, self._bad.records())),
            malformed_count=self._bad.count,
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


def _vin(value: object) -> str | None:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_VIN_LENGTH:
        return None
    return value if value.isprintable() else None
