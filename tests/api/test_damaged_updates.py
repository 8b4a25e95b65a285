"""What is no strict JSON in one item of a request costs that item, or one of its readings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.standing_time import START

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

JSON = {"Content-Type": "application/json"}
AT = START.isoformat()


def reading(value: str, signal: str = '"soc_percent"') -> str:
    return f'{{"signal":{signal},"value":{value},"observed_at":"{AT}"}}'


def item(device: str, *readings: str, rest: str = "") -> str:
    named = f'"workspace_id":"north","provider_id":"live",{device}'
    return f'{{{named},"readings":[{",".join(readings)}]{rest}}}'


GOOD = item('"device_id":"bus-2"', reading("60"))


async def send(harness: Harness, *items: str) -> Answer:
    body = f'{{"updates":[{",".join(items)}]}}'.encode("latin-1")
    return await harness.ask("POST", "/ingest", data=body, headers=JSON)


async def ledger(harness: Harness) -> set[tuple[Any, ...]]:
    items = (await harness.get("/workspaces/north/rejections"))["items"]
    return {(row["device_id"], row["reason"], row["signal"]) for row in items}


@pytest.mark.parametrize(
    "value",
    ["NaN", "-Infinity", "1e400", "9" * 400, '"\\ud800"', '"M\xfcnchen"', '"\x01"'],
)
async def test_a_value_that_is_no_json_costs_its_reading(harness: Harness, value: str) -> None:
    bad = reading(value, '"odometer_km"')
    answer = await send(harness, item('"device_id":"bus-1"', bad, reading("61")), GOOD)
    assert answer.status == 200
    assert [result["outcome"] for result in answer.json["results"]] == ["accepted"] * 2
    values = (await harness.get("/workspaces/north/snapshots/bus-1"))["values"]
    assert {name: value["value"] for name, value in values.items()} == {"soc_percent": 61}
    assert await ledger(harness) == {("bus-1", "invalid", "odometer_km")}


@pytest.mark.parametrize(
    "bad",
    [
        item('"external_id":"x-bus-1"', reading("nan")),
        item('"external_id":"x-bus-1"', reading("")),
        item('"external_id":"x-bus-1"', reading('6"1')),
        item('"external_id":"x-bus-1"', reading("[" * 2000 + "]" * 2000)),
        item('"external_id":"x-bus-1"', reading("61"), rest=',"vehicle_id":"M\xfcller"'),
        item('"external_id":"x-bus-1"', reading("61"), rest=',"vehicle_id":NaN'),
        item('"external_id":"x-bus-1"', reading("61"), rest=","),
    ],
)
async def test_an_item_that_is_no_json_costs_itself(harness: Harness, bad: str) -> None:
    answer = await send(harness, bad, GOOD)
    assert answer.status == 200
    refused, taken = answer.json["results"]
    assert (refused["outcome"], refused["reason"], taken["outcome"]) == (
        "rejected",
        "invalid",
        "accepted",
    )
    assert refused["detail"].startswith("/: not JSON")
    assert await ledger(harness) == {("bus-1", "invalid", None)}
    (row,) = (await harness.get("/workspaces/north/rejections"))["items"]
    assert row["external_id"] == "x-bus-1"
    assert row["sample"]["base64"] or "x-bus-1" in row["sample"]["text"]


async def test_its_device_is_not_silent(harness: Harness) -> None:
    await send(harness, item('"external_id":"x-bus-1"', reading("nan")), GOOD)
    harness.let_pass(400)
    await harness.run_cycle()
    report = await harness.get("/workspaces/north/health")
    reasons = {found["device_id"]: found["reason"] for found in report["items"]}
    assert (reasons["bus-1"], reasons["bus-2"]) == ("updates_rejected", "device_silent")


@pytest.mark.parametrize(
    "body",
    [
        b'{"updates":[{}',
        b'{"updates":NaN}',
        b'{"update":[NaN]}',
        b"[NaN]",
        b"\xff",
    ],
)
async def test_a_fault_around_the_items_refuses_the_body(harness: Harness, body: bytes) -> None:
    answer = await harness.ask("POST", "/ingest", data=body, headers=JSON)
    assert (answer.status, answer.problem) == (400, "malformed-json")


async def test_the_shape_of_a_body_is_checked_as_ever(harness: Harness) -> None:
    bad = item('"device_id":"bus-1"', reading("NaN"))
    assert (await send(harness, *[GOOD] * 500, bad)).status == 422


async def test_ids_are_read_from_a_refused_item_as_from_a_good_one(harness: Harness) -> None:
    """The device is told apart from the id of another kind, and from none at all."""
    null = reading("null")
    for device in (
        '"external_id":" x-bus-1 "',
        '"external_id":"x-bus-1","device_id":"no such id"',
        '"external_id":"x-bus-1","device_id":7',
        '"external_id":"x-bus-1","device_id":"a\\u0000b"',
    ):
        await send(harness, item(device, null), GOOD)
    assert {device_id for device_id, _, _ in await ledger(harness)} == {"bus-1"}
    await send(harness, item('"external_id":1430', null))
    rows = (await harness.get("/workspaces/north/rejections"))["items"]
    assert {row["external_id"] for row in rows} == {"x-bus-1", "1430"}


async def test_an_unstorable_provider_id_costs_its_own_item(harness: Harness) -> None:
    bad = json.loads(item('"device_id":"bus-1"', reading("61"))) | {"provider_id": "li\0ve"}
    answer = await send(harness, json.dumps(bad), GOOD)
    assert [result["outcome"] for result in answer.json["results"]] == ["rejected", "accepted"]
    assert await ledger(harness) == {("bus-1", "invalid", None)}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('"external_id":"x-bus-1"', '"device_id":"bus-1"'),
        ('"device_id":"bus-1"', '"external_id":"x-bus-1"'),
    ],
)
async def test_the_last_item_of_a_device_decides_by_any_id(
    harness: Harness, first: str, second: str
) -> None:
    async def reason(*items: str) -> str:
        await send(harness, *items)
        harness.let_pass(400)
        await harness.run_cycle()
        report = await harness.get("/workspaces/north/health")
        return next(str(i["reason"]) for i in report["items"] if i["device_id"] == "bus-1")

    good, bad = item(second, reading("61")), item(first, reading("null"))
    assert await reason(bad, good) == "device_silent"
    harness.let_pass(400)
    assert await reason(GOOD, bad) == "updates_rejected"
