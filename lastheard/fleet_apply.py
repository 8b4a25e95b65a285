"""Applying a fleet file: read what is stored, judge everything, then send the requests.

Owns the order and the checks before the first write. What is done stays done: after an interruption
or a refusal, applying the file again does the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lastheard.client import ClientError
from lastheard.fleet_faults import FleetFault
from lastheard.fleet_plan import plan_workspace
from lastheard.fleet_state import list_workspace_ids, path_of, read_types, read_workspace
from lastheard.fleet_steps import FleetChange, FleetPlan, FleetStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lastheard.client import ApiClient
    from lastheard.fleet_file import FleetFile
    from lastheard.fleet_lines import Steps

CHECKED_AT_ONCE = 50  # workspaces in one request; the API takes 100, of 1 MiB
_IN_FILE = {
    "workspace_id": "id",
    "provider_id": "id",
    "provider_type": "type",
    "poll_interval_seconds": "interval",
    "start_offset_seconds": "start_offset",
}
_AGAIN = "What was done before stays done: apply the file again to do the rest."


class FleetStopped(Exception):
    """A request was refused after others had been done. The text says which, and what to do."""


@dataclass(frozen=True)
class Work:
    """The plan of one workspace. `config_version` is that of the read state; None: it is new."""

    workspace_id: str
    config_version: int | None
    plan: FleetPlan


def prepare(
    client: ApiClient,
    fleet: FleetFile,
    *,
    prune: bool,
    switch_off: bool,
    say: Callable[[str], None],
) -> list[Work]:
    """Return what is to do, in the order of the file. Writes nothing. Blocks.

    `prune`: devices are retired and connections archived that the file does not name.
    `switch_off`: workspaces that it does not name are deactivated.

    Raises FleetInvalid with the mistakes of the file, and ClientError.
    """
    types = read_types(client)
    works, faults = list[Work](), list[FleetFault]()
    for number, wanted in enumerate(fleet.workspaces):
        stored = read_workspace(client, wanted.id)
        plan = plan_workspace(wanted, stored, types, prune=prune)
        works.append(Work(wanted.id, None if stored is None else stored.config_version, plan))
        faults += [
            FleetFault(("workspaces", number, *one.steps), one.detail) for one in plan.faults
        ]
        if number % CHECKED_AT_ONCE == CHECKED_AT_ONCE - 1:
            say(f"read {number + 1} of {len(fleet.workspaces)} workspaces")
    faults += _check(client, works, say)
    if faults:
        raise fleet.refuse(faults)
    if switch_off:
        works += _switch_off(client, {work.workspace_id for work in works})
    return works


def _check(
    client: ApiClient, works: Sequence[Work], say: Callable[[str], None]
) -> Iterator[FleetFault]:
    """Yield the mistakes that the API finds in what would be stored; say its warnings."""
    wanted = [(number, work) for number, work in enumerate(works) if _to_check(work.plan)]
    for start in range(0, len(wanted), CHECKED_AT_ONCE):
        batch = wanted[start : start + CHECKED_AT_ONCE]
        body = {
            "workspaces": [
                {
                    "workspace_id": work.workspace_id,
                    "time_zone": work.plan.time_zone,
                    "policy": work.plan.policy,
                    "connections": list(work.plan.connections.values()),
                }
                for _, work in batch
            ]
        }
        try:
            answer = client.send("POST", "/fleet/check", body)
        except ClientError as error:
            if error.status != 422:
                raise
            yield from (_locate(fault, batch) for fault in error.faults)
        else:
            for warning in client.document_of(answer)["warnings"]:
                fault = _locate(warning, batch)
                say(f"warning: {_name(fault.steps, works)}: {fault.detail}")


def _to_check(plan: FleetPlan) -> bool:
    return plan.time_zone is not None or plan.policy is not None or bool(plan.connections)


def _locate(fault: dict[str, Any], batch: Sequence[tuple[int, Work]]) -> FleetFault:
    """Return the fault with its place in the file instead of that in the checked body."""
    steps = [
        step.replace("~1", "/").replace("~0", "~")
        for step in str(fault.get("pointer", "")).split("/")[1:]
    ]
    place: Steps = ()
    work: Work | None = None
    for step in steps:
        if place == ("workspaces",):
            number, work = batch[int(step)]
            place += (number,)
        elif place[-1:] == ("connections",) and work is not None and len(place) == 3:
            place += (list(work.plan.connections)[int(step)],)
        else:
            place += (int(step) if re.fullmatch(r"\d+", step) else _IN_FILE.get(step, step),)
    if place[-2:] in {("policy", "interval"), ("policy", "start_offset")}:
        place = (*place[:-2], place[-1])
    return FleetFault(place, str(fault.get("detail", "")))


def _name(steps: Steps, works: Sequence[Work]) -> str:
    """Return the place of a warning in words. Warnings are said without their lines."""
    match steps:
        case ("workspaces", int(number), "connections", int(index), *rest):
            connection = works[number].plan.connections[index]["provider_id"]
            names = [f"workspace {works[number].workspace_id}", f"connection {connection}"]
            return ", ".join([*names, *map(str, rest)])
        case _:
            return ", ".join(map(str, steps))


def _switch_off(client: ApiClient, named: set[str]) -> Iterator[Work]:
    """Yield the work that deactivates each workspace that the file does not name."""
    for workspace_id in list_workspace_ids(client):
        if workspace_id in named:
            continue
        answer = client.get(path_of(workspace_id))
        present = client.document_of(answer)
        if present["active"]:
            body = {"name": present["name"], "active": False}
            condition = {"If-Match": answer.headers.get("etag", "")}
            change = FleetChange("-", "workspace", workspace_id, "switch off")
            step = FleetStep("PUT", path_of(workspace_id), body, condition)
            yield Work(workspace_id, present["config_version"], FleetPlan([change], [step]))


def carry_out(client: ApiClient, works: Sequence[Work], say: Callable[[str], None]) -> None:
    """Send the requests, and say after each how far it is. Blocks.

    Raises FleetStopped if one of them is refused, or if a workspace has changed since it was read.
    """
    total = sum(len(work.plan.steps) for work in works)
    done = 0
    for work in works:
        if work.plan.steps:
            _refuse_moved(client, work)
        for step in work.plan.steps:
            try:
                client.send(step.method, step.path, step.body, step.conditions)
            except ClientError as error:
                done_so_far = f"{done} of {total} requests are done. {_AGAIN}"
                raise FleetStopped(
                    f"{step.method} {step.path} failed: {error}\n{done_so_far}"
                ) from error
            done += 1
            devices = f": {step.devices} devices" if step.devices > 1 else ""
            say(f"{done} of {total}: {work.workspace_id}{devices}")


def _refuse_moved(client: ApiClient, work: Work) -> None:
    """Raise FleetStopped if anything of the workspace has changed since it was read."""
    try:
        present = client.read(path_of(work.workspace_id))["config_version"]
    except ClientError as error:
        if error.status != 404:
            raise FleetStopped(f"{error}\n{_AGAIN}") from error
        present = None
    if present != work.config_version:
        raise FleetStopped(f"workspace {work.workspace_id} has changed since it was read. {_AGAIN}")
