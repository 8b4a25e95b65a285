"""Pages of a polled maker: in another order, announced by text, or with a place without a time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.acceptance.harness import Harness, eventually, open_harness, until
from tests.acceptance.maker import VIN, WORKSPACE, configure_maker, open_maker, record, said
from tests.providers.servers import Asked, Reply

if TYPE_CHECKING:
    from pathlib import Path

A, B, C, Z = (f"TESTVIN000000000{name}" for name in "ABCZ")
PARKED = "TESTVIN000000000P"
OTHER = "TESTVIN0000000002"
PAGE_SIZE: Final = 20
HOUR: Final = 3600.0


def query_of(asked: Asked) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(asked.target).query).items()}


def page(records: list[dict[str, Any]], *, more: object = False, server_time: str = "") -> Reply:
    body = {
        "vehicleStatusResponse": {"vehicleStatuses": records},
        "moreDataAvailable": more,
        "requestServerDateTime": server_time or said(0),
    }
    return Reply(200, json.dumps(body).encode())


def status(vin: str, soc: float, created: float, received: float) -> dict[str, Any]:
    """Return a record created and received so many seconds ago."""
    return record(
        created,
        {"hybridBatteryPackRemainingCharge": soc},
        vin=vin,
        receivedDateTime=said(received),
    )


class LateUploads:
    """An account whose pages are in the order of creation, and one vehicle that uploads late.

    Until `is_late` each truck has one old record, and the server's clock is an hour ago, so that
    the cursor is an hour old. Then there are 65 records since that cursor.
    """

    def __init__(self, *, keeps_stop: bool) -> None:
        self.keeps_stop = keeps_stop
        self.is_late = False
        self.server_time = said(HOUR)
        every_truck = enumerate((A, B, C, Z, PARKED))
        self.old = [
            status(vin, 10.0 + n, 1.1 * HOUR + 90_000 * (vin == Z), 1.1 * HOUR)
            for n, vin in every_truck
        ]
        self.new = [
            status(vin, 20.0 + number, 180.0 * (20 - number) - 60, 180.0 * (20 - number) - 120)
            for number in range(20)
            for vin in (A, B, C)
        ]
        self.new += [status(Z, 70.0 + number, 86_400 - number, 30) for number in range(5)]

    def answer(self, _: bytes, asked: Asked) -> Reply:
        query = query_of(asked)
        records = self.old + self.new if self.is_late else self.old
        if "latestOnly" in query:
            return page(self.old, server_time=self.server_time)
        chosen = [one for one in records if self._is_asked_for(one, query)]
        chosen.sort(key=lambda one: one["createdDateTime"])
        server_time = said(0) if self.is_late else self.server_time
        return page(chosen[:PAGE_SIZE], more=len(chosen) > PAGE_SIZE, server_time=server_time)

    def _is_asked_for(self, one: dict[str, Any], query: dict[str, str]) -> bool:
        received = datetime.fromisoformat(one["receivedDateTime"])
        stop = query.get("stoptime") if self.keeps_stop else None
        is_before = stop is None or received < datetime.fromisoformat(stop)
        return received >= datetime.fromisoformat(query["starttime"]) and is_before


async def soc_of(harness: Harness, *vins: str) -> dict[str, Any]:
    values = {vin: await harness.shard.values(WORKSPACE, vin) for vin in vins}
    return {vin: each["soc_percent"][0] for vin, each in values.items() if "soc_percent" in each}


async def stored_socs(harness: Harness, vin: str) -> list[float]:
    """Return every state of charge in the event history, oldest event first."""
    events = await harness.shard.events(WORKSPACE, vin)
    readings = [event["readings"].get("soc_percent") for event in events]
    return [reading["value"] for reading in readings if reading is not None]


async def answered_at(harness: Harness, vin: str) -> datetime | None:
    items = (await harness.shard.health(WORKSPACE))["items"]
    (item,) = [item for item in items if item["device_id"] == vin]
    at = item["evidence"]["provider_answered_at"]
    return None if at is None else datetime.fromisoformat(at)


@pytest.mark.parametrize("keeps_stop", [True, False], ids=["stoptime kept", "stoptime ignored"])
async def test_every_record_of_pages_in_another_order_is_read(
    dsn: str, tmp_path: Path, keeps_stop: bool
) -> None:
    """The parked truck is answered about only after everything since the cursor was read."""
    account = LateUploads(keeps_stop=keeps_stop)
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.reply = account.answer
        await configure_maker(harness, maker, A, B, C, Z, PARKED)
        before = {A: 10.0, B: 11.0, C: 12.0, Z: 13.0, PARKED: 14.0}
        await eventually(lambda: soc_of(harness, *before), before)
        account.is_late = True
        began_at = await harness.now()

        async def is_read() -> bool:
            at = await answered_at(harness, PARKED)
            socs = {vin: await stored_socs(harness, vin) for vin in (A, B, C, Z)}
            count = sum(len(each) for each in socs.values()) - 4
            # A run that was begun before the switch may end shortly after it.
            if at is not None and at > began_at + timedelta(seconds=3):
                assert count == 65
            return count == 65

        await until(is_read, within=60)
        expected = {A: 39.0, B: 39.0, C: 39.0, Z: 74.0, PARKED: 14.0}
        assert await soc_of(harness, *expected) == expected
        for vin in (A, B, C):
            assert (await stored_socs(harness, vin))[1:] == [20.0 + number for number in range(20)]


async def test_a_second_page_that_text_announces_is_asked_for(dsn: str, tmp_path: Path) -> None:
    place = {"latitude": 52.09, "longitude": 5.11, "positionDateTime": said(1), "heading": "120"}
    first = record(1, {"gnssPosition": place, "hybridBatteryPackRemainingCharge": "61.5"})
    second = status(OTHER, 40.0, 1, 1)

    def reply(_: bytes, asked: Asked) -> Reply:
        query = query_of(asked)
        if "latestOnly" not in query:
            return page([])
        return page([second]) if "lastVin" in query else page([first], more="true")

    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.reply = reply
        await configure_maker(harness, maker, VIN, OTHER)
        await eventually(lambda: soc_of(harness, VIN, OTHER), {VIN: 61.5, OTHER: 40.0})
        values = await harness.shard.values(WORKSPACE, VIN)
        rows = await harness.shard.rejections(WORKSPACE)
    assert values["heading_deg"][0] == 120
    assert rows == []


@pytest.mark.parametrize("more", ["perhaps", 2, []], ids=["a word", "a number", "a list"])
async def test_a_page_whose_end_is_unclear_confirms_nobody(
    dsn: str, tmp_path: Path, more: object
) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.reply = lambda _, __: page([status(VIN, 61.5, 1, 1)], more=more)
        await configure_maker(harness, maker, VIN, OTHER)

        async def reason() -> tuple[str, str]:
            items = (await harness.shard.health(WORKSPACE))["items"]
            (item,) = [item for item in items if item["device_id"] == OTHER]
            return item["reason"], item["party"]

        await eventually(reason, ("provider_outage", "provider"), within=60)
        assert await answered_at(harness, OTHER) is None


async def test_a_position_without_a_time_has_the_records(dsn: str, tmp_path: Path) -> None:
    """The record's own time; without that one too the record is refused by name."""
    place = {"gnssPosition": {"latitude": 48.25, "longitude": 20.65, "heading": 189}}
    created = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=2)
    text = created.isoformat().replace("+00:00", "Z")
    placed = record(2, place, createdDateTime=text)
    timeless = record(2, place, vin=OTHER)
    del timeless["createdDateTime"]
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.records = [placed, timeless]
        await configure_maker(harness, maker, VIN, OTHER)
        await until(lambda: _is_refused(harness))
        values = await harness.shard.values(WORKSPACE, VIN)
        other = await harness.shard.values(WORKSPACE, OTHER)
        rows = await harness.shard.rejections(WORKSPACE)

    expected = {"latitude_deg": 48.25, "longitude_deg": 20.65, "heading_deg": 189}
    assert {signal: value for signal, (value, _) in values.items()} == expected
    assert {datetime.fromisoformat(at) for _, at in values.values()} == {created}
    assert other == {}
    assert {(row["reason"], row["external_id"]) for row in rows} == {("malformed", OTHER)}


async def _is_refused(harness: Harness) -> bool:
    return bool(await harness.shard.rejections(WORKSPACE))
