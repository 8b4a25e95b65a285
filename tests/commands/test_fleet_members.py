"""A fleet file can say all that the bodies of the API can, and both ways: no member is forgotten.

The members of the file, of what `apply` sends and of what `export` reads are written by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.device_import import ImportedDevice
from api.devices import DeviceAnswer
from api.fleet_check import CheckedConnection
from api.policy import PolicyBody, ThresholdsBody
from api.provider_body import ProviderBody
from api.providers import ProviderAnswer
from api.workspaces import WorkspaceAnswer, WorkspaceBody
from lastheard.fleet_model import FleetConnection, FleetDevice, FleetPolicy, FleetWorkspace
from lastheard.fleet_plan import plan_workspace
from lastheard.fleet_state import StoredWorkspace, Tagged, to_fleet

if TYPE_CHECKING:
    from pydantic import BaseModel

# What a file calls otherwise, by what the API calls it.
WORKSPACE = {
    "poll_interval_seconds": "interval",
    "start_offset_seconds": "start_offset",
    "thresholds": "policy",
}
CONNECTION = {"provider_id": "id", "provider_type": "type"}
DEVICE = {"device_id": "id", "provider_id": "connection"}
# A file says how a fleet is configured, not since when, nor after how many changes.
NOT_IN_A_FILE = {"activated_at", "revision"}
# In the API they are in the path, or resources of their own.
NOT_IN_THE_BODY = {"id", "connections", "devices"}
LIMITS = dict.fromkeys(ThresholdsBody.model_fields, 60.0)


@pytest.mark.parametrize(
    ("body", "table", "names", "apart"),
    [
        (WorkspaceBody, FleetWorkspace, WORKSPACE, NOT_IN_THE_BODY),
        (ThresholdsBody, FleetPolicy, {}, set()),
        (CheckedConnection, FleetConnection, CONNECTION, set()),
        (ImportedDevice, FleetDevice, DEVICE, set()),
    ],
)
def test_a_table_of_the_file_has_the_members_of_the_body(
    body: type[BaseModel], table: type[BaseModel], names: dict[str, str], apart: set[str]
) -> None:
    members = {names.get(name, name) for name in set(body.model_fields) - NOT_IN_A_FILE}
    assert members == set(table.model_fields) - apart


def test_a_file_that_names_everything_is_sent_whole() -> None:
    device = FleetDevice(
        id="d", connection="c", external_id="x", vehicle_id="v", vehicle_name="V", tags=["t"]
    )
    connection = FleetConnection(
        id="c", type="push", transport="push", active=True, expected_update_seconds=60
    )
    wanted = FleetWorkspace(
        id="w",
        name="W",
        active=True,
        time_zone="Europe/Berlin",
        interval=300,
        start_offset=30,
        policy=FleetPolicy(**LIMITS),
        connections=[connection],
        devices=[device],
    )
    workspace, provider, devices = plan_workspace(wanted, None, {}, prune=False).steps
    assert set(workspace.body) == set(WorkspaceBody.model_fields)
    assert set(workspace.body["thresholds"]) == set(ThresholdsBody.model_fields)
    assert set(provider.body) == set(ProviderBody.model_fields)
    (sent,) = devices.body["devices"]
    assert set(sent) == set(ImportedDevice.model_fields) - {"activated_at"}


@pytest.mark.parametrize(("written", "sent"), [(0, 0), (30, 30), ("auto", None)])
def test_an_offset_of_the_file_is_a_number_or_auto(written: int | str, sent: int | None) -> None:
    wanted = FleetWorkspace(id="w", name="W", start_offset=written)
    (step,) = plan_workspace(wanted, None, {}, prune=False).steps
    assert step.body["start_offset_seconds"] == sent


@pytest.mark.parametrize("written", [-1, 3600, 1.5, True, "none"])
def test_another_offset_of_the_file_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match="whole number of seconds below the interval, or 'auto'"):
        FleetWorkspace(id="w", name="W", start_offset=written)


def test_an_export_has_every_member_of_the_file() -> None:
    workspace = to_fleet(
        StoredWorkspace(
            _answered(WorkspaceAnswer),
            Tagged({"poll_interval_seconds": 300, "start_offset_seconds": 30, **LIMITS}, ""),
            {"c": _answered(ProviderAnswer, settings={}, overrides={})},
            frozenset(),
            {"d": _answered(DeviceAnswer, active=True, overrides={}).body},
        ),
        {},
    )
    (connection,), (device,) = workspace.connections, workspace.devices
    for table in (workspace, workspace.policy, connection, device):
        assert table.model_fields_set == set(type(table).model_fields)
    assert set(PolicyBody.model_fields) == {
        "poll_interval_seconds",
        "start_offset_seconds",
        *LIMITS,
    }


def _answered(answer: type[BaseModel], **values: Any) -> Tagged:
    return Tagged(dict.fromkeys(answer.model_fields) | values, "")
