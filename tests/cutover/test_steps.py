"""What is compared after a cycle, and when guardrails act, over the real stores."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from domain.cutover import NEW_CUTOVER, PollOwner, ReadOwner
from domain.parity import DeviceView, ParityVerdict
from ports.cutovers import new_draft
from ports.legacy import LegacyUnfit, LegacyUnreachable
from tests.cutover.depot import BUSES, DEPOT, LEGACY, LIVE, ON_SPARE, SHADOW, guardrails_of, view

if TYPE_CHECKING:
    from tests.cutover.depot import Depot

ROLLED_BACK = replace(NEW_CUTOVER, poll_owner=PollOwner.LEGACY, read_owner=ReadOwner.LEGACY)
NEVER = DeviceView({}, None)


async def run_slots(depot: Depot, number: int, **rest: Any) -> list[bool]:
    """Run slots after which the legacy system shows the same. Returns what guardrails did."""
    done = []
    for _ in range(number):
        await depot.pass_slot(**rest)
        depot.show_same()
        done.append(await depot.take_steps())
    return done


async def fail_slots(depot: Depot, number: int) -> list[bool]:
    """Run slots in which no provider answers us, and the legacy system hears every bus."""
    done = []
    for _ in range(number):
        await depot.pass_slot(answered=())
        fresh = {bus.replace("-", "_"): view(depot.now, 1.0) for bus in BUSES}
        depot.show_same(**fresh)
        done.append(await depot.take_steps())
    return done


# --- comparing


async def test_acceptance_12_every_cycle_in_shadow_is_compared(depot: Depot) -> None:
    await run_slots(depot, 2)
    newest, former = await depot.comparisons()
    assert newest.slot_start_at == depot.now
    assert former.counts == newest.counts
    assert newest.counts.by_verdict[ParityVerdict.EQUAL] == newest.counts.devices == 20
    assert (newest.samples, newest.why) == ([], None)


async def test_the_worst_mismatches_come_first(depot: Depot) -> None:
    await depot.pass_slot()
    depot.show_same(
        bus_03=view(depot.now, 99.0),
        bus_02=NEVER,
        bus_99=view(depot.now, 1.0),
        bus_01=DeviceView({}, None, is_readable=False),
    )
    await depot.take_steps()
    (found,) = await depot.comparisons()
    assert {name: number for name, number in found.counts.by_verdict.items() if number} == {
        ParityVerdict.EQUAL: 17,
        ParityVerdict.MISSING_HERE: 1,
        ParityVerdict.DIFFERENT: 1,
        ParityVerdict.MISSING_THERE: 1,
        ParityVerdict.INCOMPARABLE: 1,
    }
    assert [(one["device_id"], one["verdict"]) for one in found.samples] == [
        ("bus-99", "missing_here"),
        ("bus-03", "different"),
        ("bus-02", "missing_there"),
    ]
    assert found.samples[1] == {
        "device_id": "bus-03",
        "vehicle_id": "v-bus-03",
        "verdict": "different",
        "signal": "soc_percent",
        "core": "1.0",
        "legacy": "99.0",
    }


async def test_at_most_twenty_samples_are_kept(depot: Depot) -> None:
    await depot.pass_slot()
    depot.show_same(**{f"bus_{number}": view(depot.now, 1.0) for number in range(50, 75)})
    await depot.take_steps()
    (found,) = await depot.comparisons()
    assert (len(found.samples), found.counts.by_verdict[ParityVerdict.MISSING_HERE]) == (20, 25)


@pytest.mark.parametrize(
    "fault",
    [LegacyUnreachable("no answer within 3 s"), LegacyUnfit("data", "found nothing")],
    ids=["unreachable", "unfit"],
)
async def test_without_an_answer_every_device_is_incomparable(
    depot: Depot, fault: LegacyUnreachable | LegacyUnfit
) -> None:
    await depot.pass_slot()
    depot.harness.legacy.fault = fault
    await depot.take_steps()
    (found,) = await depot.comparisons()
    assert (found.counts.devices, found.counts.comparable) == (20, 0)
    assert (found.why, found.samples) == (str(fault), [])


@pytest.mark.parametrize("poll_owner", [PollOwner.CORE, PollOwner.LEGACY])
async def test_under_other_flags_nothing_is_compared(depot: Depot, poll_owner: PollOwner) -> None:
    await depot.put(replace(SHADOW, poll_owner=poll_owner, read_owner=ReadOwner.LEGACY))
    await run_slots(depot, 1)
    assert await depot.comparisons() == []
    assert depot.harness.legacy.asked == []


# --- guarding


async def test_a_calm_depot_stays(depot: Depot) -> None:
    assert not any(await run_slots(depot, 14))
    assert await depot.events() == []


async def test_acceptance_13_sc_08_a_failing_provider_rolls_back_once(depot: Depot) -> None:
    await run_slots(depot, 12)
    assert await fail_slots(depot, 1) == [False]  # one failed cycle is no reason
    assert await fail_slots(depot, 3) == [True, False, False]
    (event,) = await depot.events()
    assert (event.kind, event.why_not) == ("rollback", None)
    stored = await depot.stored()
    assert stored.draft.flags == ROLLED_BACK
    assert stored.rolled_back_at is not None


async def test_acceptance_13_nothing_is_destroyed(depot: Depot) -> None:
    await run_slots(depot, 12)
    before = await depot.harness.stores.parity.load_core_views(DEPOT)
    await fail_slots(depot, 2)
    assert (await depot.stored()).draft.flags == ROLLED_BACK
    assert await depot.harness.stores.parity.load_core_views(DEPOT) == before
    assert len(await depot.comparisons()) == 14
    assert (await depot.stored()).draft.legacy == LEGACY


async def test_one_failed_cycle_of_twelve_is_no_reason(depot: Depot) -> None:
    for _ in range(3):
        assert not any(await run_slots(depot, 11))
        assert not any(await fail_slots(depot, 1))
    assert await depot.events() == []


async def test_an_hourly_provider_is_no_reason(depot: Depot) -> None:
    """Its buses report each fourth slot; the legacy system hears the same."""
    registry = depot.harness.stores.registry
    spare = await registry.get_provider(DEPOT, "spare")
    assert spare is not None
    await registry.put_provider(replace(spare, expected_update_seconds=3600.0))
    for number in range(20):
        silent = ON_SPARE if number % 4 else ()
        assert not any(await run_slots(depot, 1, silent=silent))
    assert await depot.events() == []


async def test_a_parked_night_is_no_reason(depot: Depot) -> None:
    """No bus reports for eight hours. The legacy system stamps each at each poll of its own."""
    await run_slots(depot, 12)
    for _ in range(32):
        await depot.pass_slot(silent=BUSES)
        parked = {
            bus.replace("-", "_"): view(at, value, received_at=depot.now)
            for bus, (at, value) in depot.heard.items()
        }
        depot.show_same(**parked)
        assert not await depot.take_steps()
    assert await depot.events() == []


async def test_a_connection_that_is_switched_off_is_no_reason(depot: Depot) -> None:
    """A fifth of the buses: they are incomparable, so the gate would be shut."""
    registry = depot.harness.stores.registry
    spare = await registry.get_provider(DEPOT, "spare")
    assert spare is not None
    await registry.put_provider(replace(spare, active=False))
    for _ in range(14):
        await depot.pass_slot(silent=ON_SPARE)
        depot.show_same(**{bus.replace("-", "_"): view(depot.now, 9.0) for bus in ON_SPARE})
        assert not await depot.take_steps()
    counts = (await depot.comparisons())[0].counts
    assert (counts.devices, counts.comparable, counts.mismatched) == (20, 16, 0)
    assert await depot.events() == []


async def test_a_mismatch_that_lasts_rolls_back(depot: Depot) -> None:
    done = []
    for _ in range(3):
        await depot.pass_slot()
        depot.show_same(bus_01=view(depot.now, 99.0), bus_02=view(depot.now, 99.0))
        done.append(await depot.take_steps())
    assert done == [False, False, True]
    (event,) = await depot.events()
    assert (guardrails_of(event), event.crossings[0]["measured"]) == (["parity"], 0.1)


async def test_a_mismatch_acts_in_shadow_only(depot: Depot) -> None:
    await depot.put(NEW_CUTOVER)
    for _ in range(4):
        await depot.pass_slot()
        depot.show_same(bus_01=view(depot.now, 99.0), bus_02=view(depot.now, 99.0))
        assert not await depot.take_steps()
    assert await depot.comparisons() == []


async def test_freshness_is_judged_after_the_shadow_too(depot: Depot) -> None:
    await depot.put(NEW_CUTOVER)
    await run_slots(depot, 12)
    assert await fail_slots(depot, 2) == [False, True]
    assert guardrails_of((await depot.events())[0]) == ["freshness"]


async def test_a_dead_legacy_system_is_told_and_not_gone_back_to(depot: Depot) -> None:
    await run_slots(depot, 12)
    depot.harness.legacy.fault = LegacyUnreachable("no answer within 3 s")
    assert await fail_slots(depot, 6) == [False, False, True, False, False, False]
    (event,) = await depot.events()
    assert (event.kind, guardrails_of(event)) == ("alert", ["cycles"])
    assert event.why_not is not None
    assert "did not answer" in event.why_not
    assert (await depot.stored()).draft.flags == SHADOW


async def test_without_a_legacy_system_there_is_an_alert(depot: Depot) -> None:
    await depot.put(NEW_CUTOVER, legacy=None)
    await run_slots(depot, 12)
    assert await fail_slots(depot, 3) == [False, False, True]
    (event,) = await depot.events()
    assert event.kind == "alert"
    assert depot.harness.legacy.asked == []


async def test_a_second_guardrail_within_the_hour_only_alerts(depot: Depot) -> None:
    await run_slots(depot, 12)
    await fail_slots(depot, 2)
    await depot.put(SHADOW)  # a person
    assert await fail_slots(depot, 2) == [False, True]
    assert [event.kind for event in await depot.events()] == ["rollback", "alert"]
    assert (await depot.stored()).draft.flags == SHADOW
    # Another guardrail is another alert. After the hour it acts.
    assert await fail_slots(depot, 2) == [True, True]
    assert [event.kind for event in await depot.events()] == [
        *("rollback", "alert", "alert", "rollback")
    ]
    assert (await depot.stored()).draft.flags == ROLLED_BACK


async def test_who_does_not_own_the_depot_does_not_act(depot: Depot) -> None:
    await run_slots(depot, 12)
    await fail_slots(depot, 1)
    await depot.pass_slot(answered=())
    depot.show_same(**{bus.replace("-", "_"): view(depot.now, 1.0) for bus in BUSES})
    former = depot.ownership._replace(token=depot.ownership.token + 1)
    assert not await depot.take_steps(ownership=former)
    assert await depot.events() == []
    assert await depot.take_steps()


async def test_the_limits_are_the_workspaces_own(depot: Depot) -> None:
    draft = new_draft(SHADOW)._replace(legacy=LEGACY)
    limits = draft.guardrails._replace(cycles=2, min_completed_cycles=2.0)
    await depot.put_draft(draft._replace(guardrails=limits))
    await run_slots(depot, 2)
    done = []
    for _ in range(2):
        await depot.pass_slot(answered=[LIVE])  # half of the connections
        depot.show_same()
        done.append(await depot.take_steps())
    assert done == [True, False]
    assert (await depot.events())[0].crossings[0]["measured"] == 1.5
