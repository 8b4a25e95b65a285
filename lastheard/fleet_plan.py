"""The difference between a workspace in a file and the stored one, and the requests that close it.

Pure. The order of the requests is the order in which one needs the other: workspace, policy,
connections, retired devices (they free their units), other devices, archived connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lastheard.fleet_devices import plan_devices
from lastheard.fleet_faults import FleetFault
from lastheard.fleet_model import NO_OFFSET
from lastheard.fleet_state import path_of
from lastheard.fleet_steps import FleetChange, FleetPlan, FleetStep, describe_difference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastheard.fleet_model import FleetConnection, FleetWorkspace
    from lastheard.fleet_state import StoredWorkspace, Tagged, TypeFacts

NEW = {"If-None-Match": "*"}
_NOT_AGAIN = "it was archived, and its id is not used again: give it another id"


def plan_workspace(
    wanted: FleetWorkspace,
    stored: StoredWorkspace | None,
    types: Mapping[str, TypeFacts],
    *,
    prune: bool,
) -> FleetPlan:
    """Return the plan. `prune`: what the file does not name is retired or archived."""
    plan = FleetPlan()
    if stored is None:
        _plan_new(plan, wanted)
    elif stored.workspace.body["archived_at"] is not None:
        plan.faults.append(FleetFault(("id",), _NOT_AGAIN))
        return plan
    else:
        _plan_changed(plan, wanted, stored)
        _plan_policy(plan, wanted, stored)
    for index, connection in enumerate(wanted.connections):
        _plan_connection(plan, wanted.id, index, connection, stored)
    plan_devices(plan, wanted, stored, types, prune=prune)
    _plan_unnamed(plan, wanted, stored, prune=prune)
    return plan


def _plan_new(plan: FleetPlan, wanted: FleetWorkspace) -> None:
    body = {"name": wanted.name, **_named(wanted)}
    plan.time_zone = wanted.time_zone
    policy = _named_policy(wanted)
    plan.policy = dict(policy)
    for name in ("poll_interval_seconds", "start_offset_seconds"):
        if name in policy:
            body[name] = policy.pop(name)
    if policy:
        body["thresholds"] = policy
    plan.changes.append(FleetChange("+", "workspace", wanted.id, wanted.name))
    plan.steps.append(FleetStep("PUT", path_of(wanted.id), body, NEW))


def _plan_changed(plan: FleetPlan, wanted: FleetWorkspace, stored: StoredWorkspace) -> None:
    present = stored.workspace
    kept = {name: present.body[name] for name in ("active", "time_zone")}
    body = {"name": wanted.name, **kept, **_named(wanted)}
    if difference := describe_difference(present.body, body):
        plan.time_zone = wanted.time_zone
        plan.changes.append(FleetChange("~", "workspace", wanted.id, difference))
        plan.steps.append(FleetStep("PUT", path_of(wanted.id), body, _only(present)))


def _named(wanted: FleetWorkspace) -> dict[str, Any]:
    """Return what the file names of the workspace itself, and what else would stay as it is."""
    return wanted.model_dump(include={"active", "time_zone"}, exclude_none=True)


def _plan_policy(plan: FleetPlan, wanted: FleetWorkspace, stored: StoredWorkspace) -> None:
    present = {name: value for name, value in stored.policy.body.items() if name != "workspace_id"}
    named = _named_policy(wanted)
    if difference := describe_difference(present, named):
        plan.policy = {**present, **named}
        plan.changes.append(FleetChange("~", "policy", wanted.id, difference))
        path = path_of(wanted.id, "policy")
        plan.steps.append(FleetStep("PUT", path, plan.policy, _only(stored.policy)))


def _named_policy(wanted: FleetWorkspace) -> dict[str, Any]:
    named = wanted.policy.model_dump(exclude_none=True)
    if wanted.interval is not None:
        named["poll_interval_seconds"] = wanted.interval
    if wanted.start_offset is not None:
        is_none = wanted.start_offset == NO_OFFSET
        named["start_offset_seconds"] = None if is_none else wanted.start_offset
    return named


def _plan_connection(
    plan: FleetPlan,
    workspace_id: str,
    index: int,
    wanted: FleetConnection,
    stored: StoredWorkspace | None,
) -> None:
    if stored is not None and wanted.id in stored.archived_connections:
        plan.faults.append(FleetFault(("connections", index, "id"), _NOT_AGAIN))
        return
    present = None if stored is None else stored.connections.get(wanted.id)
    name = f"{workspace_id}/{wanted.id}"
    if present is None:
        body = _connection_body(wanted)
        change = FleetChange("+", "connection", name, f"{wanted.type} by {wanted.transport}")
    else:
        kept = {key: present.body[key] for key in ("active", "expected_update_seconds")}
        body = {**kept, **_connection_body(wanted)}
        difference = describe_difference(present.body, body)
        if not difference:
            return
        change = FleetChange("~", "connection", name, difference)
    plan.connections[index] = {**body, "provider_id": wanted.id}
    plan.changes.append(change)
    path = path_of(workspace_id, "providers", wanted.id)
    plan.steps.append(FleetStep("PUT", path, body, NEW if present is None else _only(present)))


def _connection_body(wanted: FleetConnection) -> dict[str, Any]:
    """Return the connection as the API takes it, without what the file leaves as it is."""
    body: dict[str, Any] = {
        "provider_type": wanted.type,
        "transport": wanted.transport,
        "base_url": wanted.base_url,
        "credential": wanted.credential,
        "settings": wanted.settings,
        "overrides": wanted.overrides.model_dump(),
        "simulated": wanted.simulated,
    }
    if wanted.active is not None:
        body["active"] = wanted.active
    if wanted.expected_update_seconds is not None:
        body["expected_update_seconds"] = wanted.expected_update_seconds or None
    return body


def _plan_unnamed(
    plan: FleetPlan, wanted: FleetWorkspace, stored: StoredWorkspace | None, *, prune: bool
) -> None:
    """Archive the connections that the file does not name, or count them."""
    named = {connection.id for connection in wanted.connections}
    present = {} if stored is None else stored.connections
    unnamed = {one: tagged for one, tagged in present.items() if one not in named}
    if not prune:
        plan.kept["connections"] = len(unnamed)
        return
    for one, tagged in unnamed.items():
        plan.changes.append(FleetChange("-", "connection", f"{wanted.id}/{one}", "archive"))
        path = path_of(wanted.id, "providers", one)
        plan.steps.append(FleetStep("DELETE", path, None, _only(tagged)))


def _only(present: Tagged) -> dict[str, str]:
    """Return the condition that the resource is still as it was read."""
    return {"If-Match": present.etag}
