"""The values of the examples of what pictures are made from: a device's day, the poll plan."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PICTURES: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "PlanAnswer.workspaces": 2,
        "PlanSeries.workspaces": 2,
        "PlanAnswer.states": {"overdue": 0, "missed": 0, "late": 1, "on_time": 1, "awaited": 0},
        "StartAnswer.state": "late",
        "CyclesOfBucket.answer": "ok",
        "CyclesOfBucket.cycles": 1,
        "ReceiptsOfBucket.updates": 12,
        "DayEdgeAnswer.kind": "call_succeeded",
    }
)
