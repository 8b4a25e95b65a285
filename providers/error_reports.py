"""Errors that providers report inside an answer with a good status. Pure.

Owns how a report is recognised and put into words, for all providers. Vendors hardly document the
form of such reports, so the usual ones are known: a member `error` or `fault`, or an object with
the members of an error (`code`, `message`, …) where data was expected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

VEHICLE_ERROR: Final = "the provider reports an error for the vehicle"
REPORTS: Final = ("error", "errors", "fault", "exception")
UNTOLD: Final = "no details"
MAX_LEVELS: Final = 3
_CODES: Final = ("code", "status", "statusCode", "name")
_TEXTS: Final = ("message", "detail", "reason", "description", "error")
_TOLD_BY: Final = (*_TEXTS, "code", "status", "statusCode")
_GOOD_WORDS: Final = frozenset({"", "ok", "success", "0", "200", "204"})


def named_error(fields: Mapping[str, Any]) -> str | None:
    """Return the error under one of the usual names, in words; None if there is none.

    A member that is null, false or empty says that there is no error.
    """
    return next((describe_error(fields[name]) for name in REPORTS if fields.get(name)), None)


def error_in_place_of_data(fields: Mapping[str, Any]) -> str | None:
    """Return the error that an object without any data is, in words; None if it is none."""
    is_told = any(_is_bad(fields.get(name)) for name in _TOLD_BY)
    if is_told or fields.get("success") is False or fields.get("ok") is False:
        return describe_error(fields)
    return None


def _is_bad(told: object) -> bool:
    """Return whether a code or text says something else than that all is well."""
    return type(told) in (str, int) and str(told).strip().lower() not in _GOOD_WORDS


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
