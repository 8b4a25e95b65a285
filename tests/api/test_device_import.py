"""The import stores all devices or none, names each error's place, and treats CSV like JSON."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from api.csv_answers import MAX_DEVICES
from api.device_import import MAX_IMPORT_BYTES
from tests.api.harness import later

if TYPE_CHECKING:
    from datetime import datetime

    from tests.api.harness import Answer, Harness

PATH = "/workspaces/north/devices/import"
BODY = {"provider_id": "live", "external_id": "vid", "vehicle_id": "v", "vehicle_name": "Bus"}
JSON = {"Content-Type": "application/json"}
HEADER = "device_id,provider_id,external_id,vehicle_id,vehicle_name"


def _item(index: int, **rest: Any) -> dict[str, Any]:
    number = f"{index:05}"
    return {
        "device_id": f"d-{number}",
        "provider_id": "live",
        "external_id": f"vid-{number}",
        "vehicle_id": f"v-{number}",
        "vehicle_name": f"Bus {number}",
        **rest,
    }


async def _import_csv(harness: Harness, text: str | bytes) -> Answer:
    raw = text.encode() if isinstance(text, str) else text
    return await harness.ask(
        "POST", PATH, data=raw, headers={"Content-Type": "text/csv; charset=utf-8"}
    )


async def _count(harness: Harness) -> int:
    return sum(
        len(page["items"]) for page in await harness.walk("/workspaces/north/devices?limit=500")
    )


async def test_ten_thousand_devices_go_in_one_request(harness: Harness) -> None:
    items = [_item(index) for index in range(MAX_DEVICES)]
    answer = await harness.ask("POST", PATH, json={"devices": items})
    assert (answer.status, answer.json) == (
        200,
        {"devices": MAX_DEVICES, "created": MAX_DEVICES, "updated": 0, "swapped": 0},
    )
    assert await _count(harness) == MAX_DEVICES + 3
    one_more = await harness.ask("POST", PATH, json={"devices": [*items, _item(MAX_DEVICES)]})
    assert (one_more.status, one_more.pointers) == (422, ["/devices"])


async def test_known_devices_are_changed_and_new_ones_made(harness: Harness) -> None:
    vehicle = {"vehicle_id": "vehicle-bus-1", "vehicle_name": "Renamed"}
    known = _item(1, device_id="bus-1", external_id="x-bus-1", **vehicle)
    answer = await harness.ask("POST", PATH, json={"devices": [known, _item(2)]})
    assert answer.json == {"devices": 2, "created": 1, "updated": 1, "swapped": 0}
    assert (await harness.get("/workspaces/north/devices/bus-1"))["vehicle_name"] == "Renamed"
    assert harness.nudged.times == 1


async def test_a_device_that_changed_since_stops_the_import(harness: Harness) -> None:
    listed = (await harness.get("/workspaces/north/devices"))["items"]
    seen = {item["device_id"]: item["revision"] for item in listed}
    await harness.ask("PATCH", "/workspaces/north/devices/bus-2", json={"vehicle_name": "Moved"})
    before = await harness.get("/workspaces/north/devices")
    devices = [
        {**_bus(number, f"x-bus-{number}"), "vehicle_name": "New", "revision": revision}
        for number, revision in ((1, seen["bus-1"]), (2, seen["bus-2"]), (3, 0), (4, 0), (5, 7))
    ]
    refused = await harness.ask("POST", PATH, json={"devices": devices})
    assert (refused.status, refused.problem) == (412, "precondition-failed")
    assert {part["pointer"]: part["detail"] for part in refused.json["errors"]} == {
        "/devices/1/revision": "Device bus-2 has revision 2 now.",
        "/devices/2/revision": "Device bus-3 has revision 1 now.",
        "/devices/4/revision": "Device bus-5 does not exist.",
    }
    assert await harness.get("/workspaces/north/devices") == before
    kept = [devices[0], {**devices[1], "revision": 2.0}, devices[3]]  # one number type
    stored = await harness.ask("POST", PATH, json={"devices": kept})
    assert stored.json == {"devices": 3, "created": 1, "updated": 2, "swapped": 0}


async def test_the_list_has_the_number_of_each_etag(harness: Harness) -> None:
    await harness.ask("PATCH", "/workspaces/north/devices/bus-2", json={"vehicle_name": "Moved"})
    for item in (await harness.get("/workspaces/north/devices"))["items"]:
        shown = await harness.ask("GET", f"/workspaces/north/devices/{item['device_id']}")
        assert shown.headers["etag"] == f'"{item["revision"]}"'


async def test_a_row_with_another_unit_or_vehicle_is_a_swap(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50.0)
    rows = "bus-1,live,x-new,vehicle-bus-1,Bus 1\nbus-2,live,x-bus-2,vehicle-9,Bus 9\n"
    answer = await _import_csv(harness, f"{HEADER}\n{rows}")
    assert answer.json == {"devices": 2, "created": 0, "updated": 2, "swapped": 2}
    device = await harness.get("/workspaces/north/devices/bus-1")
    assert (device["external_id"], device["assignment"]) == ("x-new", 2)
    assert (await harness.get("/workspaces/north/snapshots/bus-1"))["values"] == {}
    again = await _import_csv(harness, f"{HEADER}\n{rows}")
    assert again.json == {"devices": 2, "created": 0, "updated": 2, "swapped": 0}


def _bus(number: int, unit: str) -> dict[str, Any]:
    return {
        "device_id": f"bus-{number}",
        "provider_id": "live",
        "external_id": unit,
        "vehicle_id": f"vehicle-bus-{number}",
        "vehicle_name": f"Bus bus-{number}",
    }


@pytest.mark.parametrize(
    "units",
    [("x-bus-2", "x-bus-1"), ("x-bus-2", "x-bus-3", "x-bus-1"), ("x-bus-2", "x-bus-3", "x-new")],
    ids=["exchange", "ring", "chain"],
)
async def test_units_change_places_in_one_import(harness: Harness, units: tuple[str, ...]) -> None:
    await harness.report("bus-1", soc_percent=50.0)
    await harness.report("bus-2", soc_percent=60.0)
    harness.let_pass(60)
    devices = [_bus(number, unit) for number, unit in enumerate(units, 1)]
    answer = await harness.ask("POST", PATH, json={"devices": devices})
    assert (answer.status, answer.json["swapped"]) == (200, len(units))
    for number, unit in enumerate(units, 1):
        device = await harness.get(f"/workspaces/north/devices/bus-{number}")
        assert (device["external_id"], device["assignment"]) == (unit, 2)
    again = await harness.ask("POST", PATH, json={"devices": devices})
    assert (again.status, again.json["swapped"]) == (200, 0)
    assert (await harness.get("/workspaces/north/snapshots/bus-1"))["values"] == {}
    harness.let_pass(10)
    assert await _deliver(harness, "x-bus-2", 61) == "accepted"
    snapshot = await harness.get("/workspaces/north/snapshots/bus-1")
    assert snapshot["values"]["soc_percent"]["value"] == 61
    late = harness.clock.now() - timedelta(seconds=40)
    assert await _deliver(harness, "x-bus-2", 62, late) == "rejected"
    assert (await harness.get("/workspaces/north/rejections"))["items"][0]["reason"] == (
        "outside_assignment"
    )


async def _deliver(harness: Harness, unit: str, percent: int, at: datetime | None = None) -> str:
    reading = {
        "signal": "soc_percent",
        "value": percent,
        "observed_at": (at or harness.clock.now()).isoformat(),
    }
    update = {"workspace_id": "north", "provider_id": "live", "external_id": unit}
    answer = await harness.ask(
        "POST", "/ingest", json={"updates": [{**update, "readings": [reading]}]}
    )
    outcome: str = answer.json["results"][0]["outcome"]
    return outcome


async def test_a_unit_of_a_device_outside_the_import_stays_taken(harness: Harness) -> None:
    devices = [_bus(1, "x-bus-3"), _bus(2, "x-bus-1")]
    answer = await harness.ask("POST", PATH, json={"devices": devices})
    assert (answer.status, answer.pointers) == (409, ["/devices/0/external_id"])
    device = await harness.get("/workspaces/north/devices/bus-2")
    assert (device["external_id"], device["assignment"]) == ("x-bus-2", 1)


async def test_one_bad_item_stores_none_and_each_error_has_its_place(harness: Harness) -> None:
    items = [_item(1), _item(2, vehicle_name=""), _item(3), _item(4, external_id=5)]
    answer = await harness.ask("POST", PATH, json={"devices": items})
    assert (answer.status, answer.pointers) == (
        422,
        ["/devices/1/vehicle_name", "/devices/3/external_id"],
    )
    assert await _count(harness) == 3


async def test_what_contradicts_the_registry_stores_none(harness: Harness) -> None:
    items = [_item(1), _item(2, external_id="x-bus-3"), _item(3, external_id="vid-00001")]
    taken = await harness.ask("POST", PATH, json={"devices": items})
    assert (taken.status, taken.pointers) == (
        409,
        ["/devices/1/external_id", "/devices/2/external_id"],
    )
    missing = await harness.ask(
        "POST", PATH, json={"devices": [_item(1), _item(2, provider_id="nobody")]}
    )
    assert (missing.status, missing.pointers) == (422, ["/devices/1/provider_id"])
    assert await _count(harness) == 3


async def test_a_device_that_stands_twice_is_refused(harness: Harness) -> None:
    items = [_item(1), _item(2), _item(3, device_id="d-00001")]
    answer = await harness.ask("POST", PATH, json={"devices": items})
    assert (answer.status, answer.pointers) == (422, ["/devices/2/device_id"])


async def test_no_device_is_called_import(harness: Harness) -> None:
    refused = await harness.ask(
        "POST", PATH, json={"devices": [_item(1), _item(2, device_id="import")]}
    )
    assert (refused.status, refused.pointers) == (422, ["/devices/1/device_id"])
    assert "choose another" in refused.json["errors"][0]["detail"]
    for method in ("GET", "PUT", "DELETE"):
        answer = await harness.ask(method, PATH, json=_item(1))
        assert (answer.status, answer.problem) == (405, "method-not-allowed")
        assert set(answer.headers["allow"].split(", ")) == {"OPTIONS", "POST"}
    assert (await harness.ask("PUT", f"{PATH}ed", json=BODY)).status == 201


async def test_a_csv_with_a_header_is_imported(harness: Harness) -> None:
    text = (
        "\ufeffvehicle_name, device_id,provider_id,external_id,vehicle_id,grace_seconds,"
        "activated_at\r\n"
        '"Bus 7, north",d-7,live,vid-7,v-7,90,2026-05-01T13:00:00+02:00\r\n'
        "\r\n"
        "Bus 8,d-8,live,vid-8,v-8,,\r\n"
    )
    answer = await _import_csv(harness, text)
    assert (answer.status, answer.json) == (
        200,
        {"devices": 2, "created": 2, "updated": 0, "swapped": 0},
    )
    seven, eight = [await harness.get(f"/workspaces/north/devices/d-{number}") for number in (7, 8)]
    assert (seven["vehicle_name"], seven["overrides"]["grace_seconds"]) == ("Bus 7, north", 90.0)
    assert (seven["activated_at"], eight["overrides"]["grace_seconds"]) == (
        "2026-05-01T11:00:00Z",
        None,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lacks device_id, provider_id"),
        ("device_id,provider_id,external_id,vehicle_id\r\n", "lacks vehicle_name"),
        (f"{HEADER},colour\r\n", "Row 1, column 6 is not known: delete it"),
        (f"{HEADER},device_id\r\n", "Row 1, column 6: device_id is column 1 too: delete one"),
        (f'{HEADER}\r\n"open', "Not CSV at line 2"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
    ],
)
async def test_what_is_no_csv_of_devices_is_refused(
    harness: Harness, text: str | bytes, words: str
) -> None:
    answer = await _import_csv(harness, text)
    assert (answer.status, answer.problem) == (422, "invalid-body")
    assert words in answer.json["detail"]
    assert answer.json["errors"] == [{"pointer": "", "detail": answer.json["detail"]}]


async def test_errors_in_a_csv_are_pointed_at_by_row(harness: Harness) -> None:
    bad_cells = (
        f"{HEADER},grace_seconds\r\nd-1,live,vid-1,v-1,Bus 1,\r\nd 2,live,,v-2,Bus 2,soon\r\n"
    )
    answer = await _import_csv(harness, bad_cells)
    assert answer.status == 422
    assert set(answer.pointers) == {
        "/devices/1/device_id",
        "/devices/1/external_id",
        "/devices/1/overrides/grace_seconds",
    }
    short_row = f"{HEADER}\r\nd-1,live,vid-1,v-1\r\n"
    assert (await _import_csv(harness, short_row)).pointers == ["/devices/0"]
    assert await _count(harness) == 3


async def test_a_pointer_into_a_csv_counts_its_blank_lines(harness: Harness) -> None:
    rows = [
        "d-1,live,vid-1,v-1,Bus 1",
        "",
        " , ,,,",
        "d 2,live,vid-2,v-2,Bus 2",
        "",
        "d-3,live,vid-3,v-3",
    ]
    assert (await _import_csv(harness, "\r\n".join([HEADER, *rows]))).pointers == ["/devices/5"]
    assert (await _import_csv(harness, "\r\n".join([HEADER, *rows[:5]]))).pointers == [
        "/devices/3/device_id"
    ]
    taken = "d-2,live,x-bus-3,v-2,Bus 2"
    assert (await _import_csv(harness, "\r\n".join([HEADER, *rows[:3], taken]))).pointers == [
        "/devices/3/external_id"
    ]
    twice = await _import_csv(harness, "\r\n".join([HEADER, *rows[:3], rows[0]]))
    assert (twice.pointers, twice.json["errors"][0]["detail"]) == (
        ["/devices/3/device_id"],
        "Row 5, column device_id: It is at row 2 too: delete one of them.",
    )


async def test_a_device_of_the_future_is_refused_in_both_forms(harness: Harness) -> None:
    ahead = later(3600).isoformat()
    as_json = await harness.ask(
        "POST", PATH, json={"devices": [_item(1), _item(2, activated_at=ahead)]}
    )
    assert (as_json.status, as_json.pointers) == (422, ["/devices/1/activated_at"])
    text = f"{HEADER},activated_at\r\n\r\nd-1,live,vid-1,v-1,Bus 1,{ahead}\r\n"
    assert (await _import_csv(harness, text)).pointers == ["/devices/1/activated_at"]
    assert await _count(harness) == 3


async def test_another_media_type_is_told_both_that_are_taken(harness: Harness) -> None:
    answer = await harness.ask(
        "POST", PATH, data=b"<devices/>", headers={"Content-Type": "text/xml"}
    )
    assert (answer.status, answer.headers["accept"]) == (415, "application/json, text/csv")


async def test_an_import_has_a_bound_larger_than_other_bodies(
    harness: Harness,
) -> None:
    answer = await _import_csv(harness, HEADER + "x" * (MAX_IMPORT_BYTES - len(HEADER) + 1))
    assert (answer.status, answer.problem) == (413, "body-too-large")
    elsewhere = await harness.ask(
        "PUT", "/workspaces/north", data=b" " * (1024 * 1024 + 1), headers=JSON
    )
    assert elsewhere.status == 413
