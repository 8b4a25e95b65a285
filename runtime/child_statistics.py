"""The state of a supervisor and of its children, as frozen records for operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Crash:
    """The last crash of a child."""

    type: str  # name of the exception's class
    message: str  # redacted and bounded


@dataclass(frozen=True, slots=True)
class ChildStatistics:
    """One child as it is now."""

    state: str  # runtime.supervisor.ChildState
    restart: str  # runtime.supervisor.Restart
    essential: bool
    restarts: int  # how often it was started again since its first start
    since: str  # when it entered its state, RFC 3339
    last_error: Crash | None


@dataclass(frozen=True, slots=True)
class SupervisorTotals:
    """One supervisor with the numbers of its children, as its metrics need them."""

    name: str
    states: Mapping[str, int]  # number of children in each state
    crashes: int  # of all children, since the process began


@dataclass(frozen=True, slots=True)
class SupervisorStatistics(SupervisorTotals):
    """One supervisor with its children, those that ended by themselves included."""

    children: Mapping[str, ChildStatistics]  # by name
