"""What core shows to the comparison with a legacy system, and what comparisons found."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio

from domain.model import ProviderConnection, SessionRef
from domain.parity import DeviceView, ParityCounts, ParityVerdict, ShownValue
from domain.registry import Swap
from ports.parity import ParityCycle
from storage.rows import to_parity_counts
from tests.conftest import execute
from tests.storage.contract.cast import DEVICES, HARBOUR, ISLAND

if TYPE_CHECKING:
    from ports.parity import CoreView
    from tests.storage.contract.cast import PostgresWorld


@pytest.fixture
def place(dsn: str) -> str:
    """The twin does not have these ports."""
    return dsn


async def views(world: PostgresWorld) -> dict[str, CoreView]:
    return {one.device_id: one for one in await world.stores.parity.load_core_views(HARBOUR)}


async def test_every_active_device_is_shown_with_its_ids_and_limit(world: PostgresWorld) -> None:
    await world.stores.registry.retire_device(HARBOUR, "bus-2")
    found = await views(world)
    assert sorted(found) == ["bus-1", "ferry-1", "tram-1"]
    ferry = found["ferry-1"]
    assert ferry[:5] == ("ferry-1", "slow", "x-ferry-1", "v-ferry-1", 4320.0)
    assert ferry.view == DeviceView({}, None)


async def test_a_value_is_shown_with_its_times(world: PostgresWorld) -> None:
    first, again = world.ago(minutes=5), world.ago(minutes=3)
    await world.send(world.update("bus-1", first, soc_percent=50.0, position=(52.0, 5.0)))
    await world.send(world.update("bus-1", again, soc_percent=50.0))
    view = (await views(world))["bus-1"].view
    assert view.values == {
        "soc_percent": ShownValue(50.0, again, first),
        "position": ShownValue((52.0, 5.0), first, first),
    }
    assert view.received_at == again


async def test_a_poll_says_nothing_about_the_time_between_two_polls(world: PostgresWorld) -> None:
    await world.stores.registry.put_provider(
        ProviderConnection(HARBOUR, "steady", "simulated", "poll", "http://127.0.0.1:1", None)
    )
    at = world.ago(minutes=3)
    await world.send(world.update("bus-1", at, speed_kmh=0.0, odometer_km=7.0))
    assert (await views(world))["bus-1"].view.values == {
        "speed_kmh": ShownValue(0.0, at, None),
        "odometer_km": ShownValue(7.0, at, at),  # it only grows
    }


async def test_a_value_that_has_ended_is_not_shown(world: PostgresWorld) -> None:
    await world.send(
        world.update("bus-1", world.ago(minutes=5), charging=True, charging_power_kw=50.0)
    )
    await world.send(world.update("bus-1", world.ago(minutes=4), charging=False))
    assert list((await views(world))["bus-1"].view.values) == ["charging"]


async def test_values_of_an_earlier_assignment_are_not_shown(world: PostgresWorld) -> None:
    await world.send(world.update("bus-1", world.ago(minutes=5), soc_percent=50.0))
    swap = Swap("steady", "x-other", "v-bus-1", "Bus-1")
    await world.stores.registry.swap_device(HARBOUR, "bus-1", swap)
    assert (await views(world))["bus-1"].view == DeviceView({}, None)


async def test_an_unknown_workspace_shows_nothing(world: PostgresWorld) -> None:
    assert await world.stores.parity.load_core_views("nowhere") == []


# --- what comparisons found


def compared(world: PostgresWorld, minutes: float, equal: int = 4, **rest: Any) -> ParityCycle:
    """Return a comparison of the slot so many minutes ago."""
    slot = world.ago(minutes=minutes)
    plain = ParityCycle(
        slot,
        f"cycle-{minutes:g}",
        slot + timedelta(seconds=20),
        ParityCounts(len(DEVICES), {**dict.fromkeys(ParityVerdict, 0), ParityVerdict.EQUAL: equal}),
        [{"device_id": "bus-1", "vehicle_id": "v-bus-1", "verdict": "older", "signal": None}],
    )
    return plain._replace(**rest)


async def record(world: PostgresWorld, *cycles: ParityCycle) -> None:
    for cycle in cycles:
        assert await world.stores.parity.record_parity(world.session, HARBOUR, cycle)


async def counts(world: PostgresWorld, limit: int) -> list[int]:
    """Return what the gate reads: the devices that are equal, of each cycle."""
    rows = await world.inside.ask("load_gate_cycles", HARBOUR, limit, False)
    return [row[0] for row in rows]


async def test_comparisons_are_listed_newest_first(world: PostgresWorld) -> None:
    old, new = compared(world, 10), compared(world, 5)
    await record(world, new, old)
    reads = world.stores.parity_reads
    assert await reads.list_parity(HARBOUR, limit=10) == [new, old]
    assert await reads.list_parity(HARBOUR, limit=1) == [new]
    assert await reads.list_parity(HARBOUR, limit=10, before=new.slot_start_at) == [old]
    assert await reads.list_parity(ISLAND, limit=10) == []


async def test_a_comparison_is_recorded_once(world: PostgresWorld) -> None:
    once = compared(world, 5)
    await record(world, once, once._replace(why="another"))
    assert await world.stores.parity_reads.list_parity(HARBOUR, limit=10) == [once]


async def test_a_fenced_session_records_nothing(world: PostgresWorld) -> None:
    over = SessionRef(world.session.shard_id, world.session.epoch - 1)
    cycle = compared(world, 5)
    assert not await world.stores.parity.record_parity(over, HARBOUR, cycle)
    assert await world.stores.parity_reads.list_parity(HARBOUR, limit=10) == []


async def test_the_gate_reads_the_newest_slots_once_each(world: PostgresWorld) -> None:
    first = compared(world, 5, equal=1)
    later = first.compared_at + timedelta(minutes=1)
    again = compared(world, 5, equal=2, cycle_id="again", compared_at=later)
    await record(world, again, first, compared(world, 10, equal=3), compared(world, 15, equal=4))
    assert await counts(world, 2) == [2, 3]
    listed = await world.stores.parity_reads.list_parity(HARBOUR, limit=10)
    assert [one.cycle_id for one in listed] == ["again", "cycle-10", "cycle-15"]


async def test_the_gate_reads_no_comparison_of_long_ago(world: PostgresWorld) -> None:
    await record(world, compared(world, 19, equal=1), compared(world, 21, equal=2))
    assert await counts(world, 2) == [1]  # twice the time of two cycles of five minutes


async def test_the_gate_reads_no_comparison_under_other_providers(
    world: PostgresWorld, dsn: str
) -> None:
    await record(world, compared(world, 5, equal=1), compared(world, 10, equal=2))
    change = "UPDATE workspaces SET asking_changed_at = clock_timestamp() - interval '7 minutes'"
    await trio.to_thread.run_sync(execute, dsn, change)
    assert await counts(world, 12) == [1]


def test_a_comparison_with_a_why_counts_as_incomparable() -> None:
    row: dict[str, Any] = dict.fromkeys(ParityVerdict, 1)
    assert to_parity_counts({**row, "why": None}).comparable == 5
    assert to_parity_counts({**row, "why": "unreachable"}).comparable == 0
