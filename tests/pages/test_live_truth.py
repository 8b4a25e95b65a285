"""An open page stays true: after any churn, and whatever it missed, it shows what the API says.

`make live-truth` plays longer. `LIVE_SEED=2` plays something else.
"""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING

import pytest

from api.pages.live_watch import Topic, Watch
from tests.pages.live_churn import Churn
from tests.pages.live_page import LivePage, differences

if TYPE_CHECKING:
    from tests.api.harness import Harness

TICKS = int(os.environ.get("LIVE_TICKS", "100"))
SEED = int(os.environ.get("LIVE_SEED", "1"))
WATCH = Watch(
    rows=frozenset({"north"}), counts=frozenset({"north"}), regions={"devices": Topic.STATES}
)


async def find_untruths(harness: Harness, page: LivePage) -> list[str]:
    """Return what a page shows wrongly. Under the legacy system it shows no rows of its own."""
    workspace = await harness.get("/workspaces/north/health?limit=500")
    if workspace["served_by"] == "legacy":
        return (
            [] if page.not_live == "legacy" and not page.rows else ["it is not left to reloading"]
        )
    found = await differences(page, harness)
    if page.counts.get("north") != workspace["counts"]:
        found.append(f"counts: {page.counts.get('north')} is not {workspace['counts']}")
    return found


@pytest.mark.timeout(120 + 3 * TICKS)
async def test_a_page_under_churn_stays_true(harness: Harness) -> None:
    random = Random(SEED)
    churn = Churn(harness, random)
    steady, sloppy = LivePage(WATCH), LivePage(WATCH)
    steady.open(harness.board)
    sloppy.open(harness.board)
    done: list[str] = []
    for _ in range(TICKS):
        done += [await churn.move() for _ in range(random.randrange(4))]
        harness.let_pass(5)
        await harness.board.tick()
        steady.take(harness.board)
        assert await find_untruths(harness, steady) == [], done[-12:]
        if random.random() < 0.2:  # it was away, or its difference was lost, or its id
            sloppy.seen = random.choice([0, sloppy.seen])
            sloppy.take(harness.board)
            assert await find_untruths(harness, sloppy) == [], done[-12:]


async def test_a_board_that_runs_again_tells_the_truth(harness: Harness) -> None:
    page = LivePage(WATCH)
    page.open(harness.board)
    await harness.board.tick()
    page.open_stack.close()
    harness.board.spaces.clear()
    await harness.report("bus-1", soc_percent=50.0)
    page.open(harness.board)
    await harness.board.tick()
    page.take(harness.board)
    assert await find_untruths(harness, page) == []
