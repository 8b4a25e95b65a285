"""ViriCiti on the wire: frames of the live stream to readings. Pure.

Owns the labels and what they mean, also for answers.py. It must never raise on data from the wire,
judge whether a value is plausible (acceptance does) or do anything slowly: every frame of every
vehicle passes `interpret`.

The vendor documents neither error payloads, nor the exact echo of a subscription, nor close codes.
They are recognised loosely here, and everything else is counted as malformed rather than guessed
at.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, Final, NamedTuple

import orjson

from domain.model import FaultClass, Reading
from domain.position import LATITUDE, POSITION
from ports.providers import FrameVerdict
from providers.answers import error_code_in

POWER: Final = "power"
GPS: Final = "gps"

# label -> signal; a position is one label, one reading, and two signals on every wire. The vendor's
# units are the signals' units.
LABELS: Final[dict[str, str]] = {
    GPS: LATITUDE,
    "speed": "speed_kmh",
    "odo": "odometer_km",
    "soc": "soc_percent",
    POWER: "power_kw",
    "current": "battery_current_a",
    "voltage": "battery_voltage_v",
    "energy_used_per_day": "energy_used_today_kwh",
    "odo_reference_per_day": "distance_today_km",
    "analyses.estimated_range": "range_km",
    "fuel": "fuel_level_l",
    "fuel_used_per_day": "fuel_used_today_l",
}
DOMAINS: Final = frozenset({"vehicles", "chargestations", "incidents"})
MAX_VID_LENGTH: Final = 128
UNKNOWN_LABEL: Final = "unknown_label"
NO_NEWS: Final = "no_news"
WORDS: Final = frozenset({UNKNOWN_LABEL, NO_NEWS})

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ABOUT_THE_KEY: Final = (
    "api key",
    "apikey",
    "api-key",
    "credential",
    "unauthenticated",
    "invalid token",
)
# We never ask for these, but the socket may be shared with a client that does.
_DEBUG_ANSWERS: Final = ("acl", "query", "show")


class Rules(NamedTuple):
    """Rules by which one fleet's readings are understood.

    charging_below_kw: power below this means charging; None means that charging is never told.
    power_sign: 1 when negative power flows into the battery (as in the canonical signal), -1 when
    the fleet reports it the other way round.
    """

    charging_below_kw: float | None = -1.0
    power_sign: int = 1


DEFAULT_RULES: Final = Rules()

_NOT_JSON: Final = FrameVerdict(None, (), malformed="not JSON")
_NOT_AN_OBJECT: Final = FrameVerdict(None, (), malformed="not an object")
_NO_PAYLOAD: Final = FrameVerdict(None, (), malformed="payload is not an object")
UNKNOWN_SHAPE: Final = FrameVerdict(None, (), malformed="unknown shape")
_INCOMPLETE: Final = FrameVerdict(None, (), malformed="vid, label, time or value is missing")
_BAD_VID: Final = FrameVerdict(None, (), malformed="vid is not a name")
_ECHO: Final = FrameVerdict(None, (), ignored="echo")


def interpret(frame: str | bytes, rules: Rules = DEFAULT_RULES) -> FrameVerdict:
    """Read one frame. Never raises.

    A data point gives one reading; a position gives two. A power gives a second one, too: whether
    the vehicle charges, which the vendor does not send (see README.md). Old servers (v1) send the
    data point without the envelope.
    """
    try:
        message = orjson.loads(frame)
    except ValueError:
        return _interpret_text(frame)
    if type(message) is not dict:
        return _NOT_AN_OBJECT
    if message.get("type") != "vehicles":
        return _interpret_other(message, frame, rules)
    payload = message.get("payload")
    if type(payload) is not dict:
        return _NO_PAYLOAD
    return _interpret_point(payload, rules)


def _interpret_point(payload: dict[str, Any], rules: Rules) -> FrameVerdict:
    try:
        vid, label, time, value = (
            payload["vid"],
            payload["label"],
            payload["time"],
            payload["value"],
        )
    except KeyError:
        return _ECHO if _is_subscription(payload) else _INCOMPLETE
    if type(vid) is not str or not vid or len(vid) > MAX_VID_LENGTH or "\0" in vid:
        return _BAD_VID
    readings = read_point(label, time, value, rules)
    if isinstance(readings, tuple):
        return FrameVerdict(vid, readings)
    if readings in WORDS:
        return FrameVerdict(vid, (), readings)
    return FrameVerdict(vid, (), None, readings)


def read_point(
    label: object, time: object, value: object, rules: Rules
) -> tuple[Reading, ...] | str:
    """The readings of one data point, or one of WORDS, or else what is wrong with it."""
    if type(label) is not str:
        return "label is not a name"
    signal = LABELS.get(label)
    if signal is None:
        return UNKNOWN_LABEL
    if value is None:
        return NO_NEWS
    if type(time) is not int:  # `isinstance` would let a bool through
        return "time is not a whole number of milliseconds"
    try:
        at = _EPOCH + timedelta(0, 0, time * 1000)  # whole microseconds: a float would round them
    except OverflowError:
        return "time is out of range"
    if label == GPS:
        return _read_position(value, at)
    if type(value) is not float and type(value) is not int:
        return "value is not a number"
    if label == POWER:
        return _read_power(value * rules.power_sign, at, rules.charging_below_kw)
    return (Reading(signal, value, at),)


def _read_position(value: object, at: datetime) -> tuple[Reading, ...] | str:
    if type(value) is not str:
        return "gps is not 'lat|lon'"
    latitude, _, longitude = value.partition("|")
    try:
        north, east = float(latitude), float(longitude)
    except ValueError:
        return "gps is not 'lat|lon'"
    if not isfinite(north + east):  # "nan" and "inf" are numbers to Python
        return "gps is not 'lat|lon'"
    return (Reading(POSITION, (north, east), at),)


def _read_power(
    power_kw: float, at: datetime, charging_below_kw: float | None
) -> tuple[Reading, ...]:
    """Return the power, and whether the vehicle charges.

    "Not charging" is told, too: a vehicle that was only ever said to charge would charge for ever.
    """
    power = Reading("power_kw", power_kw, at)
    if charging_below_kw is None:
        return (power,)
    return (power, Reading("charging", power_kw < charging_below_kw, at))


# Everything that is not a data point of today's protocol


def _interpret_other(message: dict[str, Any], frame: str | bytes, rules: Rules) -> FrameVerdict:
    kind = message.get("type")
    if kind is None:
        return _interpret_bare(message, rules)
    if kind == "error":
        return FrameVerdict(None, (), ignored="provider_error", fault=_fault_of(frame))
    if kind == "acl":
        return FrameVerdict(None, (), ignored="acl")
    if type(kind) is str:
        return FrameVerdict(None, (), ignored="not_ours" if kind in DOMAINS else "unknown_type")
    return UNKNOWN_SHAPE


def _interpret_bare(message: dict[str, Any], rules: Rules) -> FrameVerdict:
    """Read a message without a type: keep-alive, v1's greeting, echo, or v1's data point."""
    if not message:
        return FrameVerdict(None, (), ignored="keep_alive")
    if message.get("ready") is True:
        return FrameVerdict(None, (), ignored="greeting")
    if "label" in message and "value" in message:
        return _interpret_point(message, rules)
    return _ECHO if message.keys() <= DOMAINS or _is_subscription(message) else UNKNOWN_SHAPE


def _is_subscription(message: dict[str, Any]) -> bool:
    """Return whether this is a map of vids to labels, as we send it."""
    return bool(message) and all(type(labels) is list for labels in message.values())


def _fault_of(frame: str | bytes) -> FaultClass:
    """Return the fault class of an error frame: credentials only if its words are about the key.

    "Not authorised" may as well be about one vehicle of many.
    """
    text = (frame if isinstance(frame, str) else frame.decode("utf-8", "replace")).lower()
    return (
        FaultClass.CREDENTIALS
        if any(words in text for words in _ABOUT_THE_KEY)
        else FaultClass.PROTOCOL
    )


def read_error_code(body: bytes) -> str | None:
    """Return the error code under one of the usual names; None when there is none.

    The vendor documents no error bodies.
    """
    return error_code_in(body, "error", "code")


def _interpret_text(frame: str | bytes) -> FrameVerdict:
    text = frame if isinstance(frame, str) else frame[:16].decode("utf-8", "replace")
    if text[:16].lstrip().lower().startswith(_DEBUG_ANSWERS):
        return FrameVerdict(None, (), ignored="debug_answer")
    return _NOT_JSON
