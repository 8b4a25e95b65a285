"""The units in which legacy systems state what the catalogue states in its own. Pure.

Owns the factors. Only pairs that mean the same quantity are here, so a percentage cannot become a
distance by a slip of the pen.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_MILE_KM: Final = 1.609344

# Unit of the catalogue -> other unit -> factor from the other to the catalogue's.
FACTORS: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "%": {"fraction": 100.0},
        "km": {"m": 0.001, "mi": _MILE_KM},
        "m": {"km": 1000.0, "ft": 0.3048},
        "km/h": {"m/s": 3.6, "mph": _MILE_KM, "kn": 1.852},
        "kW": {"W": 0.001},
        "kWh": {"Wh": 0.001, "J": 1 / 3_600_000, "kJ": 1 / 3600, "MJ": 1 / 3.6},
        "deg": {"rad": 180 / math.pi},
        "V": {"mV": 0.001},
        "A": {"mA": 0.001},
        "l": {"ml": 0.001},
    }
)


def factor_to(unit: str, stated: str) -> float | None:
    """Return the factor from the stated unit to this unit; None if they do not fit together."""
    return 1.0 if stated == unit else FACTORS.get(unit, {}).get(stated)


def units_for(unit: str) -> tuple[str, ...]:
    """Return the units that may be stated where the catalogue has this one."""
    return (unit, *FACTORS.get(unit, {}))
