"""The vehicles that misbehave, and how: chosen by the seed from the faults.

Owns the choice. reporting.py says what a manner of reporting is, faults.py what the flags are.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from random import Random
from typing import TYPE_CHECKING

from simulator.chance import seed_from
from simulator.quirks import BEGIN_LATER, Quirk
from simulator.reporting import CHATTY, Reporting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.faults import Faults


def assign_reporting(faults: Faults, seed: int, vehicle_ids: Sequence[str]) -> dict[str, Reporting]:
    """Choose by the seed which vehicles misbehave, and how.

    The groups are disjoint, so each vehicle has one cause. A fraction refers to all vehicles that
    the faults concern, rounded up; later groups take from the vehicles that are left.
    """
    concerned = [vehicle_id for vehicle_id in vehicle_ids if faults.concerns(vehicle_id)]
    order = sorted(concerned)
    Random(seed_from(seed, "reporting")).shuffle(order)
    chosen: dict[str, Reporting] = {}
    for share, manners in (*_groups(faults), *_quirks(faults)):
        count = ceil(share * len(concerned) - 1e-9)
        chosen.update(dict.fromkeys(order[:count], manners))
        del order[:count]
    return chosen


def _groups(faults: Faults) -> tuple[tuple[float, Reporting], ...]:
    until = faults.silent_after + faults.silent_for if faults.silent_for else None
    return (
        (faults.never, replace(CHATTY, never=True)),
        (
            faults.silent,
            replace(CHATTY, silent_after_seconds=faults.silent_after, silent_until_seconds=until),
        ),
        (faults.rhythm, replace(CHATTY, every_seconds=faults.rhythm_every)),
        (
            faults.signal_stops,
            replace(CHATTY, stopped_labels=(("soc", faults.signal_stops_after),)),
        ),
        (faults.late, replace(CHATTY, late_seconds=faults.late_seconds)),
    )


def _quirks(faults: Faults) -> tuple[tuple[float, Reporting], ...]:
    by_seconds = {
        Quirk.CLOCK_AHEAD: faults.clock_ahead_seconds,
        Quirk.CLOCK_FAST: faults.clock_fast_seconds,
        Quirk.CLOCK_BEHIND: faults.clock_behind_seconds,
        Quirk.CLOCK_SET_BACK: faults.clock_behind_seconds,
        Quirk.FIRST_RECORD_OLD: faults.first_record_age,
        Quirk.EMPTIES_BUFFER: faults.buffer_age,
    }
    return tuple(
        (
            getattr(faults, quirk.value),
            Reporting(
                quirk=quirk,
                quirk_after_seconds=faults.quirks_after if quirk in BEGIN_LATER else 0.0,
                quirk_seconds=by_seconds.get(quirk, 0.0),
            ),
        )
        for quirk in Quirk
    )
