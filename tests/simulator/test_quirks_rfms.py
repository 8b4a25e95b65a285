"""Vehicles and makers of rFMS with a quirk: what their pages say."""

from __future__ import annotations

import gzip
from typing import Any

import orjson
import pytest

from simulator.answer_forms import Form, choose_form, dress
from simulator.distortions import ALL_ONES, IMPOSSIBLE_LONGITUDE
from simulator.exchange import Request, VendorAnswer, json_answer
from simulator.rfms_log import iso_utc
from tests.simulator.conftest import NOON
from tests.simulator.test_rfms import LATEST, fleet, get, since, statuses

VEHICLES = "/rfms/vehicles"
VEHICLES_ACCEPT = "application/json; rfms=vehicles.v4.0"


def one_status(flags: str, *, seconds: float = 60.0) -> dict[str, Any]:
    """The newest status of a vehicle that has this quirk."""
    return statuses(fleet(1, seconds=seconds, faults=flags), LATEST)[0]


def test_a_malformed_record_has_a_time_without_zone() -> None:
    status = one_status("malformed_records=1")
    assert not status["createdDateTime"].endswith("Z")
    assert status["receivedDateTime"].endswith("Z")


def test_a_position_may_have_no_time() -> None:
    position = one_status("position_without_time=1")["snapshotData"]["gnssPosition"]
    assert "positionDateTime" not in position
    assert "latitude" in position


def test_half_positions_and_fill_values_leave_the_rest() -> None:
    half, fill = one_status("half_position=1"), one_status("fill_values=1")
    assert half["snapshotData"]["gnssPosition"]["longitude"] == IMPOSSIBLE_LONGITUDE
    assert fill["snapshotData"]["gnssPosition"]["latitude"] == 0.0
    assert fill["hrTotalVehicleDistance"] == ALL_ONES
    assert 0 < fill["snapshotData"]["hybridBatteryPackRemainingCharge"] <= 100


def test_loose_types_are_texts() -> None:
    status = one_status("loose_types=1")
    assert isinstance(status["snapshotData"]["gnssPosition"]["heading"], str)
    assert float(status["snapshotData"]["hybridBatteryPackRemainingCharge"]) > 0


def test_two_records_of_one_second_contradict_each_other() -> None:
    found = statuses(fleet(1, faults="same_second=1"), since(0))
    first, second = found[0], found[1]
    assert first["createdDateTime"] == second["createdDateTime"]
    assert first["createdDateTime"].endswith(":" + first["createdDateTime"][-3:-1] + "Z")
    assert [each["snapshotData"]["batteryPackChargingStatus"] for each in (first, second)] == [
        "NOT_CHARGING",
        "CHARGING_DC",
    ]


def test_bad_bytes_of_one_record_spoil_the_page() -> None:
    one = fleet(1, seconds=120, faults="bad_bytes=1")
    body = get(one, since(0), at=NOON + 120).body
    assert all(raw in body for raw in (b":NaN", b":1e400", b'"\\ud83d"', b'"M\xfcnchen"'))
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(body)


def test_a_vin_comes_in_the_other_case() -> None:
    one = fleet(1, faults="other_case=1")
    vin = one.log.roster.buses[0].spec.vehicle_id
    assert statuses(one, LATEST)[0]["vin"] == vin.lower() != vin


def test_an_old_first_record_is_the_only_one() -> None:
    found = statuses(fleet(1, faults="first_record_old=1,first_record_age=7776000"), since(0))
    assert len(found) == 1
    assert found[0]["createdDateTime"] < iso_utc(NOON - 89 * 86_400)


def test_a_vehicle_that_left_the_account_is_in_no_answer() -> None:
    one = fleet(2, faults="left_out=0.5,quirks_after=30")
    left = [
        vin for vin, number in one.log.roster.vehicles.items() if one.log.roster.quirk_of(number)
    ]
    listed = orjson.loads(get(one, VEHICLES, accept=VEHICLES_ACCEPT).body)
    assert len(left) == 1
    assert [each["vin"] for each in listed["vehicleResponse"]["vehicles"]] != left
    assert {each["vin"] for each in statuses(one, since(0))}.isdisjoint(left)


@pytest.mark.parametrize("order", ["created_order", "unsorted_pages"])
def test_pages_out_of_order_have_no_link(order: str) -> None:
    one = fleet(3, page_size=5, faults=f"{order}=1,late=0.3,late_seconds=25")
    body = orjson.loads(get(one, since(0)).body)
    received = [
        each["receivedDateTime"] for each in body["vehicleStatusResponse"]["vehicleStatuses"]
    ]
    assert body["moreDataAvailable"] is True
    assert "moreDataAvailableLink" not in body
    assert received != sorted(received)


def test_a_maker_that_holds_back_answers_as_if_it_were_earlier() -> None:
    one = fleet(1, faults="held_back_seconds=30")
    at = NOON + 65
    body = orjson.loads(get(one, since(0), at=at).body)
    received = [
        each["receivedDateTime"] for each in body["vehicleStatusResponse"]["vehicleStatuses"]
    ]
    latest = orjson.loads(get(one, LATEST, at=at).body)["vehicleStatusResponse"]["vehicleStatuses"]
    assert body["requestServerDateTime"] == iso_utc(at - 30)
    assert max(received) <= iso_utc(at - 30)
    assert latest[0]["receivedDateTime"] == max(received)


def test_statuses_may_come_without_their_wrapper() -> None:
    body = orjson.loads(get(fleet(1, faults="unwrapped=1"), LATEST).body)
    assert len(body["vehicleStatuses"]) == 1
    assert body["moreDataAvailable"] is False


def test_statuses_with_a_quirk_are_counted_when_sent() -> None:
    one = fleet(1, faults="fill_values=1")
    answer = get(one, LATEST)
    assert answer.when_sent is not None
    answer.when_sent()
    assert one.sent_with_quirk == {"fill_values": 1}


# Rare forms of an answer


NOTHING = {
    "vehicleStatusResponse": {"vehicleStatuses": []},
    "moreDataAvailable": False,
    "requestServerDateTime": "2026-11-28T10:06:00Z",
}
ASKED = Request("GET", "/rfms/vehiclestatuses", {}, {"accept-encoding": "gzip"})


def dressed(content: Any, form: Form) -> VendorAnswer:
    return dress(json_answer(200, content), form)


def test_nothing_new_has_forms_of_its_own() -> None:
    bodies = {form: dressed(NOTHING, form) for form in (Form.NULL_LIST, Form.NO_LIST)}
    assert orjson.loads(bodies[Form.NULL_LIST].body)["vehicleStatusResponse"] == {
        "vehicleStatuses": None
    }
    assert orjson.loads(bodies[Form.NO_LIST].body)["vehicleStatusResponse"] == {}
    assert (dressed(NOTHING, Form.NO_CONTENT).status, dressed(NOTHING, Form.NO_CONTENT).body) == (
        204,
        b"",
    )


def test_every_form_comes_in_turn() -> None:
    empty, full = json_answer(200, NOTHING), json_answer(200, {"vin": "X"})
    assert {choose_form(empty, ASKED, turn) for turn in range(24)} == set(Form)
    assert {choose_form(full, ASKED, turn) for turn in range(24)} == {
        Form.BYTE_ORDER_MARK,
        Form.GZIP_MEMBERS,
        Form.CODING_CHARSET,
        Form.CODING_BLANK,
    }


def test_no_form_changes_what_an_answer_says() -> None:
    plain = json_answer(200, {"vin": "X"}).body
    members = dressed({"vin": "X"}, Form.GZIP_MEMBERS)
    assert gzip.decompress(members.body) == plain
    assert members.headers["Content-Encoding"] == "gzip"
    assert dressed({"vin": "X"}, Form.BYTE_ORDER_MARK).body == b"\xef\xbb\xbf" + plain
    assert dressed({"vin": "X"}, Form.CODING_CHARSET).headers["Content-Encoding"] == "UTF-8"
    assert dressed({"vin": "X"}, Form.CODING_BLANK).headers["Content-Encoding"] == ""
