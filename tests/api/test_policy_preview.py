"""The preview of a policy tells what its PUT changes at once, and stores nothing."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from domain.model import ConnectionFact, ConnectionFactKind, FaultClass, Submission
from storage.gateway import open_bridge
from tests.api.conftest import SESSION
from tests.api.harness import BUSES, Harness, draft
from tests.api.standing_time import DatabaseClock, FrozenDatabase
from tests.conftest import make_postgres_stores

if TYPE_CHECKING:
    from tests.api.conftest import Populated

POLICY = "/workspaces/north/policy"
PREVIEW = f"{POLICY}/preview"
HEALTH = "/workspaces/north/health"
AUDIT = "/workspaces/north/audit"


async def preview(harness: Harness, body: Any, query: str = "") -> Any:
    answer = await harness.ask("POST", PREVIEW + query, json=body, key="control")
    assert answer.status == 200, answer.body
    return answer.json


async def make_one_stale(harness: Harness) -> None:
    """Bus 1 was heard 20 minutes ago, bus 2 just now, bus 3 never."""
    await harness.report("bus-1", soc_percent=80.0)
    harness.let_pass(1200)
    await harness.report("bus-2", soc_percent=80.0)
    await harness.run_cycle()


async def test_changes_are_counted_and_listed(harness: Harness) -> None:
    await make_one_stale(harness)
    shown = await preview(harness, {"stale_after_seconds": 1200, "grace_seconds": 600})
    assert (shown["devices"], shown["changed"]) == (3, 2)
    assert [tuple(change.values()) for change in shown["changes"]] == [
        ("stale", "device_silent", "delayed", "device_silent", 1),
        ("awaiting-first-data", "awaiting_first_data", "configured-no-data", "never_reported", 1),
    ]
    assert [item["device_id"] for item in shown["items"]] == ["bus-1", "bus-3"]
    first = shown["items"][0]
    assert (first["now"]["state"], first["then"]["state"]) == ("stale", "delayed")
    assert first["then"]["thresholds"]["stale_after_seconds"] == 1200.0
    assert shown["counts_now"]["stale"] == 1
    assert shown["counts_then"]["delayed"] == 1
    assert shown["policy"]["poll_interval_seconds"] == 300


async def test_a_preview_stores_nothing(harness: Harness) -> None:
    await make_one_stale(harness)
    paths = (POLICY, HEALTH, AUDIT, "/workspaces/north")
    before = [await harness.get(path) for path in paths]
    tag = (await harness.ask("GET", POLICY)).headers["etag"]
    await preview(harness, {"stale_after_seconds": 1200, "poll_interval_seconds": 600})
    assert [await harness.get(path) for path in paths] == before
    assert (await harness.ask("GET", POLICY)).headers["etag"] == tag
    assert harness.nudged.times == 0


async def test_a_whole_policy_means_the_same_as_in_a_put(harness: Harness) -> None:
    await harness.ask("PATCH", POLICY, json={"grace_seconds": 60}, headers={"If-Match": "*"})
    whole = await harness.get(POLICY)
    body = {name: value for name, value in whole.items() if name != "workspace_id"}
    assert (await preview(harness, body))["policy"] == whole
    assert (await preview(harness, {}))["policy"] == whole
    assert (await preview(harness, {"grace_seconds": None}))["policy"]["grace_seconds"] == 3600.0


@pytest.mark.parametrize(
    "body",
    [
        {"delayed_after_seconds": 299},
        {"stale_after_seconds": 360},
        {"poll_interval_seconds": 59},
        {"poll_interval_seconds": "300"},
        {"grace_second": 60},
        {"grace_second": None},
        [],
    ],
)
async def test_what_a_patch_refuses_is_refused_alike(harness: Harness, body: Any) -> None:
    refused = await harness.ask("PATCH", POLICY, json=body, headers={"If-Match": "*"})
    answer = await harness.ask("POST", PREVIEW, json=body)
    assert (answer.status, answer.problem) == (422, "invalid-body")
    assert answer.json["errors"] == refused.json["errors"]


async def test_another_interval_shows_the_place_that_it_gives(harness: Harness) -> None:
    """North has an interval of 300 s; the series of 600 s is empty."""
    schedule = (await preview(harness, {"poll_interval_seconds": 600}))["schedule"]
    await harness.ask(
        "PATCH", POLICY, json={"poll_interval_seconds": 600}, headers={"If-Match": "*"}
    )
    cycles = await harness.ask("POST", "/workspaces/north/cycles", json={"when": "next_start"})
    assert schedule["changes"] is True
    assert schedule["new_next_regular_start_at"] == cycles.json["start_at"]
    assert schedule["new_next_regular_start_at"] != schedule["next_regular_start_at"]


async def test_an_inactive_workspace_has_no_place(harness: Harness) -> None:
    await harness.ask("PATCH", "/workspaces/north", json={"active": False})
    shown = await preview(harness, {"poll_interval_seconds": 600})
    assert shown["schedule"] == {
        "changes": True,
        "next_regular_start_at": None,
        "new_next_regular_start_at": None,
    }
    assert shown["devices"] == 3


async def test_sources_tell_where_limits_come_from(harness: Harness) -> None:
    """An override and an expected period apply before the policy."""
    own = draft("bus-1", stale_after_seconds=7000.0)
    truck = draft("truck", provider_id="hourly", external_id="x-truck")
    await harness.stores.registry.put_devices("north", [own, truck])
    shown = await preview(harness, {"stale_after_seconds": 1200})
    assert shown["sources"] == {"device": 1, "workspace": 2, "expected_update_seconds": 1}


async def test_the_list_is_bounded_and_the_counts_are_whole(harness: Harness) -> None:
    drafts = [draft(f"tram-{number:04}", external_id=f"t-{number}") for number in range(1100)]
    await harness.stores.registry.put_devices("north", drafts)
    harness.let_pass(700)
    await harness.run_cycle()
    shown = await preview(harness, {"grace_seconds": 600}, "?limit=2")
    assert (shown["devices"], shown["changed"], len(shown["items"])) == (1103, 1103, 2)
    assert sum(change["devices"] for change in shown["changes"]) == 1103
    assert [item["device_id"] for item in shown["items"]] == ["bus-1", "bus-2"]
    refused = await harness.ask("POST", f"{PREVIEW}?limit=501", json={})
    assert (refused.status, refused.pointers) == (400, ["limit"])


# --- Preview equals what happens


class Moment(NamedTuple):
    """Something that happens to the fleet: `what`, and to which bus; then time passes."""

    what: str
    bus: str
    seconds: int


OVERRIDES: st.SearchStrategy[dict[str, float]] = st.sampled_from(
    [
        {},
        {"stale_after_seconds": 4000.0},
        {"delayed_after_seconds": 100.0, "grace_seconds": 50.0},
    ]
)
MOMENTS = st.builds(
    Moment,
    st.sampled_from(["report", "late_report", "cycle", "unanswered_cycle", "outage", "nothing"]),
    st.sampled_from([*BUSES, "truck"]),
    st.integers(0, 2000),
)
LIMIT = st.integers(1, 5000)


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    target, delayed, stale = sorted(draw(st.sets(LIMIT, min_size=3, max_size=3)))
    return {
        "freshness_target_seconds": target,
        "delayed_after_seconds": delayed,
        "stale_after_seconds": stale,
        "grace_seconds": draw(LIMIT),
        "poll_interval_seconds": draw(st.sampled_from([60, 300, 600, 3600])),
    }


# Without shrinking: on a database it takes longer than the test may.
@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    moments=st.lists(MOMENTS, max_size=8),
    override=OVERRIDES,
    first=policies(),
    second=policies(),
)
def test_a_preview_equals_what_happens(
    populated: Populated,
    moments: list[Moment],
    override: dict[str, float],
    first: dict[str, Any],
    second: dict[str, Any],
) -> None:
    trio.run(_compare, populated, moments, override, first, second)


async def _compare(
    populated: Populated,
    moments: list[Moment],
    override: dict[str, float],
    first: dict[str, Any],
    second: dict[str, Any],
) -> None:
    async with open_bridge(), aclosing(FrozenDatabase(populated.dsn, DatabaseClock())) as database:
        await database.run(lambda connection: connection.execute(populated.go_back))
        harness = Harness(make_postgres_stores(database), database.clock, SESSION, Path())
        harness.tokens.update(populated.tokens)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(harness.ingest.run)
            await _live_through(harness, moments, override, first)
            await _judge(harness, second)
            nursery.cancel_scope.cancel()


async def _live_through(
    harness: Harness, moments: list[Moment], override: dict[str, float], policy: dict[str, Any]
) -> None:
    drafts = [
        draft("bus-1", **override),
        draft("truck", provider_id="hourly", external_id="x-truck"),
    ]
    await harness.stores.registry.put_devices("north", drafts)
    await _put(harness, policy)
    for moment in moments:
        await _happen(harness, moment)
        harness.let_pass(moment.seconds)


async def _happen(harness: Harness, moment: Moment) -> None:
    match moment.what:
        case "report":
            await harness.report(moment.bus, soc_percent=50.0)
        case "late_report":
            observed_at = harness.clock.now().replace(hour=1)
            await harness.report(moment.bus, soc_percent=50.0, observed_at=observed_at)
        case "cycle":
            await harness.run_cycle()
        case "unanswered_cycle":
            await harness.run_cycle(is_answered=False)
        case "outage":
            now = harness.clock.now()
            failed = ConnectionFactKind.CALL_FAILED
            fact = ConnectionFact("north", "live", failed, now, fault=FaultClass.OUTAGE)
            await harness.commit(Submission("poll", "trace-outage", facts=(fact,)))


async def _put(harness: Harness, policy: dict[str, Any]) -> Any:
    answer = await harness.ask("PUT", POLICY, json=policy, headers={"If-Match": "*"})
    assert answer.status == 200, answer.body
    return answer.json


async def _judge(harness: Harness, policy: dict[str, Any]) -> None:
    before = await harness.get(HEALTH)
    shown = await preview(harness, policy)
    stored = await _put(harness, policy)
    after = await harness.get(HEALTH)
    changed = {item["device_id"]: item for item in shown["items"]}
    expected = {
        then["device_id"]: {"now": _essence(now), "then": _essence(then)}
        for now, then in zip(before["items"], after["items"], strict=True)
        if (now["state"], now["reason"]) != (then["state"], then["reason"])
    }
    assert {
        name: {"now": item["now"], "then": item["then"]} for name, item in changed.items()
    } == expected
    assert shown["counts_now"] == before["counts"]
    assert shown["counts_then"] == after["counts"]
    assert shown["policy"] == stored
    assert shown["schedule"]["next_regular_start_at"] == _next_poll_at(before)
    assert shown["schedule"]["new_next_regular_start_at"] == _next_poll_at(after)
    assert sum(shown["sources"].values()) == len(after["items"])


def _essence(item: dict[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("state", "reason", "thresholds")}


def _next_poll_at(report: dict[str, Any]) -> str:
    return str(report["items"][0]["evidence"]["next_poll_at"])
