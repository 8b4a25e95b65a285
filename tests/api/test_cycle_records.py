"""A cycle shows its lifecycle records: the same facts from every shard (NFR-003, acceptance 10)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from domain.cycles import CycleKey, CycleTrigger
from domain.schedule import cycle_id
from ports.cycles import WantedCycle
from tests.api.test_cycle_requests import PATH

if TYPE_CHECKING:
    from tests.api.harness import Harness


async def start(harness: Harness) -> str:
    key = CycleKey("north", harness.clock.now(), CycleTrigger.SCHEDULE, 1)
    begun = await harness.stores.cycles.start_cycle(
        harness.session, WantedCycle(key, cycle_id(key), "trace-9")
    )
    return begun.cycle_id


async def records(harness: Harness, name: str) -> list[Any]:
    told: list[Any] = (await harness.get(f"{PATH}/{name}"))["records"]
    return told


async def test_nfr_003_a_running_cycle_shows_its_start(harness: Harness) -> None:
    name = await start(harness)
    shown = await harness.get(f"{PATH}/{name}")
    assert shown["records"] == [
        {
            "name": "workspace_poll_cycle_triggered",
            "at": shown["started_at"],
            "trace_id": "trace-9",
            "workspace_id": "north",
            "cycle_id": name,
            "slot_at": shown["slot_start_at"],
            "attempt": 1,
            "trigger": "schedule",
            "cycle_started_at": shown["started_at"],
        }
    ]


async def test_nfr_003_a_cycle_whose_shard_was_killed_shows_its_end(harness: Harness) -> None:
    name = await start(harness)
    await harness.stores.cycles.abandon_orphans(harness.session, "north")
    shown = await harness.get(f"{PATH}/{name}")
    begun, ended = shown["records"]
    assert begun["name"] == "workspace_poll_cycle_triggered"
    assert (ended["name"], ended["outcome"], ended["result_summary"]) == (
        "workspace_poll_ingest_completed",
        "abandoned",
        {},
    )
    assert ended["at"] == ended["cycle_ended_at"] == shown["ended_at"]


async def test_acceptance_10_an_ended_cycle_shows_start_and_end(harness: Harness) -> None:
    name = await harness.run_cycle()
    shown = await harness.get(f"{PATH}/{name}")
    assert [record["name"] for record in shown["records"]] == [
        "workspace_poll_cycle_triggered",
        "workspace_poll_ingest_completed",
    ]
    assert shown["records"][-1]["result_summary"] == shown["summary"]
    assert {record["trace_id"] for record in shown["records"]} == {shown["trace_id"]}


async def test_a_cycle_that_has_not_started_shows_none(harness: Harness) -> None:
    promised = (await harness.ask("POST", PATH)).json["cycle_id"]
    assert await records(harness, promised) == []
    asked = (await harness.ask("POST", PATH, json={"when": "now"})).json["cycle_id"]
    assert await records(harness, asked) == []
    slot = harness.clock.now() - timedelta(seconds=300)
    await harness.stores.cycles.record_missed(harness.session, "north", [slot])
    (missed,) = [one for one in (await harness.get(PATH))["items"] if one["outcome"] == "missed"]
    assert await records(harness, missed["cycle_id"]) == []


async def test_a_list_of_cycles_has_no_records(harness: Harness) -> None:
    await harness.run_cycle()
    (cycle,) = (await harness.get(PATH))["items"]
    assert "records" not in cycle
