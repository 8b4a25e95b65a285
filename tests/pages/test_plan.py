"""The page of the poll plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.pages.plan import draw_plan, tell_why
from tests.pages.visiting import visit

if TYPE_CHECKING:
    from tests.api.harness import Harness


def plan(**parts: Any) -> dict[str, Any]:
    plain = {
        "begins_at": "2026-03-01T12:00:00Z",
        "evaluated_at": "2026-03-01T12:00:02Z",
        "seconds": 8,
        "starts": [0, 0, 3, 3, 0, 0, 1, 0],
        "most_in_a_second": 4,
        "fullest_second": 3,
    }
    return {**plain, **parts}


def test_the_outline_steps_where_the_number_of_starts_changes() -> None:
    picture = draw_plan(plan())
    assert picture["outline"] == "M0 4.6H0V4.6H2V1.6H4V4.6H6V3.6H7V4.6H8V4.6Z"
    assert (picture["now_at"], picture["to_come"]) == ("25.000%", "75.000%")


def test_the_bound_is_in_the_picture_always() -> None:
    assert draw_plan(plan())["bound_at"] == "13.043%"
    assert draw_plan(plan(most_in_a_second=2, fullest_second=3))["is_over"] is True


@pytest.mark.parametrize(
    ("state", "trigger", "said"),
    [
        ("overdue", None, "No start is recorded for 20 s"),
        ("missed", "schedule", "No process started it in its slot."),
        ("late", "late", "It makes up for a missed start"),
        ("late", "schedule", "Its shard began it late"),
    ],
)
def test_a_start_that_went_wrong_says_why(state: str, trigger: str | None, said: str) -> None:
    assert tell_why({"state": state, "trigger": trigger, "late_seconds": 20}).startswith(said)


async def test_a_late_workspace_is_named_with_how_late_it_is(harness: Harness) -> None:
    harness.let_pass(900)
    page = await (await visit(harness)).read("/plan")
    assert "2 of 2 workspaces did not start as planned" in page
    assert '<a href="/workspaces/north">North</a>' in page
    assert "bound: 2 a second" in page


async def test_a_limited_key_sees_its_own_workspaces_only(harness: Harness) -> None:
    harness.let_pass(900)
    page = await (await visit(harness, "north")).read("/plan")
    assert "1 of 1 workspaces" in page
    assert "South" not in page


async def test_without_active_workspaces_nothing_is_polled(harness: Harness) -> None:
    for name in ("north", "south"):
        body, headers = {"active": False}, {"If-Match": "*"}
        await harness.ask("PATCH", f"/workspaces/{name}", json=body, headers=headers)
    assert "Nothing is polled" in await (await visit(harness)).read("/plan")
