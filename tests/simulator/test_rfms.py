"""The rFMS fleet without a socket: time is passed in, answers are read back."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest

from simulator.config import RateLimit
from simulator.exchange import Request, VendorAnswer
from simulator.fleet import Mode, VehicleSpec
from simulator.reporting import Reporting
from simulator.rfms import RfmsFleet
from simulator.rfms_log import CHARGING_CHANGE, CONNECTION_CHANGE, TIMER, iso_utc
from tests.simulator.conftest import NOON, westgate

ACCEPT = "application/json; rfms=vehiclestatuses.v4.0"


def fleet(count: int = 3, *, seconds: float = 60.0, **more: Any) -> RfmsFleet:
    """A fleet that has been reporting for a minute, every vehicle every ten seconds."""
    one = RfmsFleet(westgate(count, **more), 7)
    run(one, seconds=seconds)
    return one


def run(one: RfmsFleet, *, seconds: float, start: float = 0.0) -> None:
    for number in range(round(seconds / 0.1)):
        elapsed = start + (number + 1) * 0.1
        one.log.tick(elapsed, NOON + elapsed)


def get(one: RfmsFleet, link: str, *, accept: str = ACCEPT, at: float = NOON + 60) -> VendorAnswer:
    parts = urlsplit(link)
    return one.answer(
        Request("GET", parts.path, dict(parse_qsl(parts.query)), {"accept": accept}), at
    )


def statuses(one: RfmsFleet, link: str) -> list[dict[str, Any]]:
    """Every page, by following the link."""
    found: list[dict[str, Any]] = []
    while link:
        answer = get(one, link)
        assert answer.status == 200
        body = orjson.loads(answer.body)
        assert body["moreDataAvailable"] == ("moreDataAvailableLink" in body)
        found += body["vehicleStatusResponse"]["vehicleStatuses"]
        link = body.get("moreDataAvailableLink", "")
    return found


def since(seconds: float, **more: str) -> str:
    extra = "".join(f"&{name}={value}" for name, value in more.items())
    return f"/rfms/vehiclestatuses?starttime={iso_utc(NOON + seconds)}{extra}"


LATEST = "/rfms/vehiclestatuses?latestOnly=true"


def test_a_status_has_the_standard_s_names_and_units() -> None:
    one = fleet(1)
    status = statuses(one, LATEST)[0]
    bus = one.log.roster.buses[0]
    at = one.log.latest[0].created
    assert status["vin"] == bus.spec.vehicle_id
    assert status["triggerType"] == {"type": "TIMER", "context": "RFMS"}
    assert status["createdDateTime"] == iso_utc(at)
    assert status["createdDateTime"] <= status["receivedDateTime"]
    assert status["hrTotalVehicleDistance"] == round(bus.odo_km(at) * 1000)
    snapshot = status["snapshotData"]
    assert snapshot["hybridBatteryPackRemainingCharge"] == bus.soc(at)
    assert snapshot["wheelBasedSpeed"] == bus.speed_kmh(at)
    assert (
        snapshot["gnssPosition"]["latitude"],
        snapshot["gnssPosition"]["longitude"],
    ) == bus.position(at)
    assert snapshot["estimatedDistanceToEmpty"]["batteryPack"] == round(bus.range_km(at) * 1000)


def test_charging_is_told_in_watts_and_only_while_it_lasts() -> None:
    one = RfmsFleet(westgate(1, interval=30.0), 7)
    run(one, seconds=5400)
    for entry in one.log.entries:
        snapshot = one.log.body(entry)["snapshotData"]
        is_charging = one.log.roster.buses[0].mode(entry.created) is Mode.CHARGING
        assert snapshot["batteryPackChargingStatus"] == (
            "CHARGING_DC" if is_charging else "NOT_CHARGING"
        )
        assert snapshot["batteryPackChargingConnectionStatus"] == (
            "CONNECTED" if is_charging else "DISCONNECTED"
        )
        assert ("batteryPackChargingPower" in snapshot) == is_charging
        assert snapshot.get("batteryPackChargingPower", 50_000) > 10_000


def test_a_change_of_charging_brings_records_of_its_own() -> None:
    one = RfmsFleet(westgate(1, interval=30.0), 7)
    run(one, seconds=5400)
    triggers = [entry.trigger for entry in one.log.entries]
    first = triggers.index(CONNECTION_CHANGE)
    assert triggers[first : first + 3] == [CONNECTION_CHANGE, CHARGING_CHANGE, TIMER]
    assert triggers.count(CHARGING_CHANGE) >= 2


def test_latest_only_is_one_record_a_vehicle_in_pages_by_vin() -> None:
    one = fleet(5, page_size=2)
    found = statuses(one, LATEST)
    vins = [status["vin"] for status in found]
    assert vins == sorted(one.log.roster.vehicles)
    assert all(status["createdDateTime"] >= iso_utc(NOON + 50) for status in found)


def test_following_links_gives_every_record_once() -> None:
    one = fleet(7, page_size=3, interval=0.5, seconds=5)
    found = statuses(one, since(0))
    received = [status["receivedDateTime"] for status in found]
    assert len(found) == len(one.log.entries) > 60
    assert len({(status["vin"], status["createdDateTime"]) for status in found}) == len(found)
    assert received == sorted(received)


def test_a_window_includes_its_start_and_excludes_its_end() -> None:
    one = fleet(3)
    found = statuses(one, since(20, stoptime=iso_utc(NOON + 40)))
    expected = [
        iso_utc(each.received) for each in one.log.entries if NOON + 20 <= each.received < NOON + 40
    ]
    assert [status["receivedDateTime"] for status in found] == expected
    assert len(expected) == 6


def test_one_vehicle_s_history() -> None:
    one = fleet(3)
    vin = next(iter(one.log.roster.vehicles))
    assert {status["vin"] for status in statuses(one, since(0, vin=vin))} == {vin}


def test_late_records_are_found_by_reception_and_by_creation() -> None:
    one = fleet(1, faults="late=1,late_seconds=30", interval=5.0, seconds=50)
    by_received = statuses(one, since(29))
    by_created = statuses(one, since(29, datetype="created"))
    assert len(by_received) >= 6
    assert all(status["receivedDateTime"] > status["createdDateTime"] for status in by_received)
    assert min(status["createdDateTime"] for status in by_received) < iso_utc(NOON + 5)
    assert all(status["createdDateTime"] >= iso_utc(NOON + 29) for status in by_created)


def test_pages_by_creation_are_in_that_order_and_complete() -> None:
    one = fleet(4, page_size=2, faults="out_of_order=0.3")
    found = statuses(one, since(0, datetype="created"))
    created = [status["createdDateTime"] for status in found]
    assert created == sorted(created)
    assert len(found) == len(one.log.entries)
    assert one.log.generated["out_of_order"] > 0


def test_filters_choose_records() -> None:
    one = fleet(3)
    assert statuses(one, since(0, triggerFilter="IGNITION_ON")) == []
    assert len(statuses(one, since(0, triggerFilter="TIMER"))) == len(one.log.entries)
    assert statuses(one, since(0, contentFilter="UPTIME")) == []
    assert len(statuses(one, since(0, contentFilter="SNAPSHOT,UPTIME"))) == len(one.log.entries)


def test_the_next_poll_can_start_at_the_server_s_time() -> None:
    one = fleet(3)
    body = orjson.loads(get(one, since(0), at=NOON + 60.4).body)
    assert body["requestServerDateTime"] == iso_utc(NOON + 60.4)
    run(one, seconds=10, start=60)
    after = statuses(one, f"/rfms/vehiclestatuses?starttime={body['requestServerDateTime']}")
    assert len({status["vin"] for status in after}) == 3


def test_before_the_storage_horizon_there_is_only_what_is_kept() -> None:
    one = fleet(3, retention_seconds=19.0)
    found = statuses(one, since(-1000))
    assert len(found) == 6
    assert all(status["receivedDateTime"] >= iso_utc(NOON + 41) for status in found)


def test_the_log_is_bounded_by_count() -> None:
    one = fleet(10, interval=0.5, max_statuses=100)
    assert 100 <= len(one.log.entries) < 130
    assert one.log.generated["status"] > 1000


def test_a_stopped_signal_is_left_out_and_the_rest_goes_on() -> None:
    one = RfmsFleet(westgate(1, interval=5.0), 7)
    vin = one.log.roster.buses[0].spec.vehicle_id
    one.log.roster.change_reporting(vin, Reporting(stopped_labels=(("soc", 20.0),)), 0.0)
    run(one, seconds=60)
    has_soc = [
        "hybridBatteryPackRemainingCharge" in each["snapshotData"]
        for each in statuses(one, since(0))
    ]
    assert has_soc == [True] * 4 + [False] * 9


def test_duplicates_are_two_records_and_future_ones_never_last() -> None:
    twice = fleet(1, faults="duplicates=1")
    created = [entry.created for entry in twice.log.entries]
    assert created[0::2] == created[1::2]
    ahead = fleet(1, faults="future=1")
    assert ahead.log.latest == {}
    assert all(entry.created >= NOON + 3600 for entry in ahead.log.entries)


def test_vehicles_are_listed_in_pages() -> None:
    one = fleet(3, page_size=2)
    media_type = "application/json; rfms=vehicles.v4.0"
    first = orjson.loads(get(one, "/rfms/vehicles", accept=media_type).body)
    second = orjson.loads(get(one, first["moreDataAvailableLink"], accept=media_type).body)
    pages = [body["vehicleResponse"]["vehicles"] for body in (first, second)]
    assert [len(page) for page in pages] == [2, 1]
    assert not second["moreDataAvailable"]
    assert pages[0][0]["customerVehicleName"] in {"2001", "2002", "2003"}
    assert pages[0][0]["type"] == "BUS"


@pytest.mark.parametrize(
    ("link", "accept", "status", "error"),
    [
        ("/rfms/vehiclestatuses", ACCEPT, 400, "InvalidParameter"),
        (f"{LATEST}&vin=YS4UNKNOWN0000000", ACCEPT, 404, "UnknownVin"),
        ("/rfms/vehiclepositions?latestOnly=true", ACCEPT, 404, "UnknownResource"),
        (LATEST, "application/json", 406, "UnsupportedAcceptParameter"),
        (LATEST, "*/*", 406, "UnsupportedAcceptParameter"),
        (LATEST, "application/json; rfms=vehicles.v4.0", 406, "UnsupportedAcceptParameter"),
    ],
)
def test_refusals_use_the_standard_s_error_body(
    link: str, accept: str, status: int, error: str
) -> None:
    answer = get(fleet(1), link, accept=accept)
    body = orjson.loads(answer.body)
    assert answer.status == status
    assert body["error"] == error
    assert set(body) == {"error", "error_description", "error_uri"}


def test_the_rate_limit_counts_down_refuses_and_resets() -> None:
    one = fleet(1, rate_limit=RateLimit(calls=2, window_seconds=30))
    answers = [get(one, LATEST, at=NOON + at) for at in (60, 61, 62, 90)]
    assert [answer.status for answer in answers] == [200, 200, 429, 200]
    assert [answer.headers["X-Rate-Limit-Remaining"] for answer in answers] == ["1", "0", "0", "1"]
    assert answers[2].headers["X-Rate-Limit-Reset"] == str(int(NOON + 90))
    assert orjson.loads(answers[2].body)["error"] == "RateExceeded"
    assert "Retry-After" not in answers[2].headers


def test_a_record_counts_as_sent_when_its_answer_was_sent() -> None:
    one = fleet(2)
    answer = get(one, LATEST)
    assert one.sent == {}
    assert answer.when_sent is not None
    answer.when_sent()
    assert one.sent == dict.fromkeys(one.log.roster.vehicles, 1)
    newest = one.log.latest[0]
    assert one.last_sent[one.log.vin(newest)]["hybridBatteryPackRemainingCharge"] == newest.created


def test_a_vehicle_of_its_own_interval_keeps_it() -> None:
    tenant = westgate(1)
    slow = VehicleSpec(tenant.vehicles[0].vehicle_id, "x", report_interval_seconds=20.0)
    one = RfmsFleet(
        type(tenant)(name="w", vendor=tenant.vendor, credential="t", vehicles=(slow,)), 7
    )
    run(one, seconds=100)
    assert [entry.created - NOON for entry in one.log.entries] == [0, 20, 40, 60, 80, 100]
