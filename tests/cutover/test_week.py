"""A seeded week of faults against the guardrails."""

from __future__ import annotations

import os
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from domain.parity import DeviceView
from ports.legacy import LegacyUnreachable
from tests.cutover.depot import BUSES, SHADOW, guardrails_of, older, view
from tests.cutover.week import Act, Expectation, make_week, reporting

if TYPE_CHECKING:
    from tests.cutover.depot import Depot
    from tests.cutover.week import Slot

SEED: Final = int(os.environ.get("WEEK_SEED", "20260501"))


async def run(depot: Depot, slot: Slot) -> None:
    """Let the slot pass, and show what the legacy system shows after it."""
    silent = set(BUSES) - set(reporting(slot))
    await depot.pass_slot(answered=slot.answered, silent=silent)
    shown = {}
    for bus, (heard_at, value) in depot.heard.items():
        at = older(depot.now if not slot.parked else heard_at, slot.lag_seconds)
        told = value + 25 if bus in slot.wrong else value
        shown[bus] = DeviceView({}, None) if bus in slot.lost else view(at, told)
    depot.harness.legacy.show(shown, depot.now)
    depot.harness.legacy.fault = None if slot.legacy_answers else LegacyUnreachable("away")
    await depot.take_steps()


@pytest.mark.timeout(300)
async def test_acceptance_13_a_week_of_faults_rolls_back_with_reason_only(depot: Depot) -> None:
    """No rollback without reason, none missing, none twice."""
    random = Random(SEED)
    expected, returns_at, began_at = Expectation(), None, depot.now
    await run(depot, make_week(Random(0))[0]._replace(answered=frozenset({"live", "spare"})))
    for number, slot in enumerate(make_week(random)):
        if number == returns_at:
            await depot.put(SHADOW)
            expected.return_to_core()
        await run(depot, slot)
        at = (depot.now - began_at).total_seconds()
        heard = {bus: (when - began_at).total_seconds() for bus, (when, _) in depot.heard.items()}
        read_core = expected.reads_core
        expected.after(number, slot, at, heard)
        depot.flags = (await depot.stored()).draft.flags
        assert (depot.flags == SHADOW) is expected.reads_core, (SEED, number, slot)
        if read_core and not expected.reads_core:
            returns_at = number + random.choice((1, 2, 6))

    done = [(event.kind, tuple(guardrails_of(event))) for event in await depot.events()]
    assert done == [(act.kind, act.guardrails) for act in expected.acts], SEED
    kinds = Counter(act.kind for act in expected.acts)
    assert kinds["rollback"] >= 5, "this week shows too little"
    assert kinds["alert"] >= 5, "this week shows too little"
    assert _seen(expected.acts) == {"cycles", "freshness", "parity"}


def _seen(acts: list[Act]) -> set[str]:
    return {name for act in acts for name in act.guardrails}
