"""GET …/cutover/parity: what the comparisons found, and why nothing is compared."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from domain.cutover import NEW_CUTOVER, PollOwner, ReadOwner
from domain.parity import ParityCounts, ParityVerdict
from ports.cutovers import Force, new_draft
from ports.parity import ParityCycle
from tests.legacy.scripted import CONFIGURATION

if TYPE_CHECKING:
    from tests.api.harness import Harness

PATH = "/workspaces/north/cutover/parity"
SAMPLE = {
    "device_id": "bus-1",
    "vehicle_id": "v-bus-1",
    "verdict": "different",
    "signal": "soc_percent",
    "core": "61.5",
    "legacy": "48.0",
}


async def put(harness: Harness, poll_owner: PollOwner) -> None:
    flags = replace(NEW_CUTOVER, poll_owner=poll_owner, read_owner=ReadOwner.LEGACY)
    draft = new_draft(flags)._replace(legacy=CONFIGURATION)
    await harness.stores.cutovers.put_cutover("north", draft=draft, force=Force("a test"))


async def record(harness: Harness, minutes: int, **rest: Any) -> None:
    """Record a comparison of the slot so many minutes ago."""
    slot = harness.clock.now() - timedelta(minutes=minutes)
    counts = ParityCounts(4, {ParityVerdict.EQUAL: 3, ParityVerdict.DIFFERENT: 1})
    cycle = ParityCycle(slot, f"cycle-{minutes}", slot, counts, [SAMPLE])._replace(**rest)
    assert await harness.stores.parity.record_parity(harness.session, "north", cycle)


@pytest.mark.parametrize("poll_owner", [PollOwner.CORE, PollOwner.LEGACY])
async def test_under_other_flags_nothing_is_compared(
    harness: Harness, poll_owner: PollOwner
) -> None:
    await record(harness, 5)
    await put(harness, poll_owner)
    answer = await harness.get(PATH)
    assert answer["now"] == "incomparable"
    assert f"poll_owner is {poll_owner}" in answer["why"]
    assert [one["cycle_id"] for one in answer["items"]] == ["cycle-5"]  # what was before


async def test_in_shadow_the_newest_comparison_says_how_it_is(harness: Harness) -> None:
    await put(harness, PollOwner.BOTH_SHADOW)
    for minutes in (10, 5):
        await record(harness, minutes)
    answer = await harness.get(PATH)
    assert (answer["now"], answer["why"], answer["next_cursor"]) == ("comparable", None, None)
    assert answer["gate_view"] == {
        "is_open": False,
        "cycles": 2,
        "comparable_cycles": 2,
        "mismatch_share": 0.25,
    }
    newest, former = answer["items"]
    assert (newest["cycle_id"], former["cycle_id"]) == ("cycle-5", "cycle-10")
    assert (newest["devices"], newest["comparable_share"], newest["mismatch_share"]) == (4, 1, 0.25)
    counted = {name: number for name, number in newest["counts"].items() if number}
    assert counted == {"equal": 3, "different": 1}
    assert newest["counts"].keys() == set(ParityVerdict)
    assert newest["samples"] == [SAMPLE]


async def test_before_the_first_comparison_it_says_so(harness: Harness) -> None:
    await put(harness, PollOwner.BOTH_SHADOW)
    answer = await harness.get(PATH)
    assert (answer["now"], answer["items"]) == ("incomparable", [])
    assert "yet" in answer["why"]


async def test_a_legacy_system_that_did_not_answer_is_told(harness: Harness) -> None:
    await put(harness, PollOwner.BOTH_SHADOW)
    await record(harness, 10)
    await record(harness, 5, why="no answer within 3 s", samples=[])
    answer = await harness.get(PATH)
    assert (answer["now"], answer["why"]) == ("incomparable", "no answer within 3 s")
    newest = answer["items"][0]
    assert (newest["devices"], newest["comparable_share"], newest["mismatch_share"]) == (4, 0, None)
    assert newest["counts"]["incomparable"] == 4


async def test_the_trend_has_pages(harness: Harness) -> None:
    await put(harness, PollOwner.BOTH_SHADOW)
    for minutes in range(5, 30, 5):
        await record(harness, minutes)
    pages = await harness.walk(f"{PATH}?limit=2")
    listed = [[one["cycle_id"] for one in page["items"]] for page in pages]
    assert listed == [["cycle-5", "cycle-10"], ["cycle-15", "cycle-20"], ["cycle-25"]]
    assert {page["now"] for page in pages} == {"comparable"}


async def test_a_page_has_a_day_at_most(harness: Harness) -> None:
    assert (await harness.ask("GET", f"{PATH}?limit=288")).status == 200
    assert (await harness.ask("GET", f"{PATH}?limit=289")).problem == "invalid-parameter"


async def test_a_key_of_another_workspace_finds_none(harness: Harness) -> None:
    path = "/workspaces/south/cutover/parity"
    assert (await harness.ask("GET", path, key="north")).status == 404
