"""`POST /ingest` answers with one result an item after the commit, or with the reason for none."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio

from api.app import create_app
from runtime.mailbox import LaneFull, MailboxClosed
from tests.api.harness import Harness, instant
from tests.api.standing_time import START

if TYPE_CHECKING:
    from trio.testing import MockClock

    from domain.model import Submission
    from tests.api.harness import Answer


def _update(device_id: str | None = "bus-1", **rest: Any) -> dict[str, Any]:
    reading = {"signal": "soc_percent", "value": 80, "observed_at": START.isoformat()}
    return {
        "workspace_id": "north",
        "provider_id": "live",
        **({} if device_id is None else {"device_id": device_id}),
        "readings": [reading],
        **rest,
    }


async def _send(harness: Harness, *updates: Any, key: str = "all") -> list[Any]:
    answer = await harness.ask("POST", "/ingest", json={"updates": list(updates)}, key=key)
    assert answer.status == 200, answer.body
    return list(answer.json["results"])


def _outcomes(results: list[Any]) -> list[str]:
    return [result["reason"] or result["outcome"] for result in results]


async def test_every_item_has_its_result_in_order(harness: Harness) -> None:
    older = [
        {
            "signal": "soc_percent",
            "value": 79,
            "observed_at": (START - timedelta(seconds=9)).isoformat(),
        }
    ]
    other = [{"signal": "soc_percent", "value": 81, "observed_at": START.isoformat()}]
    future = [
        {
            "signal": "soc_percent",
            "value": 81,
            "observed_at": (START + timedelta(hours=1)).isoformat(),
        }
    ]
    results = await _send(
        harness,
        _update(),
        _update(),
        _update(readings=older),
        _update(readings=other),
        _update("bus-9"),
        _update(vehicle_id="another"),
        _update(readings=future),
        _update(None, external_id="x-bus-2"),
    )
    assert _outcomes(results) == [
        "accepted",
        "duplicate",
        "stale",
        "conflict",
        "unknown_device",
        "identity_conflict",
        "future_timestamp",
        "accepted",
    ]
    assert results[0] == {
        "outcome": "accepted",
        "reason": None,
        "device_id": "bus-1",
        "version": 1,
        "detail": None,
        "errors": [],
    }
    assert results[7]["device_id"] == "bus-2"


async def test_a_bad_item_goes_to_the_ledger_and_the_rest_is_ingested(
    harness: Harness,
) -> None:
    naive = [{"signal": "soc_percent", "value": 80, "observed_at": "2026-05-01T12:00:00"}]
    results = await _send(
        harness, _update(), _update(readings=naive), "nonsense", _update(None), _update("bus-2")
    )
    assert _outcomes(results) == ["accepted", "invalid", "invalid", "invalid", "accepted"]
    assert results[1]["outcome"] == "rejected"
    assert [error["pointer"] for error in results[1]["errors"]] == ["/readings/0/observed_at"]
    assert results[1]["detail"].startswith("/readings/0/observed_at: ")
    items = (await harness.get("/workspaces/north/rejections?reason=invalid"))["items"]
    assert {(item["device_id"], item["occurrences"]) for item in items} == {("bus-1", 1), (None, 1)}
    assert all('"readings"' in item["sample"]["text"] for item in items)


@pytest.mark.parametrize(
    ("bad", "pointer"),
    [
        ({"value": None}, "/readings/1/value"),
        ({"value": 1e30}, "/readings/1/value"),
        ({"observed_at": "2026-05-01T12:00:00"}, "/readings/1/observed_at"),
        ({"quality": "good"}, "/readings/1/quality"),
    ],
)
async def test_a_bad_reading_costs_only_itself(harness: Harness, bad: Any, pointer: str) -> None:
    soc = {"signal": "soc_percent", "value": 50, "observed_at": START.isoformat()}
    speed = soc | {"signal": "speed_kmh", "value": 9}
    (result,) = await _send(
        harness, _update(readings=[soc, soc | {"signal": "odometer_km"} | bad, speed])
    )
    assert (result["outcome"], [error["pointer"] for error in result["errors"]]) == (
        "accepted",
        [pointer],
    )
    assert result["detail"].startswith(f"{pointer}: ")
    values = (await harness.get("/workspaces/north/snapshots/bus-1"))["values"]
    assert {name: value["value"] for name, value in values.items()} == {
        "soc_percent": 50,
        "speed_kmh": 9,
    }
    (refused,) = (await harness.get("/workspaces/north/rejections"))["items"]
    assert (refused["device_id"], refused["signal"]) == ("bus-1", "odometer_km")
    assert refused["detail"].startswith(f"{pointer}: ")


async def test_all_dropped_readings_are_named_whoever_dropped_them(
    harness: Harness,
) -> None:
    far = {"signal": "odometer_km", "value": -5, "observed_at": START.isoformat()}
    results = await _send(
        harness,
        _update(readings=[far, *[far | {"value": None}] * 7]),
        _update("bus-9", readings=[{}]),
    )
    assert _outcomes(results) == ["invalid", "invalid"]
    assert results[0]["detail"].startswith("odometer_km: below 0 km; /readings/1/value: ")
    assert results[0]["detail"].endswith(
        "; /readings/5/value: give a boolean, a number or text; and 2 more"
    )
    assert [
        item["device_id"] for item in (await harness.get("/workspaces/north/rejections"))["items"]
    ].count("bus-1") == 1


async def test_an_item_with_a_fault_beside_readings_is_refused_whole(harness: Harness) -> None:
    good = {"signal": "soc_percent", "value": 50, "observed_at": START.isoformat()}
    readings = [good, good | {"value": None}]
    nameless, unknown_member = await _send(
        harness, _update(None, readings=readings), _update(readings=readings, mode=1)
    )
    assert nameless["reason"] == unknown_member["reason"] == "invalid"
    assert [error["pointer"] for error in nameless["errors"]] == ["", "/readings/1/value"]
    assert {error["pointer"] for error in unknown_member["errors"]} == {
        "/readings/1/value",
        "/mode",
    }


async def test_a_device_with_only_malformed_items_has_rejected_updates(
    harness: Harness,
) -> None:
    harness.let_pass(10)
    await _send(harness, _update(readings=[]))
    harness.let_pass(600)
    await harness.run_cycle()
    (item,) = [item for item in await _health(harness) if item["device_id"] == "bus-1"]
    assert item["reason"] == "updates_rejected"


async def test_a_bad_item_before_a_good_one_does_not_outlive_it(harness: Harness) -> None:
    await _send(harness, _update(readings=[]), _update())
    harness.let_pass(600)
    await harness.run_cycle()
    (item,) = [item for item in await _health(harness) if item["device_id"] == "bus-1"]
    assert (item["state"], item["reason"]) == ("delayed", "device_silent")


async def _health(harness: Harness) -> list[Any]:
    return list((await harness.get("/workspaces/north/health"))["items"])


@pytest.mark.parametrize(
    ("reading", "pointer"),
    [
        ({"value": None}, "/readings/0/value"),
        ({"value": [1]}, "/readings/0/value"),
        ({"value": 10**30}, "/readings/0/value"),
        ({"value": "x" * 257}, "/readings/0/value"),
        ({"signal": ""}, "/readings/0/signal"),
        ({"observed_at": 1777636800}, "/readings/0/observed_at"),
        ({"quality": "good"}, "/readings/0/quality"),
    ],
)
async def test_a_reading_of_the_wrong_shape_is_pointed_at(
    harness: Harness, reading: Any, pointer: str
) -> None:
    good = {"signal": "soc_percent", "value": 80, "observed_at": START.isoformat()}
    (result,) = await _send(harness, _update(readings=[good | reading]))
    assert (result["reason"], {error["pointer"] for error in result["errors"]}) == (
        "invalid",
        {pointer},
    )


async def test_zero_false_and_text_are_values(harness: Harness) -> None:
    at = START.isoformat()
    readings = [
        {"signal": "soc_percent", "value": 0, "observed_at": at},
        {"signal": "charging", "value": False, "observed_at": at},
    ]
    assert _outcomes(await _send(harness, _update(readings=readings))) == ["accepted"]
    values = (await harness.get("/workspaces/north/snapshots/bus-1"))["values"]
    assert {name: value["value"] for name, value in values.items()} == {
        "soc_percent": 0,
        "charging": False,
    }


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ([], [""]),
        ({}, ["/updates"]),
        ({"updates": 7}, ["/updates"]),
        ({"updates": [_update()] * 501}, ["/updates"]),
        ({"updates": [], "mode": "fast"}, ["/mode"]),
    ],
)
async def test_a_body_of_the_wrong_shape_is_refused_whole(
    harness: Harness, body: Any, pointers: list[str]
) -> None:
    answer = await harness.ask("POST", "/ingest", json=body)
    assert (answer.status, answer.problem) == (422, "invalid-body")
    assert [part.get("pointer", "") for part in answer.json["errors"]] == pointers


async def test_a_body_over_a_mebibyte_is_413_and_other_media_415(harness: Harness) -> None:
    headers = {"Content-Type": "application/json"}
    large = await harness.ask("POST", "/ingest", data=b" " * (1024 * 1024 + 1), headers=headers)
    assert (large.status, large.problem) == (413, "body-too-large")
    form = await harness.ask(
        "POST", "/ingest", data=b"updates=", headers={"Content-Type": "text/plain"}
    )
    assert (form.status, form.problem) == (415, "unsupported-media-type")


async def test_an_unseen_workspace_is_like_none_and_gets_nothing(
    harness: Harness,
) -> None:
    foreign, absent, bad = await _send(
        harness,
        _update(workspace_id="south"),
        _update("bus-9"),
        _update(workspace_id="south", readings=[]),
        key="north",
    )
    assert foreign == absent | {"device_id": foreign["device_id"]}
    assert foreign["device_id"] is None
    assert bad["reason"] == "invalid"
    assert (await harness.get("/workspaces/south/snapshots/bus-1"))["version"] == 0
    assert (await harness.get("/workspaces/south/rejections"))["items"] == []


async def test_age_uses_our_arrival_and_not_the_clients(harness: Harness) -> None:
    harness.let_pass(30)
    await _send(harness, _update(received_at="2026-05-01T09:00:00Z"))
    snapshot = await harness.get("/workspaces/north/snapshots/bus-1")
    assert instant(snapshot["last_update_received_at"]) == START + timedelta(seconds=30)


async def test_an_event_has_the_trace_of_its_item_or_of_the_request(
    harness: Harness,
) -> None:
    updates = {"updates": [_update(trace_id="mine-7"), _update("bus-2")]}
    await harness.ask("POST", "/ingest", json=updates, headers={"X-Request-Id": "request-7"})
    traces = [
        (await harness.get(f"/workspaces/north/devices/{bus}/events"))["items"][0]["trace_id"]
        for bus in ("bus-1", "bus-2")
    ]
    assert traces == ["mine-7", "request-7"]


class _Refusing:
    """An ingest that refuses submissions, or takes them and gives no verdict."""

    def __init__(self, refusal: Exception | None) -> None:
        self._refusal = refusal

    def submit_nowait(self, submission: Submission) -> None:
        if self._refusal is not None:
            raise self._refusal
        assert submission.resolve is not None
        submission.resolve(None)


@pytest.mark.parametrize(
    ("refusal", "problem", "retry_after"),
    [
        (LaneFull(), "overloaded", "1"),
        (MailboxClosed(), "overloaded", "5"),
        (None, "outcome-unknown", "1"),
    ],
)
async def test_updates_without_a_verdict_are_503_with_retry_after(
    harness: Harness, refusal: Exception | None, problem: str, retry_after: str
) -> None:
    harness.client = create_app(harness.make_services(ingest=_Refusing(refusal))).test_client()
    answer = await harness.ask("POST", "/ingest", json={"updates": [_update()]})
    assert (answer.status, answer.problem, answer.headers["retry-after"]) == (
        503,
        problem,
        retry_after,
    )


async def test_a_late_verdict_is_outcome_unknown_and_a_retry_is_safe(
    harness: Harness, mock_clock: MockClock
) -> None:
    """The clock moves by jumps alone, because one that jumps by itself outruns the database."""
    harness.current.mark_fenced(harness.session)
    answers: list[Answer] = []

    async def ask() -> None:
        answers.append(await harness.ask("POST", "/ingest", json={"updates": [_update()]}))

    async with trio.open_nursery() as asking:
        asking.start_soon(ask)
        while not harness.ingest.statistics().pending:
            await trio.lowlevel.checkpoint()
        mock_clock.jump(9.9)
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        mock_clock.jump(0.1)
    assert (answers[0].status, answers[0].problem) == (503, "outcome-unknown")
    harness.current.replace(harness.session)
    assert _outcomes(await _send(harness, _update())) == ["duplicate"]


async def test_a_reading_that_cannot_be_read_is_counted_by_its_signal(harness: Harness) -> None:
    """The rest of its update is accepted, so it is not held against the device."""
    soc = {"signal": "soc_percent", "value": 50, "observed_at": START.isoformat()}
    bad = [soc | {"signal": "odometer_km", "value": None}, "no reading", soc | {"signal": 7}]
    (result,) = await _send(harness, _update(readings=[soc, *bad]))
    assert result["outcome"] == "accepted"
    items = (await harness.get("/workspaces/north/rejections"))["items"]
    told = {(item["reason"], item["signal"], item["occurrences"]) for item in items}
    assert told == {("invalid", "odometer_km", 1), ("invalid", "unknown", 2)}
    assert {item["device_id"] for item in items} == {"bus-1"}
