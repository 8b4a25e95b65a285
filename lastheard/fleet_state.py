"""What is configured now, as the API tells it: for the difference to a file, and for an export.

Owns the requests that read configuration, and the ETags that they bring.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from api.shapes import Overrides
from lastheard.client import ClientError
from lastheard.fleet_model import (
    NO_OFFSET,
    NO_PERIOD,
    FleetConnection,
    FleetDevice,
    FleetPolicy,
    FleetWorkspace,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastheard.client import ApiClient

THRESHOLDS = tuple(FleetPolicy.model_fields)


class TypeFacts(NamedTuple):
    """What a provider type says about all connections of it."""

    ids_are_vins: bool
    expected_update_seconds: float | None


class Tagged(NamedTuple):
    """A resource and its ETag."""

    body: dict[str, Any]
    etag: str


@dataclass(frozen=True)
class StoredWorkspace:
    """A workspace with all that belongs to it. `devices` has the retired ones too."""

    workspace: Tagged
    policy: Tagged
    connections: Mapping[str, Tagged]
    archived_connections: frozenset[str]
    devices: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def config_version(self) -> int:
        """It grows with every change within the workspace."""
        return int(self.workspace.body["config_version"])


def path_of(workspace_id: str, *steps: str) -> str:
    """Return the path of something within a workspace."""
    return "/".join(["/workspaces", *(quote(step, safe="") for step in (workspace_id, *steps))])


def read_types(client: ApiClient) -> dict[str, TypeFacts]:
    items = client.read("/provider-types")["items"]
    return {
        item["provider_type"]: TypeFacts(item["ids_are_vins"], item["expected_update_seconds"])
        for item in items
    }


def list_workspace_ids(client: ApiClient) -> list[str]:
    """Return the workspaces that the key sees, without archived ones."""
    return [item["workspace_id"] for page in client.pages("/workspaces") for item in page["items"]]


def read_workspace(client: ApiClient, workspace_id: str) -> StoredWorkspace | None:
    """Return the workspace, or None if there is none that the key sees.

    It is read before what belongs to it. So a change in between is found by its config_version.
    """
    try:
        workspace = _read_tagged(client, path_of(workspace_id))
    except ClientError as error:
        if error.status != 404:
            raise
        return None
    providers = path_of(workspace_id, "providers")
    ids = [item["provider_id"] for page in client.pages(providers) for item in page["items"]]
    archived = client.pages(providers, archived="true")
    devices = client.pages(path_of(workspace_id, "devices"), include_retired="true", limit=500)
    return StoredWorkspace(
        workspace,
        _read_tagged(client, path_of(workspace_id, "policy")),
        {one: _read_tagged(client, path_of(workspace_id, "providers", one)) for one in ids},
        frozenset(item["provider_id"] for page in archived for item in page["items"]),
        {item["device_id"]: item for page in devices for item in page["items"]},
    )


def _read_tagged(client: ApiClient, path: str) -> Tagged:
    answer = client.get(path)
    return Tagged(client.document_of(answer), answer.headers.get("etag", ""))


def to_fleet(stored: StoredWorkspace, types: Mapping[str, TypeFacts]) -> FleetWorkspace:
    """Return the workspace as a file says it: all values in full, without retired devices."""
    workspace, policy = stored.workspace.body, stored.policy.body
    offset = policy["start_offset_seconds"]
    return FleetWorkspace.model_construct(
        id=workspace["workspace_id"],
        name=workspace["name"],
        active=workspace["active"],
        time_zone=workspace["time_zone"],
        interval=policy["poll_interval_seconds"],
        start_offset=NO_OFFSET if offset is None else offset,
        policy=FleetPolicy.model_construct(**{name: policy[name] for name in THRESHOLDS}),
        connections=[
            _to_connection(one.body, types) for _, one in sorted(stored.connections.items())
        ],
        devices=[
            _to_device(device) for _, device in sorted(stored.devices.items()) if device["active"]
        ],
    )


def _to_connection(body: dict[str, Any], types: Mapping[str, TypeFacts]) -> FleetConnection:
    _refuse_null(body)
    kept = _kept(FleetConnection, body)
    kept["expected_update_seconds"] = _period_of(body, types.get(body["provider_type"]))
    return FleetConnection.model_construct(
        id=body["provider_id"], type=body["provider_type"], **kept
    )


def _period_of(body: dict[str, Any], facts: TypeFacts | None) -> float | None:
    """Return the period as a file says it, so that a new connection gets the same.

    A new connection takes the documented period by itself, unless it is simulated.
    """
    period = body["expected_update_seconds"]
    if body["expected_update_source"] == "documented":
        return None
    takes_one = facts is not None and facts.expected_update_seconds and not body["simulated"]
    return NO_PERIOD if period is None and takes_one else period


def _to_device(body: dict[str, Any]) -> FleetDevice:
    kept = _kept(FleetDevice, body)
    return FleetDevice.model_construct(id=body["device_id"], connection=body["provider_id"], **kept)


def _kept(model: type[FleetConnection | FleetDevice], body: dict[str, Any]) -> dict[str, Any]:
    """Return the members that have the same name in the API and in the file."""
    kept = {name: body[name] for name in model.model_fields if name in body}
    return {**kept, "overrides": Overrides.model_construct(**body["overrides"])}


def _refuse_null(body: dict[str, Any]) -> None:
    """Raise ClientError for a null within a list of settings. TOML has none."""
    waiting = [body["settings"]]
    while waiting:
        value = waiting.pop()
        members = list(value.values()) if isinstance(value, dict) else value
        if isinstance(value, list) and None in value:
            name = f"{body['workspace_id']}/{body['provider_id']}"
            raise ClientError(
                f"connection {name} has null in a list of its settings: TOML has none"
            )
        waiting += [member for member in members if isinstance(member, dict | list)]
