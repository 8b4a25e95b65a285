"""ViriCiti beside the stream: state endpoint's answers, and messages that others forward. Pure.

Owns their shapes and counts, and what an answer says about a vehicle: that there is news, none, or
an error. wire.py reads each single data point, so that a value is read alike whichever way it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from domain.model import FaultClass, Reading
from domain.position import wire_names
from ports.providers import Page, ProviderFault, Sample
from providers.error_reports import REPORTS, VEHICLE_ERROR
from providers.samples import BadRecords, malformed_answer
from providers.viriciti.damaged import (
    NotANumber,
    find_vehicles,
    is_damaged,
    read_tolerantly,
)
from providers.viriciti.errors import error_of_vehicle, errors_in_answer
from providers.viriciti.wire import (
    BAD_VID,
    DEFAULT_RULES,
    LABELS,
    NOT_JSON,
    UNKNOWN_SHAPE,
    WORDS,
    Rules,
    interpret,
    read_point,
    read_vid,
    signal_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from ports.providers import FrameVerdict


MAX_UNASKED: Final = 100  # vehicles of an answer that are read without having been asked for
NO_LABEL: Final = "the vehicle's object holds no labels"
NOTHING_NEW: Final = Page((), frozenset(), is_complete=True)  # an answer without content


class _StateReader:
    """Counts while it reads. A record is one label of one vehicle, as in a frame."""

    def __init__(self, rules: Rules, damaged: frozenset[str]) -> None:
        """`damaged`: the vehicles whose labels are looked at one by one; see damaged.py."""
        self._rules = rules
        self._damaged = damaged
        self.samples: list[Sample] = []
        self.answered: set[str] = set()
        self.errors: dict[str, str] = {}
        self.records = 0
        self.ignored = 0
        self.bad = BadRecords()

    def read_vehicle(self, vid: str, labels: object) -> None:
        """Read one member of the answer.

        Null and empty objects are an answer without news, as empty labels are.
        """
        error = error_of_vehicle(labels)
        if error is not None:
            self.note_error(vid, error, {vid: labels})
        else:
            self.answered.add(vid)
        if error is None and (labels is None or labels == [] or labels == {}):
            self.ignore()
        elif error is None and not _has_label(labels):
            self._refuse_vehicle(vid, labels)
        elif type(labels) is dict:
            self._read_labels(vid, labels)

    def _refuse_vehicle(self, vid: str, labels: object) -> None:
        why = NO_LABEL if type(labels) is dict else "the vehicle's labels are not an object"
        self.records += 1
        self.bad.add(vid, NOT_JSON if type(labels) is NotANumber else why, {vid: labels})

    def ignore(self) -> None:
        self.records += 1
        self.ignored += 1

    def note_missing(self, vids: Collection[str], error: str) -> None:
        """Note vehicles that are missing from an answer which reports an error."""
        for vid in vids:
            if vid not in self.answered and vid not in self.errors:
                self.note_error(vid, error, {"error": error})

    def note_error(self, vid: str, error: str, sample: object) -> None:
        """Note the provider's error for a vehicle. It is counted, and is no refusal of data."""
        self.records += 1
        self.errors[vid] = error
        self.answered.discard(vid)
        self.bad.add(vid, VEHICLE_ERROR, sample, refused_whole=False)

    def _read_labels(self, vid: str, labels: dict[str, Any]) -> None:
        readings: list[Reading] = []
        wrong: dict[str, str] = {}
        for label, entry in labels.items():
            outcome = self._read_label(vid, label, entry)
            if isinstance(outcome, tuple):
                readings += outcome
            else:
                wrong[label] = outcome
        self._refuse_labels(vid, labels, wrong, is_whole=not readings and vid in self.answered)
        if readings:
            self.samples.append(Sample(vid, tuple(readings)))

    def _refuse_labels(
        self, vid: str, labels: dict[str, Any], wrong: dict[str, str], *, is_whole: bool
    ) -> None:
        for label, why in wrong.items():
            signal = signal_of(label)
            detail, signals = (
                (why, ()) if signal is None else (f"{label}: {why}", wire_names(signal))
            )
            self.bad.add(
                vid, detail, {vid: {label: labels[label]}}, signals, refused_whole=is_whole
            )

    def _read_label(self, vid: str, label: str, entry: object) -> tuple[Reading, ...] | str:
        """Return the readings of one label, or else what is wrong with it."""
        if vid in self._damaged and is_damaged({label: entry}):
            self.records += 1
            return NOT_JSON
        if not entry and (entry is None or type(entry) in (dict, list)):
            self.ignore()
            return ()
        if signal_of(label) is None:
            self.ignore()
            return ()
        self.records += 1
        if type(entry) is not dict:
            return "not an object"
        if "value" not in entry:
            return "value is missing"
        outcome = read_point(label, entry.get("time"), entry["value"], self._rules)
        if outcome in WORDS:
            self.ignored += 1
            return ()
        return outcome


def interpret_state(body: bytes, requested: Collection[str], rules: Rules = DEFAULT_RULES) -> Page:
    """Read one answer of `POST /api/v2/state`. Sets neither `next_page` nor `cursor`.

    A missing or empty label is no news. A vehicle in the answer, with or without labels, was
    answered about, unless it has an error there. A missing one was not; if the answer reports an
    error beside its vehicles, that error is about the missing ones. Of vehicles that were not asked
    for, the first MAX_UNASKED are read: one may be a vehicle whose id was mistyped.

    Null says that there is nothing new: the page is complete, and names nobody. Raises
    ProviderFault when the answer is not a JSON object, or when it has members and no vehicle: an
    error report, or another form. It would look like a fleet that left.
    """
    message, damaged = _read_object(body, requested)
    if message is None:
        return NOTHING_NEW
    reader, wanted = _StateReader(rules, damaged), set(requested)
    errors, reported = errors_in_answer(message, wanted)
    unasked = 0
    for name, labels in message.items():
        vid = read_vid(name)
        if vid not in wanted:
            unasked += _is_vehicle(labels)
            if unasked > MAX_UNASKED or not _is_vehicle(labels):
                reader.ignore()
                continue
        if vid is None:
            reader.records += 1
            reader.bad.add(None, BAD_VID, {name: labels})
        else:
            reader.read_vehicle(vid, labels)
    for vid, error in errors.items():
        reader.note_error(vid, error, {"error": error})
    if message and not (reader.answered or reader.errors or reader.bad.count):
        raise malformed_answer("the state answer names no vehicle")
    if reported is not None:
        reader.note_missing(wanted, reported)
    return _to_page(reader)


def _has_label(labels: object) -> bool:
    """Return whether some member is a known label, has a label's form, or is empty."""
    return type(labels) is dict and any(
        name in LABELS or not entry or (type(entry) is dict and "value" in entry)
        for name, entry in labels.items()
    )


def _is_vehicle(labels: object) -> bool:
    return type(labels) is dict and not LABELS.keys().isdisjoint(labels)


def _read_object(
    body: bytes, vids: Collection[str] = ()
) -> tuple[dict[str, Any] | None, frozenset[str]]:
    """Return the answer's members, and the names of the damaged ones. Raises ProviderFault.

    An empty list is a map without members: some languages write it so. Null gives None.
    """
    damaged: frozenset[str] = frozenset()
    try:
        message = orjson.loads(body)
    except ValueError:
        try:
            message, damaged = read_tolerantly(body, vids)
        except ValueError as error:
            raise malformed_answer("the state answer is not JSON") from error
    if message is None:
        return None, damaged
    if type(message) is not dict and message != []:
        raise malformed_answer("the state answer is not an object")
    return message or {}, damaged


def _to_page(reader: _StateReader) -> Page:
    return Page(
        samples=tuple(sorted(reader.samples, key=_newest)),
        answered=frozenset(reader.answered),
        records=reader.records,
        ignored=reader.ignored,
        malformed=reader.bad.records(),
        malformed_count=reader.bad.count,
        errors=reader.errors,
    )


def interpret_message(message: bytes, rules: Rules = DEFAULT_RULES) -> Page:
    """Read an envelope's raw message: a frame of the stream, or an answer of the state endpoint.

    Raises ProviderFault when it is neither, or when it is the provider's report of an error.
    """
    verdict = interpret(message, rules)
    if verdict.parts:
        return _page_of_parts(verdict.parts, message)
    if verdict.external_id is None and verdict.malformed in (UNKNOWN_SHAPE, NOT_JSON):
        vids = _vids_in(message)
        if vids:
            return _interpret_forwarded_state(message, vids, rules)
    if verdict.external_id is None and verdict.fault is not None:
        raise ProviderFault(verdict.fault, "the message is an error report of the provider")
    if verdict.external_id is None and verdict.malformed is not None:
        raise ProviderFault(
            FaultClass.PROTOCOL,
            f"the message has no form that this provider is known to send: {verdict.malformed}",
        )
    return _page_of_parts((verdict,), message)


def _page_of_parts(parts: Sequence[FrameVerdict], message: bytes) -> Page:
    """Return the page of a frame: each data point in it is a record."""
    samples, bad, ignored = [], BadRecords(), 0
    errors: dict[str, str] = {}
    for part in parts:
        vid = part.external_id
        if part.fault is not None:
            bad.add(vid, VEHICLE_ERROR, message, refused_whole=False)
            if vid is not None:
                errors[vid] = VEHICLE_ERROR
        elif part.malformed is not None:
            signals = () if part.signal is None else wire_names(part.signal)
            bad.add(vid, part.malformed, message, signals)
        elif vid is None or not part.readings:
            ignored += 1
        else:
            samples.append(Sample(vid, part.readings))
    return Page(
        samples=tuple(samples),
        answered=frozenset(sample.external_id for sample in samples),
        records=len(parts),
        ignored=ignored,
        malformed=bad.records(),
        malformed_count=bad.count,
        errors=errors,
    )


def _interpret_forwarded_state(message: bytes, vids: Collection[str], rules: Rules) -> Page:
    """Read a forwarded state answer. If no vehicle of it can be read, each is a bad record."""
    try:
        return interpret_state(message, vids, rules)
    except ProviderFault:
        bad = BadRecords()
        for vid in vids:
            bad.add(read_vid(vid), NOT_JSON, message)
        return Page((), frozenset(), None, None, bad.count, 0, bad.records(), bad.count)


def _vids_in(message: bytes) -> Collection[str]:
    """Return the vehicles of a state answer; nothing if the message is none.

    A state answer has vehicles only, or at least one with labels: what stands in the place of
    another one's labels must not cost the others.
    """
    try:
        body, _ = _read_object(message)
    except ProviderFault:
        return find_vehicles(message)
    if not body:
        return ()
    kinds = {type(labels) for labels in body.values() if labels}
    if kinds != {dict} and not any(map(_is_vehicle, body.values())):
        return ()
    return [name for name, labels in body.items() if name not in REPORTS or _is_vehicle(labels)]


def _newest(sample: Sample) -> datetime:
    return max(reading.observed_at for reading in sample.readings)
