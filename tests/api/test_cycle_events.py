"""An API destination of Amazon EventBridge asks for the next regular start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from api.example_cycles import EVENT
from tests.api.test_cycle_requests import PATH, cycles, expect_regular, put_workspace

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

# As Amazon documents it, for a rule with a schedule.
SCHEDULED: dict[str, Any] = dict(EVENT)
# Of an application that puts events on a bus: its detail has members of its own.
CUSTOM = SCHEDULED | {
    "detail-type": "Bus returned to depot",
    "source": "com.customer.depot",
    "resources": [],
    "detail": {"bus": 7, "when": "next_start", "workspace_id": "north"},
}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def send(harness: Harness, event: dict[str, Any], **rest: Any) -> Answer:
    return await harness.ask("POST", PATH, json=event, **rest)


@pytest.mark.parametrize("event", [SCHEDULED, CUSTOM], ids=["of a schedule", "of a bus"])
async def test_an_event_gets_the_next_regular_cycle(
    harness: Harness, event: dict[str, Any]
) -> None:
    answer = await send(harness, event)
    assert (answer.status, answer.json) == (202, await expect_regular(harness, "north"))
    assert await cycles(harness) == []
    assert harness.nudged.times == 0


@pytest.mark.parametrize(
    ("changes", "pointer", "words"),
    [
        ({"detail": {"workspace_id": "south"}}, "/detail/workspace_id", "another workspace"),
        ({"detail": {"workspace_id": 7}}, "/detail/workspace_id", "valid string"),
        ({"detail": {"workspace_id": "no id"}}, "/detail/workspace_id", "match pattern"),
        ({"detail": {"when": "now"}}, "/detail/when", "next regular start"),
        ({"detail": {"when": "noon"}}, "/detail/when", "next_start"),
        ({"when": "now"}, "/when", "next regular start"),
        ({"detail": []}, "/detail", "object"),
        ({"detail": "now"}, "/detail", "object"),
        ({"time": "noon"}, "/time", "RFC 3339"),
        ({"time": 1772366400}, "/time", "RFC 3339"),
        ({"id": 7}, "/id", "valid string"),
        ({"id": "x" * 257}, "/id", "256"),
        ({"detail-type": ["Scheduled Event"]}, "/detail-type", "valid string"),
        ({"resources": "arn"}, "/resources", "array"),
        ({"resources": [1]}, "/resources/0", "valid string"),
    ],
)
async def test_an_event_with_a_wrong_member_is_told_which(
    harness: Harness, changes: dict[str, Any], pointer: str, words: str
) -> None:
    answer = await send(harness, SCHEDULED | changes)
    assert (answer.status, answer.problem) == (422, "invalid-body")
    (fault,) = answer.json["errors"]
    assert fault["pointer"] == pointer
    assert words in fault["detail"]
    assert await cycles(harness) == []


async def test_every_wrong_member_is_named_at_once(harness: Harness) -> None:
    event = SCHEDULED | {"when": "now", "detail": {"workspace_id": "south"}}
    answer = await send(harness, event)
    assert [fault["pointer"] for fault in answer.json["errors"]] == [
        "/when",
        "/detail/workspace_id",
    ]


async def test_nfr_003_an_event_is_logged_with_its_cycle_and_its_trace(
    harness: Harness,
) -> None:
    header = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    with capture_logs(processors=[merge_contextvars]) as logs:
        answer = await send(harness, SCHEDULED, headers=header)
    (record,) = [one for one in logs if one["event"] == "cycle_event_received"]
    told = {name: str(value) for name, value in record.items()}
    assert (
        told.items()
        >= {
            "workspace_id": "north",
            "cycle_id": answer.json["cycle_id"],
            "event_id": SCHEDULED["id"],
            "event_at": "2026-03-01 12:00:00+00:00",
            "event_source": "aws.events",
            "detail_type": "Scheduled Event",
            "trace_id": TRACE,
        }.items()
    )


async def test_a_request_without_an_event_logs_none(harness: Harness) -> None:
    with capture_logs() as logs:
        await harness.ask("POST", PATH, json={"when": "next_start", "id": "mine"})
    assert "cycle_event_received" not in [one["event"] for one in logs]


async def test_an_inactive_workspace_answers_an_event_409(harness: Harness) -> None:
    """EventBridge sends it again, so docs/operations.md says how to bound that."""
    await put_workspace(harness, "north", 300, active=False)
    answer = await send(harness, SCHEDULED)
    assert (answer.status, answer.problem) == (409, "conflict")
    assert "retry-after" not in answer.headers


async def test_an_event_needs_the_scope_and_the_workspace(harness: Harness) -> None:
    assert (await send(harness, SCHEDULED, key="read")).status == 403
    other = await harness.ask("POST", PATH.replace("north", "south"), json=SCHEDULED, key="north")
    assert other.status == 404


async def test_the_description_shows_an_event(harness: Harness) -> None:
    document = await harness.get("/openapi.json")
    body = document["paths"]["/api/telematics-mvp/workspaces/{workspace_id}/cycles"]["post"]
    example = body["requestBody"]["content"]["application/json"]["example"]
    assert example == SCHEDULED
    members = document["components"]["schemas"]["CycleRequest"]["properties"]
    assert SCHEDULED.keys() | {"when"} == members.keys()
