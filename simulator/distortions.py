"""Records with a quirk as they go over the wire: data points of the stream, statuses of rFMS.

Owns the wrong and odd forms, written from the vendors' documents and from public reports of what
their servers send. Times come already as the vehicle states them (quirks.py). Pure.

Some forms cannot be written by a JSON encoder. They stand in a record as a placeholder text, and
`render` puts the bytes in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from simulator.quirks import Quirk

if TYPE_CHECKING:
    from collections.abc import Mapping

IMPOSSIBLE_SOC: Final = 140.0  # above every range, and no SAE J1939 code for "not available"
IMPOSSIBLE_LONGITUDE: Final = 655.35  # 16 bits of ones, in hundredths
ALL_ONES: Final = 4_294_967_295  # 32 bits
_PLACEHOLDERS: Final = {
    "@@nan@@": b"NaN",
    "@@huge@@": b"1e400",
    "@@surrogate@@": b'"\\ud83d"',
    "@@latin@@": b'"M\xfcnchen"',
}
_BAD_VALUES: Final = ("@@nan@@", "@@huge@@", "@@surrogate@@")
_MARK: Final = b'"@@'


def render(body: bytes) -> bytes:
    """Return the body with the bytes of each placeholder."""
    if _MARK not in body:
        return body
    for placeholder, raw in _PLACEHOLDERS.items():
        body = body.replace(b'"%b"' % placeholder.encode(), raw)
    return body


def distort_point(quirk: Quirk, label: str, point: dict[str, Any], turn: int) -> dict[str, Any]:
    """Return a data point of the stream ({"time", "value", …}) as a vehicle with this quirk has it.

    A frame with a byte that is not UTF-8 would end the connection (RFC 6455 §8.1) and cost every
    vehicle, so no data point has one.
    """
    match quirk, label:
        case Quirk.MALFORMED_RECORDS, _:
            return {**point, "time": "now"}
        case Quirk.LOOSE_TYPES, "gps":
            return {**point, "time": str(point["time"])}
        case Quirk.LOOSE_TYPES, _:
            return {**point, "value": str(point["value"]), "time": _loose_epoch(point, turn)}
        case Quirk.BAD_BYTES, _:
            return {**point, "value": _BAD_VALUES[turn % len(_BAD_VALUES)]}
        case Quirk.REFUSED_SIGNAL, "soc":
            return {**point, "value": IMPOSSIBLE_SOC}
        case Quirk.HALF_POSITION, "gps":
            latitude = str(point["value"]).partition("|")[0]
            return {**point, "value": f"{latitude}|{IMPOSSIBLE_LONGITUDE}"}
        case Quirk.FILL_VALUES, "gps":
            return {**point, "value": "0|0"}
        case Quirk.FILL_VALUES, "odo":
            return {**point, "value": ALL_ONES / 1000}
        case Quirk.OTHER_CASE, _:
            return {**point, "vid": point["vid"].upper()} if "vid" in point else point
        case _:
            return point


def is_damaged(quirk: Quirk, label: str) -> bool:
    """Return whether a data point of this label cannot be used from a vehicle with this quirk."""
    match quirk:
        case Quirk.MALFORMED_RECORDS | Quirk.CLOCK_AHEAD | Quirk.BAD_BYTES:
            return True
        case Quirk.REFUSED_SIGNAL:
            return label == "soc"
        case Quirk.HALF_POSITION:
            return label == "gps"
        case Quirk.FILL_VALUES:
            return label in ("gps", "odo")
        case _:
            return False


def _loose_epoch(point: Mapping[str, Any], turn: int) -> int | float | str:
    return (point["time"], float(point["time"]), str(point["time"]))[turn % 3]


def distort_status(quirk: Quirk, body: dict[str, Any], turn: int) -> dict[str, Any]:
    """Return a status of rFMS as a vehicle with this quirk has it."""
    snapshot = body["snapshotData"]
    match quirk:
        case Quirk.MALFORMED_RECORDS:
            return {**body, "createdDateTime": body["createdDateTime"].removesuffix("Z")}
        case Quirk.LOOSE_TYPES:
            return _loosen(body, turn)
        case Quirk.POSITION_WITHOUT_TIME:
            return _with_position(body, positionDateTime=None)
        case Quirk.REFUSED_SIGNAL:
            soc = {"hybridBatteryPackRemainingCharge": IMPOSSIBLE_SOC}
            return {**body, "snapshotData": {**snapshot, **soc}}
        case Quirk.BAD_BYTES:
            return _with_bad_bytes(body, turn)
        case Quirk.HALF_POSITION:
            return _with_position(body, longitude=IMPOSSIBLE_LONGITUDE)
        case Quirk.FILL_VALUES:
            totals = {"hrTotalVehicleDistance": ALL_ONES, "totalElectricEnergyUsed": ALL_ONES}
            return {**_with_position(body, latitude=0.0, longitude=0.0), **totals}
        case Quirk.SAME_SECOND:
            return _one_of_two(body)
        case Quirk.OTHER_CASE:
            return {**body, "vin": body["vin"].lower()}
        case _:
            return body


def _with_position(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the status with another position; a field that becomes None is left out."""
    snapshot = body["snapshotData"]
    if "gnssPosition" not in snapshot:
        return body
    fields = {**snapshot["gnssPosition"], **changes}
    position = {name: value for name, value in fields.items() if value is not None}
    return {**body, "snapshotData": {**snapshot, "gnssPosition": position}}


def _loosen(body: dict[str, Any], turn: int) -> dict[str, Any]:
    """Return the status with every number as text, and its times in one of three odd forms."""
    loose = _numbers_as_text(body)
    if turn % 3 == 0:
        loose["createdDateTime"] = body["createdDateTime"].replace("Z", "z")
    elif turn % 3 == 1:
        loose["createdDateTime"] = body["createdDateTime"].replace("Z", "+00:00")
    else:
        loose["receivedDateTime"] = body["receivedDateTime"].partition(".")[0] + "Z"
    return loose


def _numbers_as_text(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _as_text(value) for name, value in fields.items()}


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return _numbers_as_text(value)
    return str(value) if isinstance(value, int | float) else value


def _with_bad_bytes(body: dict[str, Any], turn: int) -> dict[str, Any]:
    bad: tuple[dict[str, Any], ...] = (
        {"hrTotalVehicleDistance": "@@nan@@"},
        {"hrTotalVehicleDistance": "@@huge@@"},
        {"driver1Id": {"name": "@@surrogate@@"}},
        {"driver1Id": {"name": "@@latin@@"}},
    )
    return {**body, **bad[turn % len(bad)]}


def _one_of_two(body: dict[str, Any]) -> dict[str, Any]:
    """Return one of two records of a second: the timer's, or the one of the plug a moment later."""
    is_second = body["triggerType"]["type"] != "TIMER"
    charging = {
        "batteryPackChargingStatus": "CHARGING_DC" if is_second else "NOT_CHARGING",
        "batteryPackChargingConnectionStatus": "CONNECTED" if is_second else "DISCONNECTED",
    }
    whole = {
        name: body[name].partition(".")[0] + "Z" for name in ("createdDateTime", "receivedDateTime")
    }
    return {**body, **whole, "snapshotData": {**body["snapshotData"], **charging}}


def dump_point(payload: dict[str, Any]) -> bytes:
    """Return the text of a frame with this data point."""
    return render(orjson.dumps({"type": "vehicles", "payload": payload}))
