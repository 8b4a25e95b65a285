"""`/sim/…`: the interface by which a test reads the simulator's counts and changes its faults.

Owns the paths and bodies of that interface. It needs no credential: the port is on loopback, and
this test tool holds no secret.

GET  /sim/statistics[?brief=true]   counts by tenant, and unless brief by vehicle and label
GET  /sim/connections               the log of stream connections
GET  /sim/last                      the newest value that was sent of every signal
POST /sim/faults                    {"tenant"?, "faults"?: "name=value,…", "reporting"?: {vehicle_id: {…}}}
POST /sim/disconnect                {"tenant"?, "abrupt"?: bool}
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import orjson

from simulator.exchange import Answer, Request, json_answer
from simulator.faults import FaultsInvalid, parse_faults
from simulator.reporting import Reporting
from simulator.session import Ending

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.desk import Desk
    from simulator.server import Simulator


def answer(simulator: Simulator, request: Request) -> Answer:
    match request.method, request.path:
        case "GET", "/sim/statistics":
            return json_answer(
                200, simulator.statistics(brief=request.query.get("brief") == "true")
            )
        case "GET", "/sim/connections":
            return json_answer(200, [asdict(entry) for entry in simulator.connections])
        case "GET", "/sim/last":
            return json_answer(200, {desk.tenant.name: desk.last() for desk in simulator.desks})
        case "POST", "/sim/faults":
            return _changed(simulator, request, change_faults)
        case "POST", "/sim/disconnect":
            return _changed(simulator, request, disconnect)
        case _:
            return json_answer(404, {"error": f"no such control: {request.method} {request.path}"})


def _changed(simulator: Simulator, request: Request, change: Any) -> Answer:
    try:
        order = orjson.loads(request.body or b"{}")
        desks = _desks(simulator.desks, order)
        change(desks, order, simulator.elapsed())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return json_answer(400, {"error": str(error)})
    return json_answer(200, [desk.facts() for desk in desks])


def _desks(desks: Iterable[Desk], order: dict[str, Any]) -> list[Desk]:
    name = order.get("tenant")
    chosen = [desk for desk in desks if name is None or desk.tenant.name == name]
    if not chosen:
        raise ValueError(f"no tenant {name!r}")
    return chosen


def change_faults(desks: Iterable[Desk], order: dict[str, Any], elapsed: float) -> None:
    """Change faults and reporting of these desks, all or none.

    The whole order is read before anything is changed. Raises ValueError or KeyError that names the
    mistake.
    """
    faults = parse_faults(order["faults"]) if "faults" in order else None
    manners = {
        vehicle: read_reporting(wanted) for vehicle, wanted in order.get("reporting", {}).items()
    }
    for desk in desks:
        if strangers := set(manners) - set(desk.roster.vehicles):
            raise ValueError(f"tenant {desk.tenant.name} has no vehicle {sorted(strangers)}")
    for desk in desks:
        if faults is not None:
            desk.roster.change_faults(faults, elapsed)
            desk.replan_ends(elapsed)
        for vehicle, reporting in manners.items():
            desk.roster.change_reporting(vehicle, reporting, elapsed)


def read_reporting(wanted: dict[str, Any]) -> Reporting:
    """Return a `Reporting` from its fields by name; `stopped_labels` maps a label to seconds."""
    strangers = set(wanted) - {one.name for one in fields(Reporting)}
    if strangers:
        allowed = ", ".join(one.name for one in fields(Reporting))
        raise FaultsInvalid(f"unknown reporting {sorted(strangers)}; allowed: {allowed}")
    stopped = tuple(wanted.get("stopped_labels", {}).items())
    return Reporting(**{**wanted, "stopped_labels": stopped})


def disconnect(desks: Iterable[Desk], order: dict[str, Any], _elapsed: float) -> None:
    ending = Ending.CUT_BY_FAULT if order.get("abrupt") else Ending.CLOSED_BY_FAULT
    for desk in desks:
        for session in list(desk.sessions):
            session.end(ending)
