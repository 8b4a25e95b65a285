"""A workspace under legacy_sync shows its newest synchronisation, and can be asked for one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ports.legacy import LegacyDevice, LegacyRegistry, LegacyUnfit, LegacyUnreachable, UnfitItem
from tests.legacy.scripted import SHAPE

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

CUTOVER = "/workspaces/north/cutover"
PATH = f"{CUTOVER}/sync"
LEGACY = {"base_url": "https://legacy.example/api", "credential": None, "shape": SHAPE}
SYNCED = {"device_registry_source": "legacy_sync", "legacy": LEGACY}
NO_COUNTS = dict.fromkeys(
    (
        *("unchanged", "created", "changed", "swapped", "activated", "returned", "retired"),
        *("held_back", "refused"),
    ),
    0,
)
NEVER: dict[str, Any] = {
    "workspace_id": "north",
    "outcome": None,
    "synced_at": None,
    "answered_at": None,
    "detail": None,
    "counts": NO_COUNTS,
    "held_back": [],
    "refused": [],
}


@pytest.fixture
async def fleet(harness: Harness) -> list[LegacyDevice]:
    """The devices of north as a legacy registry has them; north is under legacy_sync."""
    stored = (await harness.get("/workspaces/north/devices"))["items"]
    answer = await harness.ask("PUT", CUTOVER, json=SYNCED, headers={"If-Match": "*"})
    assert answer.status == 200
    return [LegacyDevice(*(one[name] for name in LegacyDevice._fields)) for one in stored]


def say(harness: Harness, devices: list[LegacyDevice], **rest: Any) -> None:
    """Let a minute pass, and let the legacy registry answer with these devices."""
    harness.let_pass(60)
    answered_at = harness.clock.now()
    harness.legacy.registry = LegacyRegistry(tuple(devices), (), answered_at)._replace(**rest)


async def sync(harness: Harness, **body: Any) -> Answer:
    return await harness.ask("POST", PATH, json=body)


async def test_before_the_first_one_there_is_nothing_to_show(harness: Harness) -> None:
    assert await harness.get(PATH) == NEVER


async def test_an_answer_is_applied_and_shown(harness: Harness, fleet: list[LegacyDevice]) -> None:
    new = fleet[0]._replace(device_id="bus-8", external_id="x-8")
    stranger = fleet[0]._replace(device_id="bus-9", provider_id="nobody")
    nudged = harness.nudged.times
    say(harness, [*fleet, new, stranger])
    answer = await sync(harness)
    assert answer.json == {
        **NEVER,
        "outcome": "synced",
        "synced_at": "2026-05-01T12:01:00Z",
        "answered_at": "2026-05-01T12:01:00Z",
        "counts": {**NO_COUNTS, "unchanged": len(fleet), "created": 1, "refused": 1},
        "refused": [
            {
                "device_id": "bus-9",
                "external_id": stranger.external_id,
                "field": "provider_id",
                "detail": "There is no provider nobody here.",
            }
        ],
    }
    assert await harness.get(PATH) == answer.json
    assert harness.nudged.times == nudged + 1
    assert (await harness.get("/workspaces/north/devices/bus-8"))["external_id"] == "x-8"


async def test_force_with_a_reason_believes_a_doubted_answer(
    harness: Harness, fleet: list[LegacyDevice]
) -> None:
    for outcome in ("doubted", "doubted"):
        say(harness, [])
        answer = (await sync(harness)).json
        assert answer["outcome"] == outcome
    assert [one["why"] for one in answer["held_back"]] == ["too_many_left_out"] * len(fleet)
    say(harness, [])
    forced = (await sync(harness, force={"reason": "the depot was sold"})).json
    assert forced["counts"] == {**NO_COUNTS, "retired": len(fleet)}
    audit = await harness.get("/workspaces/north/audit?kind=sync")
    assert audit["items"][0]["after"]["force"] == {"reason": "the depot was sold"}


async def test_a_dry_run_stores_nothing(harness: Harness, fleet: list[LegacyDevice]) -> None:
    say(harness, [*fleet, fleet[0]._replace(device_id="bus-8", external_id="x-8")])
    tried = (await sync(harness, dry_run=True)).json
    assert tried["counts"]["created"] == 1
    assert await harness.get(PATH) == NEVER
    assert (await harness.ask("GET", "/workspaces/north/devices/bus-8")).status == 404


async def test_an_answer_with_unfit_items_is_incomplete(
    harness: Harness, fleet: list[LegacyDevice]
) -> None:
    say(harness, fleet[1:], unfit=(UnfitItem(None, "/registry/device_id", "", b""),), unfit_count=1)
    answer = (await sync(harness, force={"reason": "tried out"})).json
    assert (answer["outcome"], answer["counts"]["held_back"]) == ("incomplete", 1)
    assert answer["held_back"][0]["why"] == "incomplete_answer"


@pytest.mark.parametrize(
    ("fault", "problem", "outcome"),
    [
        (LegacyUnreachable("no answer within 3 s"), "legacy-unreachable", "unreachable"),
        (LegacyUnfit("data.vehicles", "found nothing"), "legacy-unfit", "unfit"),
    ],
)
async def test_a_legacy_system_that_fails_changes_nothing(
    harness: Harness,
    fleet: list[LegacyDevice],
    fault: LegacyUnreachable | LegacyUnfit,
    problem: str,
    outcome: str,
) -> None:
    devices = await harness.get("/workspaces/north/devices")
    harness.legacy.fault = fault
    refused = await sync(harness)
    assert (refused.status, refused.problem) == (502, problem)
    assert refused.json.get("expression") == getattr(fault, "expression", None)
    shown = await harness.get(PATH)
    assert (shown["outcome"], shown["detail"]) == (outcome, str(fault))
    assert await harness.get("/workspaces/north/devices") == devices


async def test_without_legacy_sync_there_is_nothing_to_synchronise(harness: Harness) -> None:
    refused = await sync(harness)
    assert (refused.status, refused.problem) == (409, "conflict")
    assert "device_registry_source" in refused.json["detail"]
    assert harness.legacy.asked == []


async def test_an_archived_workspace_is_not_synchronised(
    harness: Harness, fleet: list[LegacyDevice]
) -> None:
    for method, body in (("PATCH", {"active": False}), ("DELETE", None)):
        await harness.ask(method, "/workspaces/north", json=body, headers={"If-Match": "*"})
    say(harness, fleet)
    refused = await sync(harness)
    assert (refused.status, refused.problem) == (409, "conflict")
    assert "is archived" in refused.json["detail"]
    assert "again" not in refused.json["detail"].replace("used again", "")


async def test_an_answer_that_was_applied_already_is_refused(
    harness: Harness, fleet: list[LegacyDevice]
) -> None:
    say(harness, fleet)
    assert (await sync(harness)).status == 200
    refused = await sync(harness)
    assert (refused.status, refused.problem) == (409, "conflict")
    assert len(harness.legacy.asked) == 3


async def test_a_return_continues_the_device_with_its_history(
    harness: Harness, fleet: list[LegacyDevice]
) -> None:
    name = fleet[0].device_id
    await harness.report(name, soc_percent=50.0)
    before = await harness.get(f"/workspaces/north/snapshots/{name}")
    for devices in (fleet[1:], fleet[1:]):
        say(harness, devices)
        assert (await sync(harness)).status == 200
    assert (await harness.get(f"/workspaces/north/devices/{name}"))["retired_at"] is not None
    harness.let_pass(timedelta(hours=20).total_seconds())
    say(harness, fleet)
    assert (await sync(harness)).json["counts"]["returned"] == 1
    after = await harness.get(f"/workspaces/north/snapshots/{name}")
    assert after["last_update_received_at"] == before["last_update_received_at"] is not None
    assert after["values"].keys() == before["values"].keys() == {"soc_percent"}
    assert (await harness.get(f"/workspaces/north/devices/{name}"))["assignment"] == 1
