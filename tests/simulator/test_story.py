"""Troubles of an account, the true story, and the fleets with every fault."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from trio_websocket import ConnectionClosed

from simulator.config import ConfigInvalid, Vendor
from simulator.everything import ACCOUNTS, EverythingPace, everything_config
from simulator.manners import assign_reporting
from simulator.provider import SimulatedProvider, StreamLogEntry
from simulator.quirks import Quirk
from simulator.reporting import Reporting
from simulator.roster import Roster
from simulator.story import Episode, tell
from simulator.windows import Trouble, Window, trouble_at
from tests.simulator.conftest import NOON, harbour, running, westgate
from tests.simulator.wire import client, listening, shake_hands

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RECURRING = Window(Trouble.QUOTA, every=60, length=20)


@pytest.mark.parametrize(
    ("seconds", "trouble"),
    [
        (0, None),
        (59.9, None),
        (60, (Trouble.QUOTA, 80)),
        (79.9, (Trouble.QUOTA, 80)),
        (80, None),
        (125, (Trouble.QUOTA, 140)),
    ],
)
def test_a_trouble_comes_back(seconds: float, trouble: tuple[Trouble, float] | None) -> None:
    assert trouble_at((RECURRING,), seconds) == trouble


@pytest.mark.parametrize(("flag", "status"), [("outage", 503), ("quota", 429), ("refusal", 401)])
async def test_a_trouble_is_every_answer(
    flag: str, status: int, until: Callable[..., Awaitable[None]]
) -> None:
    faults = f"{flag}_every=0.05,{flag}_for=60"
    async with running(harbour(faults=faults)) as simulator, client(simulator) as http:
        await until(lambda: simulator.elapsed() > 0.1)
        key = {"x-api-key": simulator.providers[0].tenant.credential}
        answers = {(await http.get("/api/v1/my/assets", headers=key)).status_code for _ in range(9)}
        refused = await shake_hands(http, key["x-api-key"])
    assert answers == {status}
    assert refused.status_code == status


async def test_data_comes_in_rare_forms_and_lists_do_not() -> None:
    async with running(harbour(faults="legal_forms=1")) as simulator, client(simulator) as http:
        provider = simulator.providers[0]
        key = {"x-api-key": provider.tenant.credential}
        for _ in range(8):
            await http.post("/api/v2/state", headers=key, json={"bus_0001": ["soc"]})
            assert len((await http.get("/api/v1/my/assets", headers=key)).json()) == 3
    assert sum(provider.injected.values()) == 8


async def test_a_trouble_cuts_open_streams(until: Callable[..., Awaitable[None]]) -> None:
    async with (
        running(harbour(faults="outage_every=0.5,outage_for=60")) as simulator,
        listening(simulator) as heard,
    ):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await heard.get_message()
        await until(lambda: simulator.connections[0].ending is not None)
        assert simulator.connections[0].ending == "cut_by_fault"


def told(flags: str, *, seconds: float = 100.0) -> list[Episode]:
    roster = Roster(harbour(1, faults=flags), 7, lambda _: 1.0)
    list(roster.turns(seconds))
    return tell(roster, NOON, ())


@pytest.mark.parametrize(
    ("flags", "cause", "party", "since", "until", "stops_data"),
    [
        ("never=1", "never", "device", 0, None, True),
        ("silent=1,silent_after=15", "silent", "device", 15, None, True),
        ("silent=1,silent_after=15,silent_for=5", "silent", "device", 15, 20, True),
        ("left_out=1,quirks_after=30", "left_out", "customer", 30, None, True),
        ("clock_ahead=1,quirks_after=30", "clock_ahead", "device", 0, None, True),
        ("loose_types=1", "loose_types", "provider", 0, None, False),
        ("late=1", "late", "device", 0, None, False),
        ("signal_stops=1,signal_stops_after=9", "signal_stops soc", "device", 9, None, False),
        ("malformed_records=1", "malformed_records", "provider", 0, None, True),
    ],
)
def test_a_vehicle_has_its_episode(
    flags: str, cause: str, party: str, since: float, until: float | None, stops_data: bool
) -> None:
    end = None if until is None else NOON + until
    assert told(flags) == [Episode("bus_0001", cause, party, NOON + since, end, stops_data)]


def test_an_account_has_its_troubles() -> None:
    assert told("refusal_every=60,refusal_for=20", seconds=130) == [
        Episode(None, "refusal", "customer", NOON + 60, NOON + 80, True),
        Episode(None, "refusal", "customer", NOON + 120, NOON + 140, True),
    ]


def test_a_change_ends_an_episode() -> None:
    roster = Roster(harbour(1, faults="never=1"), 7, lambda _: 1.0)
    roster.change_reporting("bus_0001", Reporting(quirk=Quirk.REPEATS), 40.0)
    assert tell(roster, NOON, ()) == [
        Episode("bus_0001", "never", "device", NOON, NOON + 40, True),
        Episode("bus_0001", "repeats", "device", NOON + 40, None, True),
    ]


def test_the_gap_between_two_streams_is_an_episode() -> None:
    roster = Roster(harbour(1), 7, lambda _: 1.0)
    first = StreamLogEntry("harbour", 1, 10.0, 10.0, closed_at=20.0, ending="cut_by_fault")
    second = StreamLogEntry("harbour", 2, 23.0, 23.0, closed_at=30.0, ending="client_closed")
    assert tell(roster, NOON, (first, second)) == [
        Episode(None, "disconnect", "provider", 20.0, 23.0, True)
    ]


async def test_the_story_can_be_read() -> None:
    async with (
        running(harbour(faults="never=0.1"), westgate()) as simulator,
        client(simulator) as http,
    ):
        story = (await http.get("/sim/story")).json()
    assert [each["cause"] for each in story["harbour"]] == ["never"]
    assert story["westgate"] == []


def test_a_quirk_can_be_set_while_it_runs() -> None:
    provider = SimulatedProvider(harbour(1), 7)
    provider.roster.change_reporting("bus_0001", Reporting(quirk=Quirk.FILL_VALUES), 1.0)
    assert provider.roster.quirk_of(0) is Quirk.FILL_VALUES


# Every fault at once


def test_every_account_has_every_quirk_of_its_vendor() -> None:
    config = everything_config(200)
    met: Counter[tuple[Vendor, Quirk]] = Counter()
    for tenant in config.tenants:
        ids = [vehicle.vehicle_id for vehicle in tenant.vehicles]
        chosen = assign_reporting(tenant.faults, 1, ids)
        assert len(ids) - len(chosen) >= 2  # some vehicles without any
        met.update((tenant.vendor, each.quirk) for each in chosen.values() if each.quirk)
    assert {quirk for _, quirk in met} == set(Quirk)
    assert set(met.values()) == {ACCOUNTS // 2}
    assert sum(len(tenant.vehicles) for tenant in config.tenants) == 200


def test_the_fleets_come_from_the_seed() -> None:
    assert everything_config(200, 3) == everything_config(200, 3) != everything_config(200, 4)


def test_too_few_devices_are_refused() -> None:
    with pytest.raises(ConfigInvalid, match="100 devices are too few: 8 accounts need 23 each"):
        everything_config(100)


def test_a_faster_pace_has_shorter_troubles() -> None:
    pace = EverythingPace(trouble_every=120, trouble_for=40).times(4)
    assert (pace.trouble_every, pace.trouble_for) == (30, 10)
