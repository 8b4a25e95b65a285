"""A scheduler asks for the next regular start; a person may ask for a run now."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from domain.cycles import CycleKey, CycleTrigger
from domain.model import Policy
from domain.schedule import cycle_id, next_start, place_of, starts_bound
from ports.cycles import WantedCycle

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

PATH = "/workspaces/north/cycles"
EVENT = {"version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}


async def put_workspace(harness: Harness, name: str, interval: int, *, active: bool = True) -> None:
    await harness.stores.registry.put_workspace(
        name, name=name, active=active, poll_interval_seconds=interval, policy=Policy()
    )


async def expect_regular(harness: Harness, name: str) -> dict[str, str]:
    """Return the answer that promises the workspace's next regular cycle."""
    stored = await harness.stores.registry.get_workspace(name)
    assert stored is not None
    place = place_of(stored)
    assert place is not None
    start = next_start(harness.clock.now(), place)
    key = CycleKey(name, start.slot_start_at, CycleTrigger.SCHEDULE, 1)
    return {
        "cycle_id": cycle_id(key),
        "slot_start_at": said(start.slot_start_at),
        "start_at": said(start.start_at),
    }


def said(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


async def cycles(harness: Harness) -> list[Any]:
    answer: Answer = await harness.ask("GET", PATH)
    items: list[Any] = answer.json["items"]
    return items


@pytest.mark.parametrize(
    "sent",
    [{}, {"json": {}}, {"json": {"when": "next_start"}}, {"json": EVENT}],
    ids=["no body", "empty object", "by name", "event of a scheduler"],
)
async def test_a_scheduler_gets_the_next_regular_cycle(
    harness: Harness, sent: dict[str, Any]
) -> None:
    asked = await harness.ask("POST", PATH, **sent)
    assert (asked.status, asked.json) == (202, await expect_regular(harness, "north"))
    assert asked.headers["location"].endswith(f"{PATH}/{asked.json['cycle_id']}")


async def test_the_promised_cycle_is_scheduled_until_it_starts(harness: Harness) -> None:
    promised = (await harness.ask("POST", PATH)).json
    for _ in range(2):
        shown = await harness.get(f"{PATH}/{promised['cycle_id']}")
        assert (shown["outcome"], shown["slot_start_at"]) == (
            "scheduled",
            promised["slot_start_at"],
        )
        assert (shown["trigger"], shown["attempt"], shown["trace_id"]) == ("schedule", 1, None)
        # The start has passed, and its shard has not recorded it yet.
        harness.clock.let_pass(
            (datetime.fromisoformat(promised["start_at"]) - harness.clock.now()).total_seconds() + 5
        )
    assert await cycles(harness) == []


async def test_a_recorded_cycle_is_shown_instead_of_its_promise(harness: Harness) -> None:
    promised = (await harness.ask("POST", PATH)).json
    key = CycleKey(
        "north", datetime.fromisoformat(promised["slot_start_at"]), CycleTrigger.SCHEDULE, 1
    )
    await harness.stores.cycles.start_cycle(
        harness.session, WantedCycle(key, promised["cycle_id"], "trace")
    )
    shown = await harness.get(f"{PATH}/{promised['cycle_id']}")
    assert (shown["outcome"], shown["trace_id"]) == ("running", "trace")


@pytest.mark.parametrize(
    "change", ["overdue", "deactivated", "another interval", "another workspace"]
)
async def test_a_cycle_that_will_not_come_is_not_found(harness: Harness, change: str) -> None:
    path = f"{PATH}/{(await harness.ask('POST', PATH)).json['cycle_id']}"
    match change:
        case "overdue":
            harness.clock.let_pass(600)
        case "deactivated":
            await put_workspace(harness, "north", 300, active=False)
        case "another interval":
            await put_workspace(harness, "north", 77)
        case _:
            path = path.replace("/north/", "/south/")
    assert (await harness.ask("GET", path)).status == 404


async def test_asking_for_the_next_start_runs_nothing_extra(harness: Harness) -> None:
    first = await harness.ask("POST", PATH)
    harness.clock.let_pass(1)
    second = await harness.ask("POST", PATH)
    assert second.json == first.json
    assert await cycles(harness) == []
    assert harness.nudged.times == 0


async def test_a_person_gets_a_run_now(harness: Harness) -> None:
    asked = await harness.ask("POST", PATH, json={"when": "now"})
    (cycle,) = await cycles(harness)
    assert (cycle["cycle_id"], cycle["outcome"]) == (asked.json["cycle_id"], "requested")
    assert asked.json["start_at"] == asked.json["slot_start_at"] == said(harness.clock.now())
    assert harness.nudged.times == 1


@pytest.mark.parametrize("when", ["next_start", "now"])
async def test_an_inactive_workspace_runs_no_cycle(harness: Harness, when: str) -> None:
    await put_workspace(harness, "north", 300, active=False)
    asked = await harness.ask("POST", PATH, json={"when": when})
    assert (asked.status, asked.problem) == (409, "conflict")
    assert 'Switch it on first: PATCH it with {"active": true}.' in asked.json["detail"]
    assert await cycles(harness) == []
    await harness.ask("PATCH", "/workspaces/north", json={"active": True})
    assert (await harness.ask("POST", PATH, json={"when": when})).status == 202


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"json": {"when": "later"}}, 422),
        ({"json": {"when": None}}, 422),
        ({"json": ["now"]}, 422),
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ({"data": b"now", "headers": {"Content-Type": "text/plain"}}, 415),
    ],
)
async def test_a_request_that_is_not_understood_runs_nothing(
    harness: Harness, sent: dict[str, Any], status: int
) -> None:
    asked = await harness.ask("POST", PATH, **sent)
    assert asked.status == status
    assert await cycles(harness) == []


async def test_fr_002_a_thousand_requests_start_within_the_bound(
    harness: Harness,
) -> None:
    """Each workspace is asked for once. A third of them has an interval of a minute."""
    intervals = {f"fleet-{number}": 60 if number % 3 == 0 else 300 for number in range(1_000)}
    for name, interval in intervals.items():
        await put_workspace(harness, name, interval)
    starts = []
    for name in intervals:
        asked = await harness.ask("POST", f"/workspaces/{name}/cycles")
        assert asked.json == await expect_regular(harness, name)
        starts.append(datetime.fromisoformat(asked.json["start_at"]))
    starts.sort()
    worst = max(
        bisect_left(starts, start + timedelta(seconds=1)) - at for at, start in enumerate(starts)
    )
    quick = list(intervals.values()).count(60)
    # The harness's own workspaces are at 300 s, too.
    assert worst <= starts_bound({60: quick - 1, 300: 1_000 - quick + 10})
