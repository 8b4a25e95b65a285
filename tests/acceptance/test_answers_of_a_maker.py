"""Answers of a polled maker in odd but legal forms, and answers with one bad record."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.harness import Harness, eventually, open_harness, until
from tests.acceptance.maker import VIN, WORKSPACE, configure_maker, open_maker, record, said
from tests.providers.servers import Asked, Reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


OTHER = "TESTVIN0000000002"
BAD_TIME = "2026-11-28T10:04:00"  # without a zone


def _soc(vin: str, percent: object, seconds_ago: float = 1, **fields: Any) -> dict[str, Any]:
    snapshot = {"hybridBatteryPackRemainingCharge": percent}
    return record(seconds_ago, snapshot, **{"vin": vin, **fields})


async def _reasons(harness: Harness) -> dict[str, str]:
    items = (await harness.shard.health(WORKSPACE))["items"]
    return {item["device_id"]: item["reason"] for item in items}


async def _has(harness: Harness, vin: str, signal: str, value: object) -> bool:
    values = await harness.shard.values(WORKSPACE, vin)
    return signal in values and values[signal][0] == value


async def test_a_truck_whose_records_are_refused_is_not_silent(dsn: str, tmp_path: Path) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.reply = lambda _, asked: _records(
            asked, _soc(VIN, 61.5, createdDateTime=BAD_TIME), _soc(OTHER, 40.0)
        )
        await configure_maker(harness, maker, VIN, OTHER)
        await eventually(
            lambda: _reasons(harness), {VIN: "updates_rejected", OTHER: "reporting"}, within=60
        )
        rows = await harness.shard.rejections(WORKSPACE)

    assert {(row["reason"], row["external_id"]) for row in rows} == {("malformed", VIN)}
    assert {row["detail"] for row in rows} == {"createdDateTime is not a time with a zone"}


def _records(_: Asked, *records: dict[str, Any]) -> Reply:
    body = {
        "vehicleStatusResponse": {"vehicleStatuses": records},
        "moreDataAvailable": False,
        "requestServerDateTime": said(0),
    }
    return Reply(200, json.dumps(body).encode())


def _members(body: bytes) -> bytes:
    return gzip.compress(body[:50]) + gzip.compress(body[50:])


@pytest.mark.parametrize(
    ("form", "is_damaged"),
    [
        (lambda body, _: Reply(200, body, {"Content-Encoding": "UTF-8"}), False),
        (lambda body, _: Reply(200, body, {"Content-Encoding": ""}), False),
        (lambda body, _: Reply(200, b"\xef\xbb\xbf" + body), False),
        (lambda body, _: Reply(200, _members(body), {"Content-Encoding": "gzip"}), False),
        (lambda body, _: Reply(200, body.replace(b"61.5", b'"61.5"')), False),
        (lambda body, _: Reply(200, body.replace(b"40.25", b"NaN")), True),
        (lambda body, _: Reply(200, body.replace(b"40.25", b'"\\ud800"')), True),
        (lambda body, _: Reply(200, body.replace(b"40.25", b'"M\xfcller"')), True),
    ],
    ids=["charset", "blank", "mark", "members", "text", "nan", "surrogate", "latin-1"],
)
async def test_an_odd_answer_is_no_outage(
    dsn: str, tmp_path: Path, form: Callable[[bytes, Asked], Reply], is_damaged: bool
) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.records = [_soc(VIN, 61.5), _soc(OTHER, 40.25)]
        maker.reply = form
        await configure_maker(harness, maker, VIN, OTHER)
        await until(lambda: _has(harness, VIN, "soc_percent", 61.5))
        reasons = await _reasons(harness)
        rows = await harness.shard.rejections(WORKSPACE)

    assert reasons[VIN] == "reporting"
    refused = {(row["reason"], row["external_id"]) for row in rows}
    assert refused == ({("malformed", OTHER)} if is_damaged else set())


@pytest.mark.parametrize(
    "reply",
    [
        Reply(204, b""),
        Reply(200, b"{}"),
        Reply(200, b'{"vehicleStatusResponse":{},"moreDataAvailable":false}'),
        Reply(200, b'{"vehicleStatusResponse":{"vehicleStatuses":null}}'),
    ],
    ids=["204", "empty", "absent", "null"],
)
async def test_nothing_new_is_no_outage(dsn: str, tmp_path: Path, reply: Reply) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.records = [_soc(VIN, 61.5)]
        await configure_maker(harness, maker)
        await until(lambda: _has(harness, VIN, "soc_percent", 61.5))
        maker.reply = lambda _, __: reply
        await eventually(lambda: _reasons(harness), {VIN: "device_silent"}, within=60)


async def test_the_later_record_of_a_second_is_shown(dsn: str, tmp_path: Path) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        created = said(1)[:19] + "Z"
        maker.records = [
            record(1, {"batteryPackChargingStatus": status}, createdDateTime=created)
            for status in ("NOT_CHARGING", "CHARGING_DC")
        ]
        await configure_maker(harness, maker)
        await until(lambda: _has(harness, VIN, "charging", True))
        assert await harness.shard.rejections(WORKSPACE) == []
