"""The query of a request to `/rfms/vehiclestatuses`, checked by the rules of rFMS 4.0. Pure.

Owns the parameters and their refusals (400), and the link to the next page. Must never look at the
data.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import floor
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENTS: Final = frozenset({"ACCUMULATED", "SNAPSHOT", "UPTIME"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """One of the standard's error bodies; `error` is its identifier."""

    status: int
    error: str
    description: str


@dataclass(frozen=True, slots=True)
class StatusQuery:
    """A valid query for statuses.

    `start` is inclusive, `stop` exclusive, both in whole seconds since the epoch (a request's
    milliseconds are ignored). `after` is (time, sequence) of the last record of the page before; it
    occurs only in our own links.
    """

    latest_only: bool
    by_created: bool
    start: float
    stop: float
    vin: str | None
    triggers: frozenset[str]
    contents: frozenset[str]
    last_vin: str | None
    after: tuple[float, int] | None


def read_query(parameters: Mapping[str, str]) -> StatusQuery | Refusal:
    """Return the query, or its refusal.

    Neither or both of starttime and latestOnly is 400, as the standard requires.
    """
    try:
        return _read_query(parameters)
    except ValueError as error:
        return Refusal(400, "InvalidParameter", str(error))


def _read_query(parameters: Mapping[str, str]) -> StatusQuery:
    latest_only = _flag(parameters, "latestOnly")
    start, stop = _instant(parameters, "starttime"), _instant(parameters, "stoptime")
    if latest_only and (start is not None or stop is not None):
        raise ValueError("latestOnly excludes starttime and stoptime")
    if not latest_only and start is None:
        raise ValueError("either starttime or latestOnly=true is needed")
    date_type = parameters.get("datetype", "received")
    if date_type not in ("received", "created"):
        raise ValueError("datetype must be received or created")
    contents = _names(parameters, "contentFilter")
    if contents - CONTENTS:
        raise ValueError(f"contentFilter takes {', '.join(sorted(CONTENTS))}")
    return StatusQuery(
        latest_only=latest_only,
        by_created=date_type == "created",
        start=start or 0.0,
        stop=float("inf") if stop is None else stop,
        vin=parameters.get("vin"),
        triggers=_names(parameters, "triggerFilter"),
        contents=contents,
        last_vin=parameters.get("lastVin"),
        after=_after(parameters.get("after")),
    )


def _flag(parameters: Mapping[str, str], name: str) -> bool:
    text = parameters.get(name, "false").lower()
    if text not in ("true", "false"):
        raise ValueError(f"{name} must be true or false")
    return text == "true"


def _instant(parameters: Mapping[str, str], name: str) -> float | None:
    """Read an ISO 8601 time; without an offset it is UTC, the only zone of the standard."""
    text = parameters.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} is no ISO 8601 time: {text!r}") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return float(floor(moment.timestamp()))


def _names(parameters: Mapping[str, str], name: str) -> frozenset[str]:
    return frozenset(filter(None, parameters.get(name, "").split(",")))


def _after(text: str | None) -> tuple[float, int] | None:
    if text is None:
        return None
    instant, _, sequence = text.partition("~")
    return float(instant), int(sequence)


def next_link(path: str, parameters: Mapping[str, str], changes: Mapping[str, str]) -> str:
    """Return the standard's moreDataAvailableLink.

    It is relative to the host and keeps every parameter of the request.
    """
    return f"{path}?{urlencode({**parameters, **changes})}"
