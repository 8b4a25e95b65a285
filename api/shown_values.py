"""Values beside a verdict: the newest of the signals that a list is asked to show."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, cast

from pydantic import AfterValidator, Field

from api.bodies import Instant
from api.shapes import AnswerModel
from api.verdicts import JudgedDevice
from domain.health_signals import Mark, SignalAge, SignalRules, age_signals
from domain.held import to_instant
from domain.signals import CATALOGUE


class ReportedValue(AnswerModel):
    """One value of a device. `…/snapshots/{device_id}` has all its times.

    `old`: it may no longer be true. `ended`: it is no present value.
    """

    value: bool | int | float | str
    unit: str | None
    at: Instant = Field(description="from which its age counts: stated time or receipt")
    age_seconds: float
    mark: Mark


def _known(name: str) -> str:
    if name not in CATALOGUE:
        raise ValueError("no such signal: GET /signals lists them")
    return name


SignalName = Annotated[
    str, AfterValidator(_known), Field(json_schema_extra={"enum": sorted(CATALOGUE)})
]


def pick_values(
    judged: JudgedDevice, signals: Collection[str], now: datetime
) -> dict[str, ReportedValue]:
    """Return the device's values of these signals, as far as they came."""
    rules = SignalRules(judged.facts.workspace, judged.verdict.thresholds)
    ages = age_signals(judged.facts.document, rules, now)
    return {age.signal: _present(age) for age in ages if age.signal in signals}


def _present(age: SignalAge) -> ReportedValue:
    return ReportedValue(
        value=cast("bool | int | float | str", age.held.value),  # halves stand for a position
        unit=CATALOGUE[age.signal].unit,
        at=to_instant(age.held.observed),
        age_seconds=age.age_seconds,
        mark=age.mark,
    )
