"""The pure parts of fleet files: what is written is read back, and what a difference leads to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from api.shapes import Overrides
from lastheard.fleet_file import read_fleet
from lastheard.fleet_model import FleetConnection, FleetDevice, FleetPolicy, FleetWorkspace
from lastheard.fleet_plan import plan_workspace
from lastheard.fleet_state import StoredWorkspace, Tagged, TypeFacts
from lastheard.fleet_text import write_fleet

if TYPE_CHECKING:
    from pathlib import Path

    from lastheard.fleet_steps import FleetPlan

TYPES = {"rfms": TypeFacts(True, 3600.0), "push": TypeFacts(False, None)}
VIN = "WDB9634031L123456"
NO_OVERRIDES = Overrides().model_dump()


def _connection(**more: Any) -> FleetConnection:
    address = "https://vendor.example/rfms"
    return FleetConnection(
        **({"id": "makers", "type": "rfms", "transport": "poll", "base_url": address} | more)
    )


def _device(name: str = "bus-1", **more: Any) -> FleetDevice:
    plain = {"connection": "makers", "external_id": VIN, "vehicle_id": "1", "vehicle_name": "One"}
    return FleetDevice(**({"id": name, "tags": ["line 7", "depot"]} | plain | more))


def _fleet(*devices: FleetDevice, connection: FleetConnection | None = None) -> FleetWorkspace:
    connections = [connection or _connection()]
    return FleetWorkspace(id="depot", name="Depot", connections=connections, devices=[*devices])


def _stored(*devices: dict[str, Any], **connection: Any) -> StoredWorkspace:
    named = {"name": "Depot", "active": True, "time_zone": "UTC"}
    workspace = {**named, "archived_at": None, "config_version": 3}
    policy = {"workspace_id": "depot", "poll_interval_seconds": 300, "stale_after_seconds": 900.0}
    body = {
        "provider_type": "rfms",
        "transport": "poll",
        "base_url": "https://vendor.example/rfms",
        "credential": None,
        "settings": {},
        "overrides": NO_OVERRIDES,
        "simulated": False,
        "active": True,
        "expected_update_seconds": 3600.0,
    }
    return StoredWorkspace(
        Tagged(workspace, '"1"'),
        Tagged(policy, '"2"'),
        {"makers": Tagged(body | connection, '"3"')},
        frozenset({"former"}),
        {device["device_id"]: device for device in devices},
    )


def _bus(name: str = "bus-1", **more: Any) -> dict[str, Any]:
    plain = {"provider_id": "makers", "external_id": VIN, "vehicle_id": "1", "vehicle_name": "One"}
    kept = {"active": True, "revision": 3, "tags": ["depot", "line 7"], "overrides": NO_OVERRIDES}
    return {"device_id": name} | kept | plain | more


def _plan(
    wanted: FleetWorkspace, stored: StoredWorkspace | None, *, prune: bool = False
) -> FleetPlan:
    return plan_workspace(wanted, stored, TYPES, prune=prune)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    settings = {"labels": ["a", {"b": 1.5}], "deep": {"er": {}, "x": True}, "text": 'a "b"\\\n#'}
    overrides = Overrides(grace_seconds=60)
    connection = _connection(settings=settings, overrides=overrides, expected_update_seconds=0)
    fleet = [
        _fleet(
            _device(vehicle_name='Büs = "7" #', tags=['"a", b;', "=1", "Straße 北"]),
            _device("bus-2", overrides=overrides, tags=[]),
        ),
        _fleet(connection=connection).model_copy(
            update={"id": "north", "policy": FleetPolicy(stale_after_seconds=0.5), "active": False}
        ),
        _fleet().model_copy(update={"id": "west", "time_zone": "America/New_York"}),
    ]
    path = tmp_path / "fleet.toml"
    path.write_text(write_fleet(fleet), encoding="utf-8")
    assert list(read_fleet(path).workspaces) == fleet


def test_devices_and_tables_are_in_the_order_of_their_ids() -> None:
    text = write_fleet([_fleet(_device("b"), _device("a"))])
    assert re.findall(r'^id = "(.*)"', text, re.MULTILINE) == ["depot", "makers", "a", "b"]


def test_what_is_stored_is_no_difference() -> None:
    plan = _plan(_fleet(_device()), _stored(_bus()))
    assert (plan.changes, plan.steps, plan.faults) == ([], [], [])


def test_a_zone_and_tags_that_differ_are_changed() -> None:
    wanted = _fleet(_device(tags=["depot"])).model_copy(update={"time_zone": "Europe/Berlin"})
    plan = _plan(wanted, _stored(_bus()))
    assert [str(change) for change in plan.changes] == [
        '~ workspace depot: time_zone "UTC" -> "Europe/Berlin"',
        '~ device depot/bus-1: tags ["depot","line 7"] -> ["depot"]',
    ]
    body = {"name": "Depot", "active": True, "time_zone": "Europe/Berlin"}
    assert (plan.steps[0].body, plan.time_zone) == (body, "Europe/Berlin")


def test_a_device_without_tags_in_the_file_has_none() -> None:
    (change,) = _plan(_fleet(_device(tags=[])), _stored(_bus())).changes
    assert str(change) == '~ device depot/bus-1: tags ["depot","line 7"] -> []'


def test_a_period_that_is_left_out_stays() -> None:
    plan = _plan(_fleet(), _stored(base_url="https://other.example"))
    (step,) = plan.steps
    assert step.body["expected_update_seconds"] == 3600.0
    assert step.conditions == {"If-Match": '"3"'}


def test_a_period_of_zero_is_none() -> None:
    plan = _plan(_fleet(connection=_connection(expected_update_seconds=0)), _stored())
    assert [str(change) for change in plan.changes] == [
        "~ connection depot/makers: expected_update_seconds 3600 -> none"
    ]


def test_another_spelling_of_a_vin_is_no_swap() -> None:
    plan = _plan(_fleet(_device(external_id=VIN.lower())), _stored(_bus()))
    assert [change.kind for change in plan.changes] == ["device"]


def test_a_retired_device_is_activated_again() -> None:
    plan = _plan(_fleet(_device()), _stored(_bus(active=False)))
    assert [str(change) for change in plan.changes] == [
        "+ device depot/bus-1: activate again (One)"
    ]


def test_swaps_are_one_request_before_the_others() -> None:
    other = VIN.replace("6", "7")
    wanted = _fleet(
        _device("bus-0", external_id="NEW", vehicle_id="0"),
        _device("bus-1", external_id=other),
        _device("bus-2", vehicle_id="2"),
    )
    plan = _plan(wanted, _stored(_bus(), _bus("bus-2", external_id=other, vehicle_id="2")))
    asked = [[one["device_id"] for one in step.body["devices"]] for step in plan.steps]
    assert asked == [["bus-1", "bus-2"], ["bus-0"]]


def test_a_unit_of_a_device_outside_the_file_is_a_fault() -> None:
    (fault,) = _plan(_fleet(_device("new")), _stored(_bus("old"))).faults
    assert fault.steps == ("devices", 0, "external_id")
    assert "device old has this unit" in fault.detail
    pruned = _plan(_fleet(_device("new")), _stored(_bus("old")), prune=True)
    assert [step.method for step in pruned.steps] == ["DELETE", "POST"]
    assert pruned.faults == []


def test_an_id_that_was_archived_is_a_fault() -> None:
    (fault,) = _plan(_fleet(connection=_connection(id="former")), _stored()).faults
    assert fault.steps == ("connections", 0, "id")
    stored = _stored()
    stored.workspace.body["archived_at"] = "2026-01-01T00:00:00Z"
    (fault,) = _plan(_fleet(), stored).faults
    assert fault.steps == ("id",)


def test_many_devices_are_sent_a_thousand_at_a_time() -> None:
    devices = [_device(f"bus-{n}", external_id=f"x-{n}", vehicle_id=f"{n}") for n in range(2500)]
    plan = _plan(_fleet(*devices), _stored())
    assert [step.devices for step in plan.steps] == [1000, 1000, 500]
