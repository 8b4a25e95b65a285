"""What may be wrong with the simulated legacy system. Pure.

Owns the faults and the parser of their flag. simulator/legacy.py carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

from simulator.faults import FaultsInvalid

MAX_LAG_SECONDS: Final = 900.0


class RegistryFault(StrEnum):
    """What the registry leaves out."""

    WHOLE = "whole"  # nothing
    EMPTY = "empty"  # every vehicle
    HALVED = "halved"  # every second vehicle
    FLAPPING = "flapping"  # the same half, in every second answer


@dataclass(frozen=True, slots=True)
class LegacyFaults:
    """What is wrong with the legacy system of one fleet.

    lag: seconds by which its values are late. losses, wrong: the share of the vehicles without
    values, and of those with a wrong state of charge and odometer. outage: every answer is 503.
    """

    lag: float = 0.0
    losses: float = 0.0
    wrong: float = 0.0
    outage: bool = False
    registry: RegistryFault = RegistryFault.WHOLE

    def __post_init__(self) -> None:
        for name, value, most in (
            ("lag", self.lag, MAX_LAG_SECONDS),
            ("losses", self.losses, 1.0),
            ("wrong", self.wrong, 1.0),
        ):
            if not 0.0 <= value <= most:  # false for NaN
                raise FaultsInvalid(f"{name}={value:g}: a number from 0 to {most:g} is needed")


def parse_legacy_faults(text: str) -> LegacyFaults:
    """Read `lag=30,losses=0.1,wrong=0.05,outage=1,registry=halved`; empty means none.

    Raises FaultsInvalid with a message that names the remedy.
    """
    known = [one.name for one in fields(LegacyFaults)]
    values: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (piece.strip() for piece in item.partition("="))
        if name not in known:
            raise FaultsInvalid(
                f"unknown fault {name!r} of the legacy system. Allowed: {', '.join(known)}"
            )
        try:
            values[name] = RegistryFault(value) if name == "registry" else float(value)
        except ValueError:
            kinds = ", ".join(RegistryFault) if name == "registry" else "a number"
            raise FaultsInvalid(f"{name}={value!r}: use {kinds}") from None
    values["outage"] = bool(values.get("outage", 0))
    return LegacyFaults(**values)
