"""Errors that the state endpoint reports inside an answer with a good status. Pure.

Owns how they are recognised. The vendor documents no form for them, so the usual ones are known:
a member `error` or `fault`, or an object that has an error's members and no label. An error about
a vehicle is no answer about it, and none is ever taken for an empty list of labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from providers.viriciti.wire import LABELS

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_LEVELS: Final = 3
UNTOLD: Final = "no details"
_REPORTS: Final = ("error", "errors", "fault", "exception")
_CODES: Final = ("code", "status", "statusCode", "name")
_TEXTS: Final = ("message", "detail", "reason", "description", "error")


def error_of_vehicle(labels: object) -> str | None:
    """Return the error that stands in the place of a vehicle's labels, or beside them.

    None if there is none. Text in the place of labels is an error: no label is text.
    """
    if isinstance(labels, str) and labels:
        return labels
    return error_of(labels) if type(labels) is dict else None


def error_of(labels: dict[str, Any]) -> str | None:
    """Return the error of one vehicle's object in words; None if it has none."""
    for name in _REPORTS:
        if labels.get(name):
            return describe_error(labels[name])
    if labels.keys() & LABELS.keys():
        return _error_of_labels(labels)
    if any(type(labels.get(name)) in (str, int) for name in (*_TEXTS, "code")):
        return describe_error(labels)
    if any(type(labels.get(name)) in (str, int) for name in ("status", "statusCode")):
        return describe_error(labels)
    if labels.get("success") is False or labels.get("ok") is False:
        return describe_error(labels)
    return None


def error_in_answer(message: dict[str, Any], vids: Collection[str]) -> str | None:
    """Return the error that an answer reports beside its vehicles; None if there is none."""
    rest = {name: value for name, value in message.items() if name not in vids}
    return error_of(rest)


def describe_error(report: object, levels: int = MAX_LEVELS) -> str:
    """Return the report's code and text, not yet scrubbed and cut. Neither may be there."""
    if type(report) in (str, int, float) and report != "":
        return str(report)
    if type(report) is list and report and levels:
        return describe_error(report[0], levels - 1)
    if type(report) is not dict or not levels:
        return UNTOLD
    parts = [describe_error(report.get(name), levels - 1) for name in (*_CODES, *_TEXTS)]
    told = [part for part in parts if part != UNTOLD]
    return " ".join(told) or UNTOLD


def _error_of_labels(labels: dict[str, Any]) -> str | None:
    """Return the error if every label that is not empty has one and no value."""
    entries = [entry for entry in labels.values() if entry]
    reports = [
        entry["error"]
        for entry in entries
        if type(entry) is dict and entry.get("error") and "value" not in entry
    ]
    return describe_error(reports[0]) if reports and len(reports) == len(entries) else None
