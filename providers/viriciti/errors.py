"""Errors that the state endpoint reports inside an answer, and the code in a refusal. Pure.

Owns where they stand in an answer with a good status: in the place of a vehicle's labels, in each
of its labels, or beside the vehicles. error_reports.py knows their forms. An error about a vehicle
is no answer about it, and none is ever taken for an empty list of labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from providers.answers import error_code_in
from providers.error_reports import (
    REPORTS,
    describe_error,
    error_in_place_of_data,
    named_error,
)
from providers.viriciti.wire import LABELS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

NO_LABELS: Final = "no labels, but {}"


def error_of_vehicle(labels: object) -> str | None:
    """Return the error that stands in the place of a vehicle's labels, or beside them.

    None if there is none. Text in the place of labels is an error: no label is text. So are false
    and 0, which say that there is nothing to tell. Null and what is empty are labels without news.
    """
    if isinstance(labels, str):
        return labels.strip() or NO_LABELS.format("empty text")
    if labels is False or (type(labels) in (int, float) and not labels):
        return NO_LABELS.format("false" if labels is False else labels)
    return error_of(labels) if type(labels) is dict else None


def error_of(labels: dict[str, Any]) -> str | None:
    """Return the error of one vehicle's object in words; None if it has none."""
    error = named_error(labels)
    if error is not None:
        return error
    if labels.keys() & LABELS.keys():
        return _error_of_labels(labels)
    return error_in_place_of_data(labels)


def errors_in_answer(
    message: Mapping[str, Any], vids: Collection[str]
) -> tuple[dict[str, str], str | None]:
    """Return the errors that an answer reports beside its vehicles.

    First those that name their vehicle, by vid; then the one that names none, None without one.
    """
    rest = {name: value for name, value in message.items() if name not in vids}
    named: dict[str, str] = {}
    for name in REPORTS:
        report = rest.get(name)
        found = _errors_by_vid(report, vids)
        if found:
            named |= found
            del rest[name]
    return named, error_of(rest)


def _errors_by_vid(report: object, vids: Collection[str]) -> dict[str, str]:
    """Return the errors of a report that names each one's vehicle: a map, or a list of objects."""
    if type(report) is dict:
        return {vid: describe_error(report[vid]) for vid in vids if vid in report}
    found = {}
    for entry in report if type(report) is list else ():
        vid = entry.get("vid") if type(entry) is dict else None
        if type(vid) is str and vid in vids:
            found[vid] = describe_error(entry)
    return found


def _error_of_labels(labels: dict[str, Any]) -> str | None:
    """Return the error if every label that is not empty has one and no value."""
    entries = [entry for entry in labels.values() if entry]
    reports = [
        entry["error"]
        for entry in entries
        if type(entry) is dict and entry.get("error") and "value" not in entry
    ]
    return describe_error(reports[0]) if reports and len(reports) == len(entries) else None


def read_error_code(body: bytes) -> str | None:
    """Return the error code under one of the usual names; None when there is none.

    The vendor documents no error bodies.
    """
    return error_code_in(body, "error", "code")
