"""Signing in with a key, staying signed in, and signing out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.pages.visiting import Visitor, visit

if TYPE_CHECKING:
    from tests.api.harness import Harness


async def test_a_key_signs_in_and_the_first_page_shows_the_fleet(harness: Harness) -> None:
    visitor = await visit(harness)
    assert "North" in await visitor.read("/")


async def test_nobody_is_led_to_the_sign_in_page_and_back(harness: Harness) -> None:
    visitor = Visitor(harness)
    answer = await visitor.get("/?order=name&x=1")
    leads_to = "/sign-in?next=/%3Forder%3Dname%26x%3D1"
    assert (answer.status, answer.headers["location"]) == (303, leads_to)


@pytest.mark.parametrize("key", ["ingest", "lh_00_00", "", "nonsense"])
async def test_a_key_that_may_not_read_signs_nobody_in(harness: Harness, key: str) -> None:
    visitor = Visitor(harness)
    answer = await visitor.sign_in(key)
    assert (answer.status, visitor.cookie) == (401, None)


async def test_signing_out_ends_the_sign_in_at_once(harness: Harness) -> None:
    visitor = await visit(harness)
    cookie = visitor.cookie
    assert (await visitor.send("/sign-out", {})).status == 303
    visitor.cookie = cookie
    assert (await visitor.get("/")).status == 303


async def test_signing_out_everywhere_ends_the_other_browsers_too(harness: Harness) -> None:
    here, there = await visit(harness), await visit(harness)
    await here.send("/sign-out", {"everywhere": "yes"})
    assert (await there.get("/")).status == 303


async def test_a_sign_in_is_over_after_twelve_hours(harness: Harness) -> None:
    visitor = await visit(harness)
    harness.let_pass(12 * 3600 - 1)
    assert (await visitor.get("/")).status == 200
    harness.let_pass(2)
    assert (await visitor.get("/")).status == 303


async def test_a_limited_key_sees_only_its_own_workspaces(harness: Harness) -> None:
    page = await (await visit(harness, "north")).read("/")
    assert "North" in page
    assert "South" not in page
