"""The health report (FR-005) over HTTP: acceptance behaviours 5 to 8 of the specification."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import trio

from domain.model import ConnectionFact, ConnectionFactKind, FaultClass, Submission
from tests.api.harness import BUSES, Harness, draft, instant
from tests.api.standing_time import START

MINUTE = 60.0


async def _health_of(harness: Harness, device_id: str, workspace: str = "north") -> dict[str, Any]:
    report = await harness.get(f"/workspaces/{workspace}/health")
    (item,) = [item for item in report["items"] if item["device_id"] == device_id]
    return dict(item)


@pytest.mark.parametrize(
    ("age_seconds", "state"),
    [
        (3 * MINUTE, "healthy"),
        (360, "healthy"),
        (361, "delayed"),
        (9 * MINUTE, "delayed"),
        (900, "delayed"),
        (901, "stale"),
        (22 * MINUTE, "stale"),
    ],
)
async def test_acceptance_6_a_device_with_history_by_its_age(
    harness: Harness, age_seconds: float, state: str
) -> None:
    await harness.report("bus-1", soc_percent=80.0)
    harness.let_pass(age_seconds)
    await harness.run_cycle()
    item = await _health_of(harness, "bus-1")
    assert (item["state"], item["freshness_age_seconds"]) == (state, age_seconds)
    assert item["reason"] == ("reporting" if state == "healthy" else "device_silent")
    assert instant(item["last_update_received_at"]) == START


@pytest.mark.parametrize(
    ("configured_for_seconds", "state", "reason"),
    [
        (10 * MINUTE, "awaiting-first-data", "awaiting_first_data"),
        (3600, "awaiting-first-data", "awaiting_first_data"),
        (3601, "configured-no-data", "never_reported"),
        (65 * MINUTE, "configured-no-data", "never_reported"),
    ],
)
async def test_acceptance_6_and_8_a_device_without_history_by_grace(
    harness: Harness, configured_for_seconds: float, state: str, reason: str
) -> None:
    harness.let_pass(configured_for_seconds)
    await harness.run_cycle()
    item = await _health_of(harness, "bus-1")
    assert (item["state"], item["reason"], item["freshness_age_seconds"]) == (state, reason, None)
    assert item["last_update_received_at"] is None


async def test_acceptance_5_every_reader_sees_equal_values_and_times(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=61.5)
    one = await harness.get("/workspaces/north/snapshots/bus-1")
    listed = (await harness.get("/workspaces/north/snapshots"))["items"][0]
    health = await _health_of(harness, "bus-1")
    assert one == listed
    assert one["values"]["soc_percent"]["value"] == 61.5
    assert one["last_update_received_at"] == health["last_update_received_at"]


async def test_fr_005_every_device_is_reported_once_and_counted_by_state(harness: Harness) -> None:
    await harness.report("bus-2", soc_percent=80.0)
    report = await harness.get("/workspaces/north/health")
    assert [item["device_id"] for item in report["items"]] == list(BUSES)
    assert report["counts"] == {
        "healthy": 1,
        "delayed": 0,
        "stale": 0,
        "configured-no-data": 0,
        "awaiting-first-data": 2,
    }
    assert {"vehicle_id", "vehicle_name", "thresholds", "evidence", "old_signals"} <= set(
        report["items"][0]
    )


async def test_a_filter_by_state_narrows_the_items_and_not_the_counts(harness: Harness) -> None:
    await harness.report("bus-2", soc_percent=80.0)
    report = await harness.get("/workspaces/north/health?state=healthy&state=stale")
    assert [item["device_id"] for item in report["items"]] == ["bus-2"]
    assert sum(report["counts"].values()) == 3


async def test_pages_are_judged_at_the_instant_of_the_first(harness: Harness) -> None:
    await harness.report("bus-3", soc_percent=80.0)
    harness.let_pass(350)
    first = await harness.get("/workspaces/north/health?limit=2")
    harness.let_pass(60)
    second = await harness.get(f"/workspaces/north/health?limit=2&cursor={first['next_cursor']}")
    assert [item["device_id"] for item in first["items"] + second["items"]] == list(BUSES)
    assert second["evaluated_at"] == first["evaluated_at"]
    assert (second["items"][0]["state"], second["items"][0]["freshness_age_seconds"]) == (
        "healthy",
        350.0,
    )
    assert second["next_cursor"] is None


async def test_another_list_and_other_filters_refuse_a_cursor(harness: Harness) -> None:
    cursor = (await harness.get("/workspaces/north/health?limit=2"))["next_cursor"]
    for path in ("/workspaces/south/health", "/workspaces/north/health?state=stale", "/worklist"):
        answer = await harness.ask("GET", f"{path}{'&' if '?' in path else '?'}cursor={cursor}")
        assert (answer.status, answer.problem, answer.pointers) == (
            400,
            "invalid-parameter",
            ["cursor"],
        )


async def test_a_record_an_hour_does_not_turn_the_fleet_stale(
    harness: Harness,
) -> None:
    await harness.stores.registry.put_devices(
        "north", [draft("truck", provider_id="hourly", external_id="x-truck")]
    )
    update = {
        "workspace_id": "north",
        "provider_id": "hourly",
        "device_id": "truck",
        "readings": [{"signal": "soc_percent", "value": 70, "observed_at": START.isoformat()}],
    }
    await harness.ask("POST", "/ingest", json={"updates": [update]})
    harness.let_pass(65 * MINUTE)
    item = await _health_of(harness, "truck")
    assert (item["state"], item["reason"]) == ("healthy", "reporting")
    assert item["thresholds"] == {
        "freshness_target_seconds": 300.0,
        "delayed_after_seconds": 4680.0,
        "stale_after_seconds": 11700.0,
        "grace_seconds": 11700.0,
        "expected_update_seconds": 3600.0,
        "source": "expected_update_seconds",
        "period_seconds": 3900.0,
    }


async def test_a_device_that_sends_is_healthy_and_its_old_soc_is_named(
    harness: Harness,
) -> None:
    await harness.report("bus-1", soc_percent=12.0, observed_at=START - timedelta(hours=7))
    await harness.report("bus-1", latitude_deg=52.1, longitude_deg=5.1)
    item = await _health_of(harness, "bus-1")
    assert (item["state"], item["reason"], item["old_signals"]) == (
        "healthy",
        "signal_silent",
        ["soc_percent"],
    )
    values = (await harness.get("/workspaces/north/snapshots/bus-1"))["values"]
    assert {name: value["mark"] for name, value in values.items()} == {
        "soc_percent": "old",
        "latitude_deg": "current",
        "longitude_deg": "current",
    }
    assert values["soc_percent"] == {
        "value": 12.0,
        "unit": "%",
        "observed_at": "2026-05-01T05:00:00Z",
        "received_at": "2026-05-01T12:00:00Z",
        "reception_at": None,
        "changed_at": "2026-05-01T05:00:00Z",
        "age_seconds": 25200.0,
        "mark": "old",
    }


async def test_a_first_record_of_ninety_days_ago_is_a_delay(harness: Harness) -> None:
    """The device is fresh by arrival. By the vehicle's own time it has been away since."""
    long_ago = START - timedelta(days=90)
    await harness.report("bus-1", odometer_km=1000.0, observed_at=long_ago)
    harness.let_pass(MINUTE)
    item = await _health_of(harness, "bus-1")
    assert (item["state"], item["reason"], item["party"]) == (
        "healthy",
        "provider_delay",
        "unknown",
    )
    assert item["away_for_seconds"] == 90 * 86_400 + MINUTE
    assert item["freshness_age_seconds"] == MINUTE
    assert instant(item["evidence"]["last_update_received_at"]) == START
    assert instant(item["evidence"]["last_observed_at"]) == long_ago


async def test_without_an_answer_of_the_provider_nobody_is_blamed(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=80.0)
    harness.let_pass(20 * MINUTE)
    await harness.run_cycle(is_answered=False)
    silent = await _health_of(harness, "bus-1")
    assert (silent["reason"], silent["party"]) == ("no_answer_yet", "unknown")
    await harness.run_cycle()
    silent = await _health_of(harness, "bus-1")
    assert (silent["reason"], silent["party"]) == ("device_silent", "device")
    assert silent["last_confirmed_at"] == silent["evidence"]["provider_answered_at"]


async def test_a_recent_answer_outlives_a_call_that_fails(harness: Harness) -> None:
    """The outage stands in the evidence until the answer is due."""
    await harness.report("bus-1", soc_percent=80.0)
    harness.let_pass(20 * MINUTE)
    await harness.run_cycle()
    await _fail_calls(harness, FaultClass.OUTAGE)
    silent = await _health_of(harness, "bus-1")
    assert (silent["reason"], silent["party"]) == ("device_silent", "device")
    (cause,) = silent["evidence"]["causes"]
    assert (cause["reason"], cause["party"]) == ("provider_outage", "provider")
    for _ in range(2):
        harness.let_pass(331)
        await _fail_calls(harness, FaultClass.OUTAGE)
    silent = await _health_of(harness, "bus-1")
    assert (silent["reason"], silent["party"]) == ("provider_outage", "provider")


async def test_an_outage_of_a_workspace_is_one_issue_with_its_devices(
    harness: Harness,
) -> None:
    for bus in BUSES:
        await harness.report(bus, soc_percent=80.0)
    harness.let_pass(20 * MINUTE)
    await _fail_calls(harness, FaultClass.CREDENTIALS)
    for path in ("/workspaces/north/health?limit=1", "/workspaces/north/issues"):
        outage = (await harness.get(path))["workspace_outage"]
        assert (outage["reason"], outage["affected_devices"]) == ("credentials_rejected", 3)
        assert outage["party"] == "customer"
        assert (outage["reasons"], outage["provider_ids"]) == (
            {"credentials_rejected": 3},
            ["live"],
        )
        assert instant(outage["last_update_received_at"]) == START
        assert outage["evidence"]["last_error"]["class"] == "credentials"


async def test_a_device_with_a_reason_of_its_own_hides_no_outage(harness: Harness) -> None:
    """The provider had answered about the silent bus a moment before."""
    await harness.report("bus-2", soc_percent=80.0)
    harness.let_pass(20 * MINUTE)
    await harness.run_cycle()
    harness.let_pass(1)
    for bus in ("bus-1", "bus-3"):
        await harness.report(bus, soc_percent=80.0)
    harness.let_pass(361)
    await _fail_calls(harness, FaultClass.OUTAGE)
    report = await harness.get("/workspaces/north/health")
    assert [item["reason"] for item in report["items"]] == [
        "provider_outage",
        "device_silent",
        "provider_outage",
    ]
    outage = report["workspace_outage"]
    assert (outage["reason"], outage["affected_devices"]) == ("provider_outage", 2)
    assert outage["reasons"] == {"provider_outage": 2}


async def test_what_is_switched_off_is_said_once(harness: Harness) -> None:
    harness.let_pass(120 * MINUTE)
    live = await harness.stores.registry.get_provider("north", "live")
    assert live is not None
    await harness.stores.registry.put_provider(replace(live, active=False))
    outage = (await harness.get("/workspaces/north/health"))["workspace_outage"]
    assert (outage["reason"], outage["affected_devices"]) == ("switched_off", 3)


async def test_one_device_that_reports_makes_it_no_outage(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=80.0)
    harness.let_pass(20 * MINUTE)
    await _fail_calls(harness, FaultClass.OUTAGE)
    await harness.report("bus-2", soc_percent=80.0)
    report = await harness.get("/workspaces/north/health")
    assert report["workspace_outage"] is None
    assert {item["device_id"]: item["reason"] for item in report["items"]} == {
        "bus-1": "provider_outage",
        "bus-2": "reporting",
        "bus-3": "provider_outage",
    }


async def test_a_retired_device_is_not_reported(harness: Harness) -> None:
    await harness.ask("DELETE", "/workspaces/north/devices/bus-2")
    report = await harness.get("/workspaces/north/health")
    assert [item["device_id"] for item in report["items"]] == ["bus-1", "bus-3"]


async def _fail_calls(harness: Harness, fault: FaultClass) -> None:
    """Record a cycle that ran, a stream that is open, and a call that the provider refused."""
    await harness.run_cycle(is_answered=False)
    opened = ConnectionFact("north", "live", ConnectionFactKind.STREAM_OPENED, harness.clock.now())
    failed = opened._replace(kind=ConnectionFactKind.CALL_FAILED, fault=fault, detail="refused")
    await harness.commit(Submission("poll", "trace-fault", facts=(opened, failed)))
    await trio.testing.wait_all_tasks_blocked()


async def test_health_comes_as_csv_with_a_row_for_each_device(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50.0)
    harness.let_pass(3601)
    path = "/workspaces/north/health"
    report = await harness.get(path)
    answer = await harness.ask("GET", path, headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
    names = ("device_id", "vehicle_name", "state", "reason", "party")
    assert [[row[name] for name in names] for row in rows] == [
        [item[name] for name in names] for item in report["items"]
    ]
    assert rows[0]["old_signals"] == "soc_percent"
    assert {row["evaluated_at"] for row in rows} == {report["evaluated_at"]}
    filtered = await harness.ask("GET", f"{path}?format=csv&state=stale")
    assert len(filtered.body.splitlines()) == 2
    assert filtered.headers["content-disposition"] == 'attachment; filename="health-north.csv"'


async def test_the_csv_of_a_large_fleet_leads_to_the_rest(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.verdicts.MAX_CSV_ROWS", 500)
    many = [draft(f"d-{index:04}") for index in range(600)]
    await harness.stores.registry.put_devices("north", many)
    path = "/workspaces/north/health"
    first = await harness.ask("GET", f"{path}?format=csv")
    (target,) = re.findall(r'^<(\?.*)>; rel="next"$', first.headers["link"])
    harness.let_pass(3601)
    rest = await harness.ask("GET", f"{path}{target}")
    rows = [
        row
        for answer in (first, rest)
        for row in csv.DictReader(io.StringIO(answer.body.decode(), newline=""))
    ]
    assert (len(rows), len({row["device_id"] for row in rows})) == (603, 603)
    assert {row["state"] for row in rows} == {"awaiting-first-data"}
