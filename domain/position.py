"""Positions: latitude and longitude of one instant are one reading.

On every wire they are the two signals latitude_deg and longitude_deg. Inside the process a pair
with equal observed_at is one reading of the signal `position`, whose value is (latitude,
longitude): range, time and "not available" code are judged for both or for neither. Otherwise a
snapshot could show a place where the vehicle never was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain.model import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

POSITION = "position"
LATITUDE = "latitude_deg"
LONGITUDE = "longitude_deg"
HALVES = (LATITUDE, LONGITUDE)


def pair_positions(readings: Sequence[Reading]) -> tuple[Reading, ...]:
    """Return the readings with each pair of equal observed_at as one position, at its first half.

    A half without its other half stays what it is; acceptance refuses it.
    """
    paired: list[Reading] = []
    waiting: dict[tuple[str, Any], int] = {}  # (the half that is missing, time) -> place
    for reading in readings:
        signal, value, at = reading
        if signal not in HALVES:
            paired.append(reading)
        elif (place := waiting.pop((signal, at), None)) is None:
            missing = LONGITUDE if signal == LATITUDE else LATITUDE
            waiting.setdefault((missing, at), len(paired))
            paired.append(reading)
        else:
            other = paired[place].value
            pair = (other, value) if signal == LONGITUDE else (value, other)
            paired[place] = Reading(POSITION, pair, at)  # type: ignore[arg-type]  # checked later
    return tuple(paired)


def wire_names(signal: str) -> tuple[str, ...]:
    """Return the names by which clients know the signal: a position has two."""
    return HALVES if signal == POSITION else (signal,)
