"""The page of a device: its day, why it is what it is, its values, the event behind a value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.api.harness import later
from tests.pages.visiting import visit

if TYPE_CHECKING:
    from tests.api.harness import Harness

PAGE = "/workspaces/north/devices/bus-1"


async def test_a_silent_device_says_why_and_whose_side_it_is(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50)
    harness.let_pass(3600)
    await harness.run_cycle()
    page = await (await visit(harness)).read(PAGE)
    assert "is stale because" in page
    assert "The newest accepted update came at" in page
    assert "They come from this policy" in page


async def test_a_gap_is_a_mark_of_the_picture_and_a_line_of_the_table(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50)
    harness.let_pass(3600)
    page = await (await visit(harness)).read(PAGE)
    assert "no data for 1 h" in page
    assert re.search(r'class="m stale"[^>]*><title>12:00:00 to 13:00:00: no data for 1 h', page)
    assert "no data from then until now" in page


async def test_every_mark_and_every_lane_has_a_text(harness: Harness) -> None:
    await harness.run_cycle()
    await harness.report("bus-1", soc_percent=150)
    await harness.report("bus-1", soc_percent=50)
    harness.let_pass(3600)
    page = await (await visit(harness)).read(PAGE)
    marks = re.findall(r'<rect class="m [^>]*>(.{7})', page)
    assert len(marks) >= 5
    assert set(marks) == {"<title>"}
    lanes = re.findall(r'class="lane-picture"[^>]*role="img" aria-label="(\w+)', page)
    assert lanes == ["Heard", "Gaps", "Cycles", "Refused", "Connection", "Provider"]


async def test_the_address_chooses_the_time(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50)
    harness.let_pass(7200)
    visitor = await visit(harness)
    query = f"from={later(1800):%Y-%m-%dT%H:%M:%SZ}&to={later(3600):%Y-%m-%dT%H:%M:%SZ}"
    page = await visitor.read(f"{PAGE}?{query}")
    assert "From <time" in page
    assert page.count("data-zoom=") == 5
    assert "no data from then until now" in page


@pytest.mark.parametrize(
    "query", ["from=nonsense", "from=2099-01-01T00:00:00Z", "from=2001-01-01T00:00:00Z"]
)
async def test_an_address_of_no_possible_time_shows_the_last_day(
    harness: Harness, query: str
) -> None:
    harness.let_pass(3600)
    page = await (await visit(harness)).read(f"{PAGE}?{query}")
    assert "so this is the last day" in page


async def test_the_event_behind_a_value_is_shown(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50, speed_kmh=31)
    harness.let_pass(60)
    page = await (await visit(harness)).read(f"{PAGE}?signal=soc_percent")
    event = page[page.index('id="event"') :]
    assert "The event behind soc_percent" in event
    assert "speed_kmh" in event


async def test_a_signal_without_an_event_is_explained(harness: Harness) -> None:
    visitor = await visit(harness)
    assert "The device has no value of" in await visitor.read(f"{PAGE}?signal=soc_percent")
    assert "There is no signal of this name" in await visitor.read(f"{PAGE}?signal=%3Cb%3E")


async def test_signals_are_drawn(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50, charging=True)
    harness.let_pass(600)
    await harness.report("bus-1", soc_percent=40, charging=False)
    harness.let_pass(600)
    page = await (await visit(harness)).read(PAGE)
    assert 'aria-label="soc_percent: from 40 to 50 %, at last 40 %."' in page
    assert 'aria-label="charging: 1 change, at last no."' in page


async def test_a_new_device_has_empty_parts_that_say_what_comes(harness: Harness) -> None:
    page = await (await visit(harness)).read(PAGE)
    assert "No value yet" in page
    assert "its first data may still come" in page
    assert "Nothing was recorded in this time" in page


async def test_a_retired_device_is_shown_with_what_is_kept(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50)
    headers = {"If-Match": "*"}
    await harness.ask("DELETE", "/workspaces/north/devices/bus-1", headers=headers)
    harness.let_pass(60)
    page = await (await visit(harness)).read(PAGE)
    assert "This device was retired" in page
    assert "soc_percent" in page


async def test_history_is_for_those_who_may_change_things(harness: Harness) -> None:
    change = {"vehicle_name": "Other"}
    headers = {"If-Match": "*"}
    await harness.ask("PATCH", "/workspaces/north/devices/bus-1", json=change, headers=headers)
    assert "vehicle_name" in await (await visit(harness)).read(PAGE)
    page = await (await visit(harness, "read")).read(PAGE)
    assert "is shown to keys with the scope" in page


async def test_an_unknown_device_is_a_page_of_its_own(harness: Harness) -> None:
    answer = await (await visit(harness)).get("/workspaces/north/devices/bus-9")
    assert (answer.status, b"no device bus-9" in answer.body) == (404, True)


async def test_names_from_outside_are_text(harness: Harness) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    change = {"vehicle_name": hostile, "tags": [hostile]}
    headers = {"If-Match": "*"}
    await harness.ask("PATCH", "/workspaces/north/devices/bus-1", json=change, headers=headers)
    page = await (await visit(harness)).read(PAGE)
    assert "<img" not in page
    assert "&lt;img" in page
