"""ViriCiti on the wire: frames of the live stream to readings. Pure.

Owns the labels and what they mean, also for answers.py. It must never raise on data from the wire,
judge whether a value is plausible (acceptance does) or do anything slowly: every frame of every
vehicle passes `interpret`.

The vendor documents neither error payloads, nor the exact echo of a subscription, nor close codes.
They are recognised loosely here, and everything else is counted as malformed rather than guessed
at. A malformed frame names its vehicle wherever the vid can be read, so that the refusal is held
against that vehicle.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson

from domain.model import FaultClass, Reading
from domain.not_available import NOT_AVAILABLE, is_word
from domain.position import LATITUDE, POSITION
from domain.signals import PLAIN_VALUES
from ports.providers import FrameVerdict
from providers.loose_types import EPOCH_2000, EPOCH_2100, read_instant, read_name, read_number
from runtime.damaged_json import Damaged, Limits, read_damaged, to_bytes

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
MAX_SEARCHED: Final = 65_536  # of a frame that is not read; the vid stands near its beginning
# Of a frame that is not JSON; every other stream of the process waits meanwhile.
LIMITS: Final = Limits(brackets=20_000, damaged=100)
MAX_LINES: Final = 1000
UNKNOWN_LABEL: Final = "unknown_label"
NO_NEWS: Final = "no_news"
WORDS: Final = frozenset({UNKNOWN_LABEL, NO_NEWS})

_new = tuple.__new__  # makes a NamedTuple of all its fields, in half of its constructor's time
# Labels whose number is the reading, and the time up to which milliseconds are a date (year 5138).
_PLAIN: Final = {label: signal for label, signal in LABELS.items() if label not in (GPS, POWER)}
_MOST_MILLISECONDS: Final = 10**14
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_, _LEAST_KW, _MOST_KW = PLAIN_VALUES["power_kw"]
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

UNKNOWN_SHAPE: Final = "unknown shape"
NOT_JSON: Final = "not JSON"
BAD_VID: Final = "vid is not a name"
_INCOMPLETE: Final = "vid, label, time or value is missing"
_ECHO: Final = FrameVerdict(None, (), ignored="echo")
_VID: Final = re.compile(r'"vid"\s*:\s*"([^"\\\x00-\x1f]{1,128})"')
_LABEL: Final = re.compile(r'"label"\s*:\s*"([a-z_.]{1,40})"')


def interpret(frame: str | bytes, rules: Rules = DEFAULT_RULES) -> FrameVerdict:
    """Read one frame. Never raises.

    A data point gives one reading; a position gives two. A power gives a second one, too: whether
    the vehicle charges, which the vendor does not send (see README.md). Old servers (v1) send the
    data point without the envelope.
    """
    try:
        message = orjson.loads(frame)
    except ValueError:
        return _interpret_text(frame, rules)
    if type(message) is not dict:
        return _interpret_list(message, frame, rules, "not an object")
    if message.get("type") != "vehicles":
        return _interpret_other(message, frame, rules)
    payload = message.get("payload")
    if type(payload) is not dict:
        return _interpret_list(payload, frame, rules, "payload is not an object")
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
        return _ECHO if _is_subscription(payload) else _interpret_incomplete(payload)
    if type(vid) is not str or not vid or len(vid) > MAX_VID_LENGTH or "\0" in vid:
        vid = read_vid(vid)
        if vid is None:
            return FrameVerdict(None, (), malformed=BAD_VID, signal=signal_of(label))
    is_plain = type(label) is str and label in _PLAIN and type(value) in (float, int)
    if is_plain and type(time) is int and EPOCH_2100 <= time < _MOST_MILLISECONDS:
        # Nearly every frame: what `read_point` returns, without its questions. A test compares.
        at = _EPOCH + timedelta(0, 0, time * 1000)
        plain = (_new(Reading, (_PLAIN[label], value, at)),)
        return _new(FrameVerdict, (vid, plain, None, None, None, None, ()))
    readings = read_point(label, time, value, rules)
    if isinstance(readings, tuple):
        return _new(FrameVerdict, (vid, readings, None, None, None, None, ()))
    if readings in WORDS:
        return FrameVerdict(vid, (), readings)
    return FrameVerdict(vid, (), malformed=readings, signal=signal_of(label))


def _interpret_incomplete(payload: dict[str, Any]) -> FrameVerdict:
    vid, signal = read_vid(payload.get("vid")), signal_of(payload.get("label"))
    return FrameVerdict(vid, (), malformed=_INCOMPLETE, signal=signal)


def read_vid(vid: object) -> str | None:
    """Return the vid without blanks at its ends; None if it is not a name that can be shown."""
    return read_name(vid, MAX_VID_LENGTH)


def signal_of(label: object) -> str | None:
    """Return the signal of the reading that a label gives; None for a label that gives none."""
    if label == GPS:
        return POSITION
    return LABELS.get(label) if type(label) is str else None


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
    # `isinstance` would let a bool through. As milliseconds, such numbers are weeks of early 1970.
    if type(time) is not int or EPOCH_2000 <= time < EPOCH_2100:
        at = read_instant(time)
        if at is None:
            return "time is not an instant"
    else:
        try:
            at = _EPOCH + timedelta(0, 0, time * 1000)  # microseconds: a float would round them
        except OverflowError:
            return "time is out of range"
    if type(value) is str and is_word(value):
        return (Reading(POSITION if label == GPS else signal, NOT_AVAILABLE, at),)
    if label == GPS:
        return _read_position(value, at)
    if type(value) is not float and type(value) is not int:
        value = read_number(value)
        if value is None:
            return "value is not a number"
    if label == POWER:
        return _read_power(value * rules.power_sign, at, rules.charging_below_kw)
    return (_new(Reading, (signal, value, at)),)


def _read_position(value: object, at: datetime) -> tuple[Reading, ...] | str:
    latitude: object
    longitude: object
    if type(value) is str:
        latitude, _, longitude = value.partition("|")
    elif type(value) is dict:  # the vendor documents it for its telematics gateway
        latitude, longitude = value.get("lat"), value.get("lon")
    else:
        return "gps is not 'lat|lon'"
    if any(isinstance(half, str) and is_word(half) for half in (latitude, longitude)):
        return (Reading(POSITION, NOT_AVAILABLE, at),)
    north, east = read_number(latitude), read_number(longitude)
    if north is None or east is None:
        return "gps is not 'lat|lon'"
    return (Reading(POSITION, (north, east), at),)


def _read_power(
    power_kw: float, at: datetime, charging_below_kw: float | None
) -> tuple[Reading, ...]:
    """Return the power, and whether the vehicle charges.

    "Not charging" is told, too: a vehicle that was only ever said to charge would charge for ever.
    Nothing is told by a power that acceptance will refuse.
    """
    power = Reading("power_kw", power_kw, at)
    if charging_below_kw is None or not _LEAST_KW <= power_kw <= _MOST_KW:
        return (power,)
    return (power, Reading("charging", power_kw < charging_below_kw, at))


# Several data points in one frame: the vendor documents one, so each is read by itself


def _interpret_list(points: object, frame: str | bytes, rules: Rules, why_not: str) -> FrameVerdict:
    """Return the verdict on a list of messages or data points. `why_not`: why nothing else may be.

    Text in the place of a payload may be JSON that was encoded twice.
    """
    if type(points) is str:
        points = _decode(points)
        if type(points) is dict:
            return _interpret_point(points, rules)
    if type(points) is not list or not points:
        return _unreadable(frame, why_not)
    return _join([_interpret_part(point, rules) for point in points])


def _interpret_part(point: object, rules: Rules) -> FrameVerdict:
    if type(point) is Damaged:
        return _unreadable(point.raw, NOT_JSON)
    if type(point) is not dict:
        return FrameVerdict(None, (), malformed="not an object")
    payload = point.get("payload") if is_of_vehicles(point.get("type")) else point
    if type(payload) is dict:
        return _interpret_point(payload, rules)
    return FrameVerdict(None, (), malformed="payload is not an object")


def _join(parts: list[FrameVerdict]) -> FrameVerdict:
    if len(parts) == 1:
        return parts[0]
    malformed = next((part.malformed for part in parts if part.malformed is not None), None)
    return FrameVerdict(None, (), malformed=malformed, parts=tuple(parts))


def _decode(text: str) -> object:
    try:
        return orjson.loads(text)
    except ValueError:
        return None


def is_of_vehicles(kind: object) -> bool:
    """Return whether a message's type says that it is a data point of a vehicle, in any case."""
    return type(kind) is str and kind.strip().lower() == "vehicles"


# Everything that is not a data point of today's protocol


def _interpret_other(message: dict[str, Any], frame: str | bytes, rules: Rules) -> FrameVerdict:
    kind, payload = message.get("type"), message.get("payload")
    if kind is None:
        return _interpret_bare(message, frame, rules)
    if is_of_vehicles(kind) and type(payload) is dict:
        return _interpret_point(payload, rules)
    if kind == "error":
        vid = _vid_in(frame)
        return FrameVerdict(vid, (), ignored="provider_error", fault=_fault_of(frame))
    if kind == "acl":
        return FrameVerdict(None, (), ignored="acl")
    if type(kind) is not str or (kind not in DOMAINS and _is_point(payload)):
        return _unreadable(frame, UNKNOWN_SHAPE)
    return FrameVerdict(None, (), ignored="not_ours" if kind in DOMAINS else "unknown_type")


def _is_point(payload: object) -> bool:
    """Return whether this is a whole data point. Under an unknown type it is refused, not read."""
    return type(payload) is dict and payload.keys() >= {"vid", "label", "time", "value"}


def _interpret_bare(message: dict[str, Any], frame: str | bytes, rules: Rules) -> FrameVerdict:
    """Read a message without a type: keep-alive, v1's greeting, echo, or v1's data point."""
    if not message:
        return FrameVerdict(None, (), ignored="keep_alive")
    if message.get("ready") is True:
        return FrameVerdict(None, (), ignored="greeting")
    if "label" in message and "value" in message:
        return _interpret_point(message, rules)
    if message.keys() <= DOMAINS or _is_subscription(message):
        return _ECHO
    payload = message.get("payload")
    if type(payload) is dict and _is_point(payload):
        return _interpret_point(payload, rules)
    return _unreadable(frame, UNKNOWN_SHAPE)


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


# Frames that are not read


def _interpret_text(frame: str | bytes, rules: Rules) -> FrameVerdict:
    """Return the verdict on a frame that is not JSON: it is read again only without its mark."""
    unmarked = _without_mark(frame)
    if len(_without_mark(unmarked)) == len(unmarked) < len(frame):
        return interpret(unmarked, rules)
    text = frame if isinstance(frame, str) else frame[:16].decode("utf-8", "replace")
    if text[:16].lstrip().lower().startswith(_DEBUG_ANSWERS):
        return FrameVerdict(None, (), ignored="debug_answer")
    if len(set(_VID.findall(_searched(frame)))) > 1:
        return _interpret_damaged_list(frame, rules)
    return _unreadable(frame, NOT_JSON)


def _interpret_damaged_list(frame: str | bytes, rules: Rules) -> FrameVerdict:
    """Return the verdict on a frame of several vehicles that is not JSON: a list, or lines."""
    body = to_bytes(frame) if isinstance(frame, str) else frame
    try:
        message = read_damaged(body, "payload", limits=LIMITS)
    except (ValueError, RecursionError):
        lines = [line for line in body.splitlines() if line.strip()]
        if not 2 <= len(lines) <= MAX_LINES:
            return _unreadable(frame, NOT_JSON)
        return _join([_interpret_line(line, rules) for line in lines])
    points = message if type(message) is list else message.get("payload")
    return _interpret_list(points, frame, rules, NOT_JSON)


def _interpret_line(line: bytes, rules: Rules) -> FrameVerdict:
    """Return the verdict on one of the lines of a frame. A line has one data point at most."""
    try:
        return _interpret_part(orjson.loads(line), rules)
    except ValueError:
        return _unreadable(line, NOT_JSON)


def _without_mark(frame: str | bytes) -> str | bytes:
    """Return the frame without its byte order mark."""
    if isinstance(frame, str):
        return frame.removeprefix("\ufeff")
    return frame.removeprefix(b"\xef\xbb\xbf")


def _unreadable(frame: str | bytes, why: str) -> FrameVerdict:
    """Return the verdict on a frame of which at most the vid and the label can be told."""
    labels = set(_LABEL.findall(_searched(frame)))
    signal = signal_of(labels.pop()) if len(labels) == 1 else None
    return FrameVerdict(_vid_in(frame), (), malformed=why, signal=signal)


def _vid_in(frame: str | bytes) -> str | None:
    """Return the one vid that stands in the frame; None if there is none, or more than one."""
    vids = set(_VID.findall(_searched(frame)))
    vid = vids.pop() if len(vids) == 1 else None
    return vid if vid is not None and vid.isprintable() else None


def _searched(frame: str | bytes) -> str:
    head = frame[:MAX_SEARCHED]
    return head if isinstance(head, str) else head.decode("utf-8", "surrogateescape")
