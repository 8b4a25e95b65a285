"""The codes by which vehicles and vendors say "not available" in place of a value.

Owns the table of codes, per signal, in the catalogue's units, and where needed per provider type;
and the words for it, in place of any value. A reading with such a code or word is no news: it is
counted, the last good value stays, and it is never held against the device. A code is listed only
if no vehicle can mean it as a value.

Sources: SAE J1939-71 (the number of each SPN is beside its signal; FMS and rFMS take their values
from there). Of each J1939 number the raw values from 0xFB.. on are no values: parameter-specific,
reserved, error (0xFE..) and not available (0xFF..). Counters of 32 bits in metres or Wh: all ones,
unsigned and signed.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from domain.position import HALVES

if TYPE_CHECKING:
    from collections.abc import Mapping


class Codes(NamedTuple):
    """One range of codes, both ends inclusive."""

    lowest: float
    highest: float


def _j1939(bits: int, scale: float, offset: float = 0.0) -> Codes:
    """Return the raw values of a J1939 number that are no values, as `raw * scale + offset`."""
    return Codes((0xFB << (bits - 8)) * scale + offset, ((1 << bits) - 1) * scale + offset)


# A counter of metres or Wh, all ones, in km or kWh: 4294967.295 and 2147483.647. Exact, because an
# odometer may pass near it.
_ALL_ONES = tuple(Codes(ones / 1000, ones / 1000) for ones in (0xFFFF_FFFF, 0x7FFF_FFFF))
_POSITION = (_j1939(32, 1e-7, -210.0),)  # SPN 584 and 585, 211.1081216 to 219.4967295 deg

CODES: Mapping[str, tuple[Codes, ...]] = MappingProxyType(
    {
        # SPN 5464, 0.4 % a bit: 100.4 to 102.0. SPN 5466, 0.0015625 % a bit: to 102.3984375.
        "soc_percent": (_j1939(8, 0.4), _j1939(16, 0.0015625)),
        # SPN 917, 5 m a bit: from 21055406.08 km. SPN 245, 0.125 km a bit: from 526385152 km.
        "odometer_km": (*_ALL_ONES, _j1939(32, 0.005), _j1939(32, 0.125)),
        # SPN 84 (wheels) and 517 (navigation), 1/256 km/h a bit: 251 to 255.99609375.
        "speed_kmh": (_j1939(16, 1 / 256),),
        "latitude_deg": _POSITION,
        "longitude_deg": _POSITION,
        # SPN 165, 1/128 deg a bit: 502 to 511.9921875.
        "heading_deg": (_j1939(16, 1 / 128),),
        # SPN 580: 0xFFFF alone. The whole range is listed for rfms below: roads go up to 5,900 m.
        "altitude_m": (Codes(5691.875, 5691.875),),
        "charging_power_kw": _ALL_ONES,
        "range_km": _ALL_ONES,
        "total_energy_used_kwh": _ALL_ONES,
    }
)

# SPN 580, 0.125 m a bit, from -2500 m: 5532 to 5691.875. Its highest value is 5531.875 m, so a
# vehicle whose altitude comes from J1939 cannot mean these.
PROVIDER_CODES: Mapping[tuple[str, str], tuple[Codes, ...]] = MappingProxyType(
    {("rfms", "altitude_m"): (_j1939(16, 0.125, -2500.0),)}
)

NOT_AVAILABLE = "NOT_AVAILABLE"  # as the rFMS standard writes it
_WORDS = frozenset({"NOTAVAILABLE", "NA", "NULL", "NONE"})  # letters only, in capitals
_MAX_WORD_LENGTH = 20

# Programs write the first or the last day of their calendar, or an epoch, for "no time". None of
# them lies in this century.
_TIME_SIGNALS = frozenset({"charging_complete_at"})
_OTHER_CENTURY = re.compile(r"(?!20)[0-9]{4}-")

_ROUNDING = 1e-6  # a code that went through a float of another unit


class ListedCode(NamedTuple):
    """A "not available" code as people read it: a range of numbers, a word, or instants.

    A word is compared by its letters alone, in any case. `provider_type` is None for a code of
    every provider. `only_with` names a signal that must have such a code at the same instant.
    """

    lowest: float | None = None
    highest: float | None = None
    word: str | None = None
    instants: str | None = None
    provider_type: str | None = None
    only_with: str | None = None


def list_codes(signal: str) -> list[ListedCode]:
    """Return all codes of the signal: those of every provider first."""
    listed = [ListedCode(low, high) for low, high in CODES.get(signal, ())]
    if signal in HALVES:
        (other,) = set(HALVES) - {signal}
        listed.append(ListedCode(0.0, 0.0, only_with=other))
    listed += [ListedCode(word=word) for word in sorted(_WORDS)]
    if signal in _TIME_SIGNALS:
        listed.append(ListedCode(instants="before the year 2000, or after 2099"))
    listed += [
        ListedCode(low, high, provider_type=provider_type)
        for (provider_type, name), codes in PROVIDER_CODES.items()
        if name == signal
        for low, high in codes
    ]
    return listed


def is_code(signal: str, value: float) -> bool:
    """Return whether the number is a "not available" code of the signal, for every provider."""
    return _is_among(CODES.get(signal, ()), value)


def is_word(text: str) -> bool:
    """Return whether the text says "not available": `N/A`, `Not available`, `null`, …"""
    if len(text) > _MAX_WORD_LENGTH:
        return False
    return "".join(filter(str.isalpha, text)).upper() in _WORDS


def is_no_instant(signal: str, text: str) -> bool:
    """Return whether the text is an instant that stands for "no time" in a signal of times."""
    return signal in _TIME_SIGNALS and _OTHER_CENTURY.match(text) is not None


def with_common_code(provider_type: str, signal: str, value: float) -> float:
    """Return the value, or the signal's code for every provider if it is one of this provider's.

    For wire formats: acceptance does not know which provider type an update comes from.
    """
    codes = PROVIDER_CODES.get((provider_type, signal))
    return CODES[signal][0].lowest if codes and _is_among(codes, value) else value


def _is_among(codes: tuple[Codes, ...], value: float) -> bool:
    return any(low - _ROUNDING <= value <= high + _ROUNDING for low, high in codes)


def is_no_position(latitude: float, longitude: float) -> bool:
    """Return whether the pair is a "not available" code: 0/0, or a code in one of its halves.

    0/0 lies in the sea, and is what receivers send without a fix. One half may well be 0.
    """
    return (latitude == 0 and longitude == 0) or (
        is_code("latitude_deg", latitude) or is_code("longitude_deg", longitude)
    )
