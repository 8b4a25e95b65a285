"""Push connections: no address, no credential, and a trace of who sends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio

from api.senders import FACT_EVERY, MAX_CONNECTIONS, Senders
from domain.model import (
    CanonicalUpdate,
    ConnectionFactKind,
    Outcome,
    Reason,
    Result,
    Submission,
)
from tests.conftest import fetch

if TYPE_CHECKING:
    from tests.api.conftest import Populated
    from tests.api.harness import Harness

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
PUSHED = "/workspaces/north/providers/pushed"


def sent(*provider_ids: str) -> Submission:
    updates = (
        CanonicalUpdate("north", name, "bus-1", None, None, (), NOON, "t") for name in provider_ids
    )
    return Submission("http", "t", updates=tuple(updates))


def told(senders: Senders, seconds: float, *provider_ids: str) -> list[str]:
    facts = senders.facts_of(sent(*provider_ids), NOON + timedelta(seconds=seconds))
    return [fact.provider_id for fact in facts]


def data(
    senders: Senders, seconds: float, *device_ids: str | None, **rest: Any
) -> list[str | None]:
    """Return the devices of which is told that data came, of one request at that second."""
    results = [Result(Outcome.ACCEPTED, None, name)._replace(**rest) for name in device_ids]
    at = NOON + timedelta(seconds=seconds)
    facts = senders.data_of(sent(*("pushed" for _ in device_ids)), results, at)
    assert all((fact.kind, fact.at) == (ConnectionFactKind.DATA, NOON) for fact in facts)
    return [fact.device_id for fact in facts]


def test_a_connection_is_told_of_once_in_ten_seconds() -> None:
    senders = Senders()
    assert told(senders, 0, "pushed", "pushed", "other") == ["pushed", "other"]
    assert told(senders, FACT_EVERY.total_seconds() - 1, "pushed") == []
    assert told(senders, FACT_EVERY.total_seconds(), "pushed") == ["pushed"]


def test_ids_that_no_statement_can_carry_are_no_connection() -> None:
    assert told(Senders(), 0, "pu\0shed", "pushed", "\ud800") == ["pushed"]


def test_the_data_of_two_devices_is_told_in_ten_seconds() -> None:
    """Also if each request has one device: whichever of them is asked about has another."""
    senders = Senders()
    requests = [
        (0, "bus-1"),
        (1, "bus-2"),
        (2, "bus-3"),
        (9, "bus-1"),
        (10, "bus-1"),
        (11, "bus-3"),
    ]
    found = [data(senders, second, bus) for second, bus in requests]
    assert found == [["bus-1"], ["bus-2"], [], [], ["bus-1"], ["bus-3"]]


def test_an_update_of_no_device_of_the_connection_is_no_data() -> None:
    senders = Senders()
    assert data(senders, 0, None, None, "bus-1", "bus-1", "bus-2", "bus-3") == ["bus-1", "bus-2"]
    assert data(Senders(), 0, "bus-1", reason=Reason.IDENTITY_CONFLICT) == []
    assert data(Senders(), 0, "bus-1", outcome=Outcome.QUARANTINED) == []


def test_data_after_an_unreadable_message_is_told_at_once() -> None:
    senders, key = Senders(), ("north", "pushed")
    assert data(senders, 0, "bus-1") == ["bus-1"]
    (fact,) = senders.unreadable(key, "not JSON", NOON)
    assert (fact.kind, fact.detail) == (ConnectionFactKind.UNREADABLE, "not JSON")
    assert senders.unreadable(key, "not JSON", NOON) == ()
    assert data(senders, 1, "bus-1") == ["bus-1"]


def test_the_memory_of_senders_is_bounded() -> None:
    senders = Senders()
    told(senders, 0, "first")
    told(senders, 0, *map(str, range(MAX_CONNECTIONS)))
    assert told(senders, 1, "first") == ["first"]


@pytest.mark.parametrize("provider_type", ["push", "spoken"])
async def test_a_push_connection_needs_neither_address_nor_secret(
    harness: Harness, provider_type: str
) -> None:
    body = {"provider_type": provider_type, "transport": "push"}
    made = await harness.ask("PUT", PUSHED, json=body)
    assert made.status == 201
    assert (made.json["base_url"], made.json["credential"], made.json["transport"]) == (
        "",
        None,
        "push",
    )


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"base_url": "https://maker.example"}, "/base_url"),
        ({"credential": "env:LASTHEARD_SECRET_NORTH"}, "/credential"),
        ({"settings": {"any": 1}}, "/settings"),
        ({"transport": "poll", "base_url": "https://maker.example"}, "/transport"),
        ({"provider_type": "spoken", "transport": "poll"}, "/base_url"),
    ],
)
async def test_what_a_push_connection_cannot_have_is_refused(
    harness: Harness, change: dict[str, Any], pointer: str
) -> None:
    body = {"provider_type": "push", "transport": "push", **change}
    refused = await harness.ask("PUT", PUSHED, json=body)
    assert (refused.status, refused.pointers) == (422, [pointer])


async def test_what_a_client_sends_is_a_fact_of_its_connection(
    harness: Harness, populated: Populated
) -> None:
    body = {"provider_type": "push", "transport": "push"}
    await harness.ask("PUT", PUSHED, json=body)
    device = {
        "provider_id": "pushed",
        "external_id": "x-1",
        "vehicle_id": "v-pushed",
        "vehicle_name": "Pushed",
    }
    assert (await harness.ask("PUT", "/workspaces/north/devices/p-1", json=device)).status == 201
    reading = {"signal": "soc_percent", "value": 50, "observed_at": NOON.isoformat()}
    update = {"workspace_id": "north", "provider_id": "pushed", "external_id": "x-1"}
    answer = await harness.ask(
        "POST", "/ingest", json={"updates": [{**update, "readings": [reading]}]}
    )
    assert answer.json["results"][0]["outcome"] == "accepted"
    await harness.commit(Submission("http", "t"))  # behind the fact that the request left
    (row,) = await trio.to_thread.run_sync(
        fetch,
        populated.dsn,
        "SELECT sender_at, data_at, data_device_id FROM connection_state "
        "WHERE workspace_id = 'north' AND provider_id = 'pushed'",
    )
    assert row["sender_at"] == row["data_at"] == harness.clock.now()
    assert row["data_device_id"] == "p-1"


async def _add_device(harness: Harness, number: int) -> None:
    device = {
        "provider_id": "pushed",
        "external_id": f"x-{number}",
        "vehicle_id": f"v-{number}",
        "vehicle_name": "Pushed",
    }
    path = f"/workspaces/north/devices/p-{number}"
    assert (await harness.ask("PUT", path, json=device)).status == 201


async def _push(harness: Harness, *numbers: int) -> None:
    at = harness.clock.now().isoformat()
    readings = [{"signal": "soc_percent", "value": 50, "observed_at": at}]
    updates = [
        {
            "workspace_id": "north",
            "provider_id": "pushed",
            "external_id": f"x-{number}",
            "readings": readings,
        }
        for number in numbers
    ]
    answer = await harness.ask("POST", "/ingest", json={"updates": updates})
    assert [each["outcome"] for each in answer.json["results"]] == ["accepted" for _ in numbers]
    await harness.commit(Submission("http", "t"))  # behind the fact that the request left


async def _look(harness: Harness) -> list[tuple[str, str]]:
    items = (await harness.get("/workspaces/north/health"))["items"]
    return [(item["reason"], item["party"]) for item in items if item["device_id"].startswith("p-")]


async def test_no_sender_is_blamed_for_an_outage_of_ours(harness: Harness) -> None:
    """All our shards were away for 20 minutes: no cycle started, and nobody could push."""
    await harness.ask("PUT", PUSHED, json={"provider_type": "push", "transport": "push"})
    for number in (1, 2):
        await _add_device(harness, number)
    await harness.run_cycle()
    await _push(harness, 1, 2)
    harness.let_pass(1200)
    assert await _look(harness) == [("collector_late", "ours")] * 2
    harness.let_pass(30)
    await harness.run_cycle()
    assert await _look(harness) == [("collector_late", "ours")] * 2
    harness.let_pass(10)
    await _push(harness, 2)
    assert await _look(harness) == [("device_silent", "device"), ("reporting", "none")]


async def test_a_sender_that_we_could_hear_is_blamed(harness: Harness) -> None:
    await harness.ask("PUT", PUSHED, json={"provider_type": "push", "transport": "push"})
    await _add_device(harness, 1)
    await _push(harness, 1)
    for _ in range(5):
        await harness.run_cycle()
        harness.let_pass(300)
    assert await _look(harness) == [("sender_silent", "customer")]
