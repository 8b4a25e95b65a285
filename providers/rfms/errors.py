"""Errors that a maker reports inside a page with a good status. Pure.

Owns where they stand: in the place of one vehicle's record, or beside the list of records.
error_reports.py knows their forms. The standard has errors only with a bad status, so makers do as
they like. An error about a vehicle is no answer about it. An error beside the list that names no
vehicle means that the list may lack some.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from providers.error_reports import REPORTS, describe_error, error_in_place_of_data, named_error
from providers.loose_types import read_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_VIN_LENGTH: Final = 64
_DATA: Final = frozenset({"createdDateTime", "receivedDateTime", "snapshotData"})


def error_of_record(fields: Mapping[str, Any]) -> str | None:
    """Return the error that a vehicle's record holds, or is, in words; None if there is none."""
    error = named_error(fields)
    if error is not None or not _DATA.isdisjoint(fields):
        return error
    return error_in_place_of_data(fields)


def errors_beside(places: tuple[Mapping[str, Any], ...]) -> tuple[dict[str, str], bool]:
    """Return the errors beside the list by vin, and whether there is one that names no vehicle.

    `places` are the objects around the list.
    """
    errors: dict[str, str] = {}
    is_nameless = False
    for report in _reports(places):
        vin = read_name(report.get("vin"), MAX_VIN_LENGTH) if isinstance(report, dict) else None
        if vin is None:
            is_nameless = True
        else:
            errors[vin] = describe_error(report)
    return errors, is_nameless


def _reports(places: tuple[Mapping[str, Any], ...]) -> Iterator[Any]:
    for place in places:
        for name in REPORTS:
            report = place.get(name)
            if isinstance(report, list):
                yield from report
            elif report:
                yield report
