"""The poll plan over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.api.harness import instant

if TYPE_CHECKING:
    from tests.api.harness import Harness


async def test_the_plan_has_every_start_of_the_longest_interval(harness: Harness) -> None:
    plan = await harness.get("/plan")
    assert (plan["seconds"], len(plan["starts"]), sum(plan["starts"])) == (300, 300, 2)
    assert (plan["workspaces"], plan["most_in_a_second"], plan["fullest_second"]) == (2, 2, 1)
    assert instant(plan["begins_at"]).timestamp() % 300 == 0
    assert plan["series"] == [{"poll_interval_seconds": 300, "workspaces": 2, "fullest_second": 1}]


async def test_a_slot_without_a_start_is_overdue(harness: Harness) -> None:
    harness.let_pass(900)
    plan = await harness.get("/plan")
    assert plan["states"]["overdue"] == 2
    first, _ = plan["late"]
    assert (first["state"], first["started_at"]) == ("overdue", None)
    assert 5 < first["late_seconds"] <= 300


async def test_a_cycle_of_the_present_slot_is_no_longer_overdue(harness: Harness) -> None:
    harness.let_pass(900)
    await harness.run_cycle()
    plan = await harness.get("/plan")
    assert plan["states"]["overdue"] == 1
    assert "north" not in [one["workspace_id"] for one in plan["late"] if one["state"] == "overdue"]


async def test_a_limited_key_sees_only_its_own_starts(harness: Harness) -> None:
    harness.let_pass(900)
    plan = await harness.get("/plan", key="north")
    assert (plan["workspaces"], sum(plan["starts"])) == (1, 1)
    assert [one["workspace_id"] for one in plan["late"]] == ["north"]


async def test_the_length_can_be_chosen(harness: Harness) -> None:
    assert len((await harness.get("/plan?seconds=60"))["starts"]) == 60
    assert (await harness.ask("GET", "/plan?seconds=3601")).status == 400
