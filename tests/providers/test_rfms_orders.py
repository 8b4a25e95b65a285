"""Runs of the rFMS poller against servers that keep other orders than that of reception.

Whatever the order is, a run ends. Either it has read every record, or it says that it is not
complete and leaves the cursor where everything before it is read.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import orjson
import pytest

from domain.model import ProviderConnection
from providers.http import HttpPool
from providers.rfms import Rfms
from tests.providers.servers import Asked, Reply, http_server, loopback_dialler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ports.providers import Page

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
CURSOR = "2026-03-15T11:00:00Z"
END = "2026-03-15T12:00:00Z"
PAGE_SIZE = 20


class _NoonClock:
    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> datetime:
        return NOW


class Record(NamedTuple):
    vin: str
    created: datetime
    received: datetime
    soc: int


def _fleet() -> list[Record]:
    """A, B and C report every three minutes; Z uploads records of yesterday just now."""
    minute = timedelta(minutes=1)
    records = [
        Record(vin, created, created + minute, 20 + number)
        for number in range(20)
        for vin in "ABC"
        for created in [NOW - minute * (60 - 3 * number)]
    ]
    late = NOW - timedelta(seconds=30)
    day = timedelta(days=1)
    return records + [Record("Z", NOW - day + minute * n, late, n) for n in range(5)]


Order = Callable[[list[Record]], list[Record]]


def _shuffled(records: list[Record]) -> list[Record]:
    return random.Random(len(records)).sample(records, len(records))


def _changing() -> Order:
    calls = 0

    def order(records: list[Record]) -> list[Record]:
        nonlocal calls
        calls += 1
        by_reception = sorted(records, key=lambda record: record.received)
        return by_reception if calls < 3 else by_reception[::-1]

    return order


ORDERS: dict[str, Callable[[], Order]] = {
    "reception": lambda: lambda records: sorted(records, key=lambda r: r.received),
    "creation": lambda: lambda records: sorted(records, key=lambda r: (r.created, r.vin)),
    "newest first": lambda: lambda records: sorted(records, key=lambda r: r.received, reverse=True),
    "newest creation first": lambda: (
        lambda records: sorted(records, key=lambda r: r.created, reverse=True)
    ),
    "vehicle": lambda: lambda records: sorted(records, key=lambda r: (r.vin, r.received)),
    "vehicle, newest first": lambda: (
        lambda records: sorted(records, key=lambda r: (r.vin, -r.received.timestamp()))
    ),
    "none": lambda: _shuffled,
    "changing": _changing,
}


class Maker:
    """A server without links. `keeps_stop`: True, False (ignored) or None (refused)."""

    def __init__(
        self, records: list[Record], order: Order, *, keeps_stop: bool | None = True
    ) -> None:
        self.records = records
        self.order = order
        self.keeps_stop = keeps_stop
        self.calls = 0

    def answer(self, asked: Asked) -> Reply:
        self.calls += 1
        query = httpx.URL(asked.target).params
        stop = query.get("stoptime")
        if stop is not None and self.keeps_stop is None:
            return Reply(400, b'{"error":"UnknownParameter"}')
        end = datetime.fromisoformat(stop) if stop and self.keeps_stop else None
        start = datetime.fromisoformat(query["starttime"])
        found = [
            record
            for record in self.records
            if start <= record.received and (end is None or record.received < end)
        ]
        page = self.order(found)[:PAGE_SIZE]
        body = {
            "vehicleStatusResponse": {"vehicleStatuses": [_status(record) for record in page]},
            "moreDataAvailable": len(found) > len(page),
            "requestServerDateTime": END,
        }
        return Reply(body=orjson.dumps(body))


def _status(record: Record) -> dict[str, Any]:
    return {
        "vin": record.vin,
        "createdDateTime": record.created.isoformat(),
        "receivedDateTime": record.received.isoformat(),
        "snapshotData": {"hybridBatteryPackRemainingCharge": record.soc},
    }


@pytest.fixture
async def provider() -> AsyncIterator[Rfms]:
    async with HttpPool(loopback_dialler(), clock=_NoonClock()) as http:
        yield Rfms(http)


async def _run(provider: Rfms, maker: Maker, cursor: str, **settings: Any) -> list[Page]:
    async with http_server(maker.answer) as base:
        connection = ProviderConnection("acme", "rfms-1", "rfms", "poll", base, None, settings)
        poller = provider.open_poller(connection, "token")
        pages = [await poller.fetch((), cursor, None)]
        while pages[-1].next_page is not None:
            pages.append(await poller.fetch((), cursor, pages[-1].next_page))
    return pages


def _read(pages: list[Page]) -> set[tuple[str, datetime]]:
    return {
        (sample.external_id, sample.readings[0].observed_at)
        for page in pages
        for sample in page.samples
    }


def _all(records: list[Record], before: datetime | None = None) -> set[tuple[str, datetime]]:
    return {
        (record.vin, record.created)
        for record in records
        if before is None or record.received < before
    }


def _cursor_of(pages: list[Page]) -> str | None:
    return next((page.cursor for page in reversed(pages) if page.cursor is not None), None)


@pytest.mark.parametrize("order", ORDERS)
async def test_every_record_is_read_in_whatever_order(provider: Rfms, order: str) -> None:
    maker = Maker(_fleet(), ORDERS[order]())
    pages = await _run(provider, maker, CURSOR)
    assert _read(pages) == _all(maker.records)
    assert (pages[-1].is_complete, pages[-1].cursor) == (True, END)
    assert maker.calls <= 25


@pytest.mark.parametrize("keeps_stop", [False, None], ids=["ignored", "refused"])
@pytest.mark.parametrize("order", ORDERS)
async def test_a_run_that_is_not_sure_says_so(
    provider: Rfms, order: str, keeps_stop: bool | None
) -> None:
    maker = Maker(_fleet(), ORDERS[order](), keeps_stop=keeps_stop)
    pages = await _run(provider, maker, CURSOR)
    cursor = _cursor_of(pages)
    if pages[-1].is_complete:
        assert _read(pages) == _all(maker.records)
        assert cursor == END
    else:
        assert cursor is None or cursor < END
        reached = datetime.fromisoformat(cursor or CURSOR)
        assert _read(pages) >= _all(maker.records, reached)
    assert maker.calls <= 40


@pytest.mark.parametrize("keeps_stop", [True, False, None])
async def test_late_uploads_in_order_of_creation_cost_no_record(
    provider: Rfms, keeps_stop: bool | None
) -> None:
    maker = Maker(_fleet(), ORDERS["creation"](), keeps_stop=keeps_stop)
    pages = await _run(provider, maker, CURSOR)
    assert _read(pages) == _all(maker.records)
    assert (pages[-1].is_complete, pages[-1].cursor) == (True, END)


async def test_short_runs_catch_up_with_a_maker_that_never_sorts(provider: Rfms) -> None:
    maker = Maker(_fleet(), _shuffled)
    cursor, read = CURSOR, set[tuple[str, datetime]]()
    for _ in range(12):
        pages = await _run(provider, maker, cursor, max_pages=6)
        read |= _read(pages)
        cursor = _cursor_of(pages) or cursor
        if pages[-1].is_complete:
            break
    assert read == _all(maker.records)
    assert cursor == END


@pytest.mark.parametrize("order", ["reception", "vehicle", "none"])
async def test_a_second_longer_than_a_page_is_left_unsure(provider: Rfms, order: str) -> None:
    at = NOW - timedelta(minutes=30)
    bulk = [Record(f"V{n:02d}", at - timedelta(minutes=n), at, n) for n in range(50)]
    after = [Record("W", at, at + timedelta(minutes=1), 1)]
    pages = await _run(provider, Maker(bulk + after, ORDERS[order]()), CURSOR)
    assert ("W", at) in _read(pages)
    assert not pages[-1].is_complete
    assert _cursor_of(pages) == "2026-03-15T11:30:00Z"


async def test_a_run_that_stays_unsure_for_long_takes_the_latest(provider: Rfms) -> None:
    records = [record._replace(vin=record.vin * 2) for record in _fleet()]
    maker = Maker(records, ORDERS["newest first"](), keeps_stop=False)
    pages = await _run(provider, maker, "2026-03-15T09:00:00Z")
    assert (pages[-1].is_complete, pages[-1].cursor) == (False, "latest")


async def test_a_server_whose_clock_is_behind_loses_nothing(provider: Rfms) -> None:
    ahead = timedelta(minutes=90)
    records = [record._replace(received=record.received + ahead) for record in _fleet()]
    pages = await _run(provider, Maker(records, _shuffled), CURSOR)
    assert _read(pages) == _all(records)
    assert (pages[-1].is_complete, pages[-1].cursor) == (True, END)
