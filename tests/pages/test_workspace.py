"""The page of a workspace: devices, filters, map, cycles and connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from domain.model import ConnectionFact, ConnectionFactKind, FaultClass, Submission
from ports.legacy import LegacyUnreachable
from tests.api.harness import BUSES
from tests.api.legacy_reads import read_from
from tests.pages.visiting import visit

if TYPE_CHECKING:
    from tests.api.harness import Harness

NORTH = "/workspaces/north"
HOUR = 3600


async def read(harness: Harness, path: str = NORTH, key: str = "all") -> str:
    return await (await visit(harness, key)).read(path)


async def test_a_row_has_state_cause_and_values_with_their_ages(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=64.5, odometer_km=120_000, charging=False)
    harness.let_pass(90)
    page = await read(harness)
    assert 'data-row="north/bus-1"' in page
    assert '<span data-field="value:soc_percent" data-digits="1">64.5</span>' in page
    assert '<span data-field="value:charging">no</span>' in page
    assert "120\u202f000" in page
    assert ">1 min 30 s</time>" in page


async def test_what_is_not_known_is_never_a_zero(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=0)
    page = await read(harness)
    assert page.count('<td class="number none">not known</td>') == 2
    assert 'data-digits="1">0.0</span>' in page
    assert "Odometer" not in page


async def test_an_old_value_says_so(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50)
    harness.let_pass(2 * HOUR)
    await harness.report("bus-1", odometer_km=1)
    page = await read(harness)
    assert 'class="old">50.0</span>' in page
    assert "old: soc" in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("search=BUS-2", ["bus-2"]),
        ("state=healthy", ["bus-1"]),
        ("state=healthy&party=ours", []),
        ("search=&state=&party=", ["bus-1", "bus-2", "bus-3"]),
        ("reason=reporting&order=device", ["bus-1"]),
    ],
)
async def test_filters_are_in_the_address(
    harness: Harness, query: str, expected: list[str]
) -> None:
    await harness.report("bus-1", soc_percent=50)
    page = await read(harness, f"{NORTH}?{query}")
    assert [bus for bus in BUSES if f'data-row="north/{bus}"' in page] == expected
    assert ("No device fits these filters" in page) is (not expected)


async def test_a_wrong_filter_is_explained(harness: Harness) -> None:
    answer = await (await visit(harness)).get(f"{NORTH}?party=martians")
    assert answer.status == 400
    assert b"party" in answer.body


async def test_positions_make_a_map_and_a_list(harness: Harness) -> None:
    assert "Where they are" not in await read(harness)
    await harness.report("bus-1", latitude_deg=52.5, longitude_deg=13.4)
    page = await read(harness)
    assert "Where they are" in page
    assert "52.5000, 13.4000" in page


async def test_cycles_tell_outcome_lateness_and_news(harness: Harness) -> None:
    assert "No cycle has run yet" in await read(harness)
    await harness.run_cycle()
    page = await read(harness)
    assert 'data-outcome="completed"' in page
    assert "0 of 3" in page


async def test_a_connection_tells_its_fault_in_words(harness: Harness) -> None:
    await harness.run_cycle()
    now = harness.clock.now()
    kind = ConnectionFactKind.CALL_FAILED
    fact = ConnectionFact("north", "live", kind, now, FaultClass.QUOTA, "429 Too Many")
    await harness.commit(Submission("poll", "trace", facts=(fact,)))
    page = await read(harness)
    assert "the quota of the account is used up: 429 Too Many" in page


async def test_an_outage_is_said_once_and_in_words(harness: Harness) -> None:
    for bus in BUSES:
        await harness.report(bus, soc_percent=50)
    harness.let_pass(HOUR)
    page = await read(harness)
    assert "Outage: collector late (us)." in page


async def test_trends_are_drawn_on_their_own_page(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=80)
    harness.let_pass(3 * HOUR)
    await harness.report("bus-1", soc_percent=60)
    page = await read(harness, f"{NORTH}/trends?search=bus-1")
    assert 'data-trend-of="bus-1"' in page
    assert "between 60\u202f% and 80\u202f%" in page
    assert "news in 2 of the last 24 hours" in page
    assert 'data-trend-of="bus-2"' not in page


async def test_a_workspace_that_the_key_does_not_see_is_not_there(harness: Harness) -> None:
    visitor = await visit(harness, "north")
    for path in ("/workspaces/south", "/workspaces/south/trends", "/workspaces/nothing"):
        assert (await visitor.get(path)).status == 404


async def test_a_legacy_system_that_is_away_is_explained(harness: Harness) -> None:
    await read_from(harness, "legacy")
    harness.legacy.fault = LegacyUnreachable("the legacy system answered 503")
    answer = await (await visit(harness)).get(NORTH)
    assert answer.status == 502
    assert b"legacy" in answer.body
