"""The ViriCiti (ChargePoint Fleet) HTTP interface of one fleet: assets and last known state.

Owns the shapes of `/api/v1/my/assets` and `/api/v2/state`. Values come from the fleet, never from
here. The vendor does not document its error bodies; these are made up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from simulator.distortions import distort_point, render
from simulator.exchange import Request, VendorAnswer, json_answer
from simulator.quirks import Quirk

if TYPE_CHECKING:
    from simulator.frames import SimulatedSignal
    from simulator.stream import LiveStream

ASSETS_PATH: Final = "/api/v1/my/assets"
STATE_PATH: Final = "/api/v2/state"
LIVE_PATH: Final = "/api/v2/live"


def read_key(request: Request) -> str | None:
    """Return the API key from the header, or else from the query; the vendor accepts both."""
    return request.headers.get("x-api-key") or request.query.get("apiKey")


def unauthorised() -> VendorAnswer:
    return refusal(401, "invalid API key")


def refusal(status: int, message: str, retry_after: float | None = None) -> VendorAnswer:
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return json_answer(status, {"statusCode": status, "message": message}, headers=headers)


def answer(live: LiveStream, request: Request) -> VendorAnswer:
    match request.method, request.path:
        case "GET", "/api/v1/my/assets":
            return json_answer(200, assets(live))
        case "POST", "/api/v2/state":
            return _answer_state(live, request.body)
        case _, ("/api/v1/my/assets" | "/api/v2/state"):
            return refusal(405, f"{request.method} is not allowed here")
        case _:
            return refusal(404, f"no such resource: {request.path}")


def assets(live: LiveStream) -> list[dict[str, str]]:
    """Return the account's vehicles. `name` is the operator's own bus number."""
    return [
        {"vid": bus.spec.vehicle_id, "name": bus.spec.name}
        for number, bus in enumerate(live.roster.buses)
        if not live.roster.is_left_out(number)
    ]


def _answer_state(live: LiveStream, body: bytes) -> VendorAnswer:
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return refusal(400, f"not JSON: {error}")
    if not isinstance(asked, dict) or not all(
        isinstance(labels, list) for labels in asked.values()
    ):
        return refusal(400, "the body must map a vid to its labels")
    answer = json_answer(
        200,
        {vid: state(live, vid, labels) for vid, labels in asked.items() if _is_known(live, vid)},
    )
    return replace(answer, body=render(answer.body))


def _is_known(live: LiveStream, vid: str) -> bool:
    """Return whether the account has a vehicle of exactly this id."""
    number = live.roster.vehicles.get(vid)
    unknown = (Quirk.LEFT_OUT, Quirk.OTHER_CASE)
    return number is not None and live.roster.quirk_of(number) not in unknown


def state(live: LiveStream, vehicle_id: str, labels: list[str]) -> dict[str, Any]:
    """Return the last known readings, each with its own time.

    A label that the vehicle has but never sent is {}; one that it does not have is missing. For a
    vehicle that the vendor cannot read just now there is an error instead.
    """
    quirk = live.roster.quirk_of(live.roster.vehicles[vehicle_id])
    if quirk is Quirk.VEHICLE_ERRORS:
        return {"error": {"code": 504, "message": "upstream timeout"}}
    return {
        signal.label: _last_reading(live, signal, quirk)
        for signal in live.signals_of(vehicle_id)
        if signal.label in labels
    }


def _last_reading(live: LiveStream, signal: SimulatedSignal, quirk: Quirk | None) -> dict[str, Any]:
    if not signal.known_ms:
        return {}
    live.note_damage(quirk, signal.label)
    reading = signal.reading(signal.known_ms)
    if quirk is None:
        return reading
    return distort_point(quirk, signal.label, reading, turn=signal.known_ms)
