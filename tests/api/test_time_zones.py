"""The time zone of a workspace: an IANA name, shown where its times are shown."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from api.time_zones import known_time_zones
from domain.changes import ChangeKind
from tests.api.standing_time import START

if TYPE_CHECKING:
    from tests.api.harness import Harness

NORTH = "/workspaces/north"


def test_every_known_zone_has_its_rules() -> None:
    names = known_time_zones()
    assert {"UTC", "Europe/Berlin", "America/Argentina/ComodRivadavia"} <= names
    assert len([ZoneInfo(name) for name in names]) > 500


async def test_a_zone_is_stored_and_shown_everywhere(harness: Harness) -> None:
    before = await harness.ask("GET", NORTH)
    patch = {"time_zone": "Europe/Berlin"}
    changed = await harness.ask("PATCH", NORTH, json=patch)
    assert changed.json == {
        **before.json,
        **patch,
        "config_version": before.json["config_version"] + 1,
    }
    assert changed.headers["etag"] != before.headers["etag"]
    listed = (await harness.get("/workspaces"))["items"]
    zones = {item["workspace_id"]: item["time_zone"] for item in listed}
    assert zones == {"north": "Europe/Berlin", "south": "UTC"}
    for path in ("health", "issues"):
        assert (await harness.get(f"{NORTH}/{path}"))["time_zone"] == "Europe/Berlin"
    again = await harness.ask("PATCH", NORTH, json=patch)
    assert (again.json, again.headers["etag"]) == (changed.json, changed.headers["etag"])


async def test_a_changed_zone_is_in_the_history(harness: Harness) -> None:
    await harness.ask("PATCH", NORTH, json={"time_zone": "Asia/Tokyo"})
    find, later = harness.stores.changes.find_as_of, START + timedelta(days=36_500)
    (entry,) = await find("north", ChangeKind.WORKSPACE, later)
    assert entry.before is not None
    assert (entry.before["time_zone"], entry.after["time_zone"]) == ("UTC", "Asia/Tokyo")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("europe/berlin", "no time zone 'europe/berlin': give an IANA name, such as Europe/Berlin"),
        ("\u4e0a\u6d77", "such as Europe/Berlin or UTC"),
        ("../../etc/passwd", "no time zone '../../etc/passwd'"),
        ("localtime", "give an IANA name"),
        ("", "no time zone ''"),
        ("x" * 65, "at most 64 characters"),
    ],
)
async def test_a_zone_that_is_none_is_named_with_a_remedy(
    harness: Harness, method: str, name: str, remedy: str
) -> None:
    answer = await harness.ask(method, NORTH, json={"name": "North", "time_zone": name})
    assert (answer.status, answer.pointers) == (422, ["/time_zone"])
    assert remedy in answer.json["errors"][0]["detail"]
    assert (await harness.get(NORTH))["time_zone"] == "UTC"


async def test_a_check_of_a_fleet_judges_zones(harness: Harness) -> None:
    body = {"workspaces": [{"workspace_id": "new", "time_zone": "Mars/Base"}]}
    answer = await harness.ask("POST", "/fleet/check", json=body)
    assert (answer.status, answer.pointers) == (422, ["/workspaces/0/time_zone"])
    body["workspaces"][0]["time_zone"] = "Europe/Berlin"
    assert (await harness.ask("POST", "/fleet/check", json=body)).status == 200
