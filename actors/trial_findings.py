"""What a trial has read, gathered as a person wants to see it. Pure.

Owns the counts and the bounds of the lists. Readings are judged by the rule of acceptance, as of a
device that was never heard: so the trial shows what would be stored, and what would be refused.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from actors.spelling import Spelling
from actors.submissions import make_update
from domain.acceptance import FUTURE_GUARD_SECONDS
from domain.comparison import compare_readings
from domain.model import Reading, Reason
from domain.position import wire_names
from ports.providers import Sample
from ports.trials import TrialRefusal, TrialReport, TrialVehicle

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from domain.model import Device, ProviderConnection
    from ports.providers import FrameVerdict, Page
    from ports.trials import TrialFault, TrialWay

MAX_VEHICLES: Final = 50
MAX_LISTED: Final = 50  # of each other list
MAX_DETAIL_CHARACTERS: Final = 500
PROVIDER_ERROR: Final = "provider_error"


class Findings:
    """Vehicles, refusals and counts of one trial. Not for concurrent use."""

    def __init__(self, connection: ProviderConnection, devices: Sequence[Device]) -> None:
        self._address = (connection.workspace_id, connection.provider_id)
        self._devices = {device.external_id: device for device in devices}
        self._spelling = Spelling(self._devices, is_vin=connection.ids_are_vins)
        self._readings: dict[str, dict[str, Reading]] = {}  # of every vehicle that was named
        self._refusals: Counter[TrialRefusal] = Counter()
        self._errors: dict[str, str] = {}
        self._left_out: list[str] = []
        self._records = 0
        self._ignored = 0
        self._has_more = False

    def add_page(self, page: Page, asked: Sequence[str], received_at: datetime) -> None:
        """Take the answer to a call that asked for these external ids."""
        page = self._spelling.of_page(page)
        for external_id in sorted(page.answered - page.errors.keys()):
            self._readings.setdefault(external_id, {})
        for sample in page.samples:
            self._add_sample(sample, received_at)
        for record in page.malformed:
            for signal in record.signals or (None,):
                refusal = _refusal(record.external_id, signal, Reason.MALFORMED, record.detail)
                self._refusals[refusal] += record.occurrences
        self._errors |= page.errors
        self._records += page.records
        self._ignored += page.ignored
        self._has_more = page.next_page is not None
        if page.is_roster:
            named = self._readings.keys() | self._errors.keys()
            self._left_out = [name for name in asked if self._spelling.of(name) not in named]

    def add_frame(self, verdict: FrameVerdict, received_at: datetime) -> None:
        """Take one frame of a stream."""
        self._records += 1
        name = None if verdict.external_id is None else self._spelling.of(verdict.external_id)
        if verdict.fault is not None:
            detail = verdict.malformed or "an error report of the provider"
            self._refusals[TrialRefusal(name, None, PROVIDER_ERROR, detail)] += 1
        elif verdict.malformed is not None:
            refusal = _refusal(name, verdict.signal, Reason.MALFORMED, verdict.malformed)
            self._refusals[refusal] += 1
        elif verdict.ignored is not None or name is None:
            self._ignored += 1
        else:
            self._add_sample(Sample(name, verdict.readings), received_at)

    def report(
        self,
        way: TrialWay,
        begun_at: datetime,
        seconds: float,
        fault: TrialFault | None,
        asked: Sequence[str],
    ) -> TrialReport:
        """Return all of it, with the lists cut. Configured vehicles come first."""
        names = sorted(self._readings, key=lambda name: (name not in self._devices, name))
        return TrialReport(
            way=way,
            begun_at=begun_at,
            seconds=seconds,
            fault=fault,
            vehicles=tuple(self._vehicle(name) for name in names[:MAX_VEHICLES]),
            vehicle_count=len(names),
            unconfigured_count=sum(name not in self._devices for name in names),
            refusals=tuple(self._listed_refusals()),
            refusal_count=self._refusals.total(),
            errors=dict(sorted(self._errors.items())[:MAX_LISTED]),
            asked_count=len(asked),
            left_out=tuple(self._left_out[:MAX_LISTED]),
            left_out_count=len(self._left_out),
            records=self._records,
            ignored=self._ignored,
            has_more=self._has_more,
        )

    def _add_sample(self, sample: Sample, received_at: datetime) -> None:
        name = sample.external_id
        update = make_update(
            self._address,
            name,
            self._devices.get(name),
            sample.readings,
            received_at,
            "",
            sample.reception_at,
        )
        compared = compare_readings(update, {}, FUTURE_GUARD_SECONDS)
        held = self._readings.setdefault(name, {})
        for reading in _on_the_wire(compared.advanced):
            known = held.get(reading.signal)
            if known is None or reading.observed_at > known.observed_at:
                held[reading.signal] = reading
        for dropped in compared.dropped:
            self._refusals[_refusal(name, dropped.signal, dropped.reason, dropped.why)] += 1

    def _listed_refusals(self) -> Iterable[TrialRefusal]:
        for refusal, occurrences in self._refusals.most_common(MAX_LISTED):
            yield refusal._replace(occurrences=occurrences)

    def _vehicle(self, name: str) -> TrialVehicle:
        readings = self._readings[name]
        newest = tuple(readings[signal] for signal in sorted(readings))
        return TrialVehicle(name, self._devices.get(name), newest)


def _refusal(
    external_id: str | None, signal: str | None, reason: Reason, detail: str
) -> TrialRefusal:
    return TrialRefusal(external_id, signal, str(reason), detail[:MAX_DETAIL_CHARACTERS])


def _on_the_wire(readings: Iterable[Reading]) -> Iterable[Reading]:
    """Yield the readings by the names that clients know: a position is two."""
    for signal, value, at in readings:
        names = wire_names(signal)
        values = value if isinstance(value, tuple) else (value,)
        for name, part in zip(names, values, strict=True):
            yield Reading(name, part, at)
