"""The worklist's page: ages, filters, CSV and the text for an e-mail."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from ports.legacy import LegacyUnreachable
from tests.api.legacy_reads import read_from
from tests.pages.visiting import visit

if TYPE_CHECKING:
    from tests.api.harness import Harness

DAY = 86_400


async def prepare(harness: Harness) -> None:
    """One bus of north fell silent five days ago; all others were never heard."""
    await harness.report("bus-1", soc_percent=50)
    harness.let_pass(5 * DAY)


async def test_the_page_lists_silent_devices_with_their_cause(harness: Harness) -> None:
    await prepare(harness)
    page = await (await visit(harness)).read("/worklist")
    assert "<strong>6</strong> devices" in page
    assert 'data-device="north/bus-1"' in page
    assert ">5 d</time>" in page


async def test_an_age_is_a_filter_with_its_number(harness: Harness) -> None:
    await prepare(harness)
    visitor = await visit(harness)
    page = await visitor.read("/worklist?search=bus")
    link = "/worklist?search=bus&amp;age=days_3_to_7"
    assert f'<a href="{link}"><b class="number">1</b>' in page
    narrowed = await visitor.read("/worklist?search=bus&age=days_3_to_7")
    assert narrowed.count("data-device=") == 1
    assert '<a href="/worklist?search=bus" aria-current="true">' in narrowed


async def test_the_csv_has_exactly_what_is_filtered(harness: Harness) -> None:
    await prepare(harness)
    visitor = await visit(harness)
    page = await visitor.read("/worklist?workspace_id=south&search=bus-2")
    assert 'href="/worklist.csv?workspace_id=south&amp;search=bus-2"' in page
    answer = await visitor.get("/worklist.csv?workspace_id=south&search=bus-2")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"))))
    assert [(row["workspace_id"], row["device_id"]) for row in rows] == [("south", "bus-2")]
    assert "worklist.csv" in answer.headers["content-disposition"]


async def test_the_summary_names_ids_and_dates_by_workspace(harness: Harness) -> None:
    await prepare(harness)
    page = await (await visit(harness)).read("/worklist?workspace_id=north")
    text = page.partition("<textarea")[2].partition("</textarea>")[0]
    assert "North (north)" in text
    assert "last heard 2026-05-01 12:00 (vehicle vehicle-bus-1, device bus-1, id x-bus-1)" in text
    assert "never heard since 2026-05-01" in text
    assert "collector late: our own collecting is late, or has not caught up after a gap." in text


async def test_a_workspace_that_is_not_known_is_said(harness: Harness) -> None:
    await prepare(harness)
    await read_from(harness, "legacy")
    harness.legacy.fault = LegacyUnreachable("the legacy system answered 503")
    page = await (await visit(harness)).read("/worklist")
    assert "are missing here: its legacy system did not answer" in page
    assert "Not known: north" in page


async def test_nothing_to_do_is_said(harness: Harness) -> None:
    visitor = await visit(harness)
    assert "Nobody to ask" in await visitor.read("/worklist")
    assert "No device fits" in await visitor.read("/worklist?search=nothing")


async def test_a_limited_key_sees_its_own(harness: Harness) -> None:
    await prepare(harness)
    page = await (await visit(harness, "north")).read("/worklist")
    assert "south" not in page


async def test_a_wrong_filter_is_refused_on_both_addresses(harness: Harness) -> None:
    visitor = await visit(harness)
    for path in ("/worklist?age=ancient", "/worklist.csv?age=ancient"):
        assert (await visitor.get(path)).status == 400


async def test_a_long_list_goes_on(harness: Harness) -> None:
    await prepare(harness)
    cursor = (await harness.get("/worklist?limit=4"))["next_cursor"]
    page = await (await visit(harness)).read(f"/worklist?cursor={cursor}")
    assert page.count("data-device=") == 2
    assert "First page" in page
