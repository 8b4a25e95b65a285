"""ViriCiti beside the stream: state endpoint's answers, and messages that others forward. Pure.

Owns their shapes and counts. wire.py reads each single data point, so that a value is read alike
whichever way it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from domain.model import FaultClass, Reading
from ports.providers import BadRecord, Page, ProviderFault, Sample
from providers.samples import BadRecords, malformed_answer
from providers.viriciti.wire import (
    DEFAULT_RULES,
    MAX_VID_LENGTH,
    UNKNOWN_SHAPE,
    WORDS,
    Rules,
    interpret,
    read_point,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime


class _StateReader:
    """Counts while it reads. A record is one label of one vehicle, as in a frame."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.samples: list[Sample] = []
        self.records = 0
        self.ignored = 0
        self.bad = BadRecords()

    def read_vehicle(self, vid: str, labels: dict[str, Any]) -> None:
        readings = [
            reading
            for label, entry in labels.items()
            for reading in self._read_label(vid, label, entry)
        ]
        if readings:
            self.samples.append(Sample(vid, tuple(readings)))

    def _read_label(self, vid: str, label: str, entry: object) -> tuple[Reading, ...]:
        self.records += 1
        if entry is None or entry == {}:
            self.ignored += 1
            return ()
        outcome: tuple[Reading, ...] | str = "not an object"
        if type(entry) is dict:
            outcome = read_point(label, entry.get("time"), entry.get("value"), self._rules)
        if isinstance(outcome, tuple):
            return outcome
        if outcome in WORDS:
            self.ignored += 1
        else:
            self.bad.add(vid, str(outcome), {vid: {label: entry}}, refused_whole=False)
        return ()


def interpret_state(body: bytes, requested: Collection[str], rules: Rules = DEFAULT_RULES) -> Page:
    """Read one answer of `POST /api/v2/state`. Sets neither `next_page` nor `cursor`.

    A missing or empty label is no news. A vehicle in the answer, with or without labels, was
    answered about; a missing one was not. Vehicles that were not asked for are ignored. Raises
    ProviderFault when the answer is not a JSON object.
    """
    try:
        message = orjson.loads(body)
    except ValueError as error:
        raise malformed_answer("the state answer is not JSON") from error
    if type(message) is not dict:
        raise malformed_answer("the state answer is not an object")
    reader, wanted, answered = _StateReader(rules), set(requested), set()
    for vid, labels in message.items():
        if vid not in wanted:
            reader.records += 1
            reader.ignored += 1
        elif type(labels) is dict and _is_name(vid):
            answered.add(vid)
            reader.read_vehicle(vid, labels)
        else:
            reader.records += 1
            name = vid if _is_name(vid) else None
            reader.bad.add(name, "the vehicle's labels are not an object", {vid: labels})
    samples = sorted(reader.samples, key=_newest)
    return Page(
        samples=tuple(samples),
        answered=frozenset(answered),
        records=reader.records,
        ignored=reader.ignored,
        malformed=reader.bad.records(),
        malformed_count=reader.bad.count,
    )


def interpret_message(message: bytes, rules: Rules = DEFAULT_RULES) -> Page:
    """Read an envelope's raw message: a frame of the stream, or an answer of the state endpoint.

    Raises ProviderFault when it is neither, or when it is the provider's report of an error.
    """
    verdict = interpret(message, rules)
    if verdict == UNKNOWN_SHAPE and _is_state(body := orjson.loads(message)):
        return interpret_state(message, body.keys(), rules)
    if verdict.fault is not None:
        raise ProviderFault(verdict.fault, "the message is an error report of the provider")
    if verdict.ignored is not None:
        return Page((), frozenset(), records=1, ignored=1)
    if verdict.external_id is None:
        raise ProviderFault(
            FaultClass.PROTOCOL,
            f"the message has no form that this provider is known to send: {verdict.malformed}",
        )
    if verdict.readings:
        sample = Sample(verdict.external_id, verdict.readings)
        return Page((sample,), frozenset({sample.external_id}), records=1)
    record = BadRecord(verdict.external_id, str(verdict.malformed), message)
    return Page((), frozenset(), records=1, malformed=(record,), malformed_count=1)


def _is_name(vid: str) -> bool:
    return 0 < len(vid) <= MAX_VID_LENGTH and "\0" not in vid


def _is_state(body: dict[str, Any]) -> bool:
    return all(type(labels) is dict for labels in body.values())


def _newest(sample: Sample) -> datetime:
    return max(reading.observed_at for reading in sample.readings)
