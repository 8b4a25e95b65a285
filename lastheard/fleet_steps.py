"""What `lastheard apply` would do: its changes for a reader, and its requests for the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lastheard.fleet_faults import FleetFault

MAX_LISTED = 20  # changes of one kind in one workspace; the others are counted
_UNSET = "none"


class FleetChange(NamedTuple):
    """One line of the difference. `mark` is + for a new thing, ~ for another one, - for an end."""

    mark: str
    kind: str
    name: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.mark} {self.kind} {self.name}{': ' if self.detail else ''}{self.detail}"


class FleetStep(NamedTuple):
    """One request. `devices` counts those in its body."""

    method: str
    path: str
    body: Any = None
    conditions: Mapping[str, str] = {}
    devices: int = 0


@dataclass
class FleetPlan:
    """All that is to do for one workspace, or a part of it.

    The places of `faults` are within the workspace. `kept` counts what the file does not name and
    what stays nevertheless. `time_zone`, `policy` and `connections`, by their index in the file,
    shall be judged by the API before the first request.
    """

    changes: list[FleetChange] = field(default_factory=list)
    steps: list[FleetStep] = field(default_factory=list)
    faults: list[FleetFault] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    time_zone: str | None = None
    policy: dict[str, Any] | None = None
    connections: dict[int, dict[str, Any]] = field(default_factory=dict)


def describe_difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return what differs, as `name "a" -> "b", active true -> false`; empty if nothing does."""
    parts = [
        f"{name} {_write(before.get(name))} -> {_write(after[name])}"
        for name in after
        if before.get(name) != after[name]
    ]
    return ", ".join(parts)


def _write(value: Any) -> str:
    match value:
        case None:
            return _UNSET
        case float() if value.is_integer():
            return str(int(value))
        case dict():
            filled = {name: member for name, member in value.items() if member is not None}
            return orjson.dumps(filled).decode()
        case _:
            return orjson.dumps(value).decode()


def list_changes(changes: Iterable[FleetChange], *, in_full: bool) -> Iterator[str]:
    """Yield the lines of the difference: MAX_LISTED of one kind, and how many more there are."""
    counts: dict[tuple[str, str], int] = {}
    for change in changes:
        sort = (change.mark, change.kind)
        counts[sort] = counts.get(sort, 0) + 1
        if in_full or counts[sort] <= MAX_LISTED:
            yield str(change)
    for (mark, kind), count in counts.items():
        if not in_full and count > MAX_LISTED:
            yield f"{mark} {count - MAX_LISTED} more of {kind} (--all lists them)"
