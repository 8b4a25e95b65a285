"""`/sim/…`: the interface by which a test reads the simulator's counts and changes its faults.

Owns the paths and bodies of that interface. It needs no credential: the port is on loopback, and
this test tool holds no secret.

GET  /sim/statistics[?brief=true]   counts by tenant, and unless brief by vehicle and label
GET  /sim/connections               the log of stream connections
GET  /sim/last                      the newest value that was sent of every signal
GET  /sim/story                     what was wrong with which vehicle, from when to when, and whose
                                    it was, by tenant
POST /sim/faults                    {"tenant"?, "faults"?: "name=value,…",
                                     "reporting"?: {vehicle_id: {…}}}
POST /sim/disconnect                {"tenant"?, "abrupt"?: bool}
GET  /sim/legacy                    the legacy system's faults and requests, by tenant
POST /sim/legacy                    {"tenant"?, "faults": "name=value,…"} in place of its faults
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import orjson

from simulator.exchange import Request, VendorAnswer, json_answer
from simulator.faults import FaultsInvalid, parse_faults
from simulator.legacy_faults import parse_legacy_faults
from simulator.quirks import Quirk
from simulator.reporting import Reporting
from simulator.session import Ending

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.provider import SimulatedProvider
    from simulator.server import Simulator


def answer(simulator: Simulator, request: Request) -> VendorAnswer:
    match request.method, request.path:
        case "GET", "/sim/statistics":
            return json_answer(
                200, simulator.statistics(brief=request.query.get("brief") == "true")
            )
        case "GET", "/sim/connections":
            return json_answer(200, [asdict(entry) for entry in simulator.connections])
        case "GET", "/sim/last":
            return json_answer(
                200, {provider.tenant.name: provider.last() for provider in simulator.providers}
            )
        case "GET", "/sim/story":
            return json_answer(200, simulator.story())
        case "POST", "/sim/faults":
            return _changed(simulator, request, change_faults)
        case "POST", "/sim/disconnect":
            return _changed(simulator, request, disconnect)
        case "GET" | "POST", "/sim/legacy":
            return _answer_legacy(simulator, request)
        case _:
            return json_answer(404, {"error": f"no such control: {request.method} {request.path}"})


def _changed(simulator: Simulator, request: Request, change: Any) -> VendorAnswer:
    try:
        order = orjson.loads(request.body or b"{}")
        providers = _chosen_providers(simulator.providers, order)
        change(providers, order, simulator.elapsed())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return json_answer(400, {"error": str(error)})
    return json_answer(200, [provider.facts() for provider in providers])


def _answer_legacy(simulator: Simulator, request: Request) -> VendorAnswer:
    if simulator.legacy is None:
        return json_answer(404, {"error": "no legacy system: start the simulator with --legacy"})
    if request.method == "POST":
        try:
            order = orjson.loads(request.body)
            faults = parse_legacy_faults(order["faults"])
            simulator.legacy.change(order.get("tenant"), faults)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return json_answer(400, {"error": str(error)})
    return json_answer(200, simulator.legacy.facts())


def _chosen_providers(
    providers: Iterable[SimulatedProvider], order: dict[str, Any]
) -> list[SimulatedProvider]:
    name = order.get("tenant")
    chosen = [provider for provider in providers if name is None or provider.tenant.name == name]
    if not chosen:
        raise ValueError(f"no tenant {name!r}")
    return chosen


def change_faults(
    providers: Iterable[SimulatedProvider], order: dict[str, Any], elapsed: float
) -> None:
    """Change faults and reporting of these providers, all or none.

    The whole order is read before anything is changed. Raises ValueError or KeyError that names the
    mistake.
    """
    faults = parse_faults(order["faults"]) if "faults" in order else None
    manners = {
        vehicle: read_reporting(wanted) for vehicle, wanted in order.get("reporting", {}).items()
    }
    for provider in providers:
        if strangers := set(manners) - set(provider.roster.vehicles):
            raise ValueError(f"tenant {provider.tenant.name} has no vehicle {sorted(strangers)}")
    for provider in providers:
        if faults is not None:
            provider.roster.change_faults(faults, elapsed)
            provider.replan_ends(elapsed)
        for vehicle, reporting in manners.items():
            provider.roster.change_reporting(vehicle, reporting, elapsed)


def read_reporting(wanted: dict[str, Any]) -> Reporting:
    """Return a `Reporting` from its fields by name; `stopped_labels` maps a label to seconds."""
    strangers = set(wanted) - {one.name for one in fields(Reporting)}
    if strangers:
        allowed = ", ".join(one.name for one in fields(Reporting))
        raise FaultsInvalid(f"unknown reporting {sorted(strangers)}; allowed: {allowed}")
    stopped = tuple(wanted.get("stopped_labels", {}).items())
    quirk = Quirk(wanted["quirk"]) if wanted.get("quirk") is not None else None
    return Reporting(**{**wanted, "stopped_labels": stopped, "quirk": quirk})


def disconnect(
    providers: Iterable[SimulatedProvider], order: dict[str, Any], _elapsed: float
) -> None:
    ending = Ending.CUT_BY_FAULT if order.get("abrupt") else Ending.CLOSED_BY_FAULT
    for provider in providers:
        for session in list(provider.sessions):
            session.end(ending)
