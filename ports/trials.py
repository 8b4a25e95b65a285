"""Trials: one live call over a configured connection, of which nothing is stored."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.model import Device, FaultClass, ProviderConnection, Reading

TrialWay = Literal["call", "stream"]


class TrialWish(NamedTuple):
    """How a connection is tried.

    `external_ids` are asked for in place of the configured devices; None: those. `way` None: a call
    where the connection has one to make, else its stream. A stream is read for `seconds`.
    """

    external_ids: tuple[str, ...] | None = None
    way: TrialWay | None = None
    seconds: float = 10.0


class TrialFault(NamedTuple):
    """The fault that ended a trial, and what to do about it."""

    fault: FaultClass
    detail: str
    remedy: str


class TrialRefusal(NamedTuple):
    """A value or record that would be refused. None where it could not be told."""

    external_id: str | None
    signal: str | None
    reason: str
    detail: str
    occurrences: int = 1


class TrialVehicle(NamedTuple):
    """A vehicle of the answer, with the newest good reading of each signal.

    `device` is None if it is not configured as one.
    """

    external_id: str
    device: Device | None
    readings: tuple[Reading, ...]


class TrialReport(NamedTuple):
    """What a trial found. Lists are cut; the counts beside them are of everything.

    `asked` are the external ids that were asked for. `left_out` are those of them that an answer
    for every vehicle did not name. `errors` are the provider's errors for single vehicles.
    `has_more`: the answer has further pages, which were not fetched.
    """

    way: TrialWay
    begun_at: datetime
    seconds: float
    fault: TrialFault | None = None
    vehicles: tuple[TrialVehicle, ...] = ()
    vehicle_count: int = 0
    unconfigured_count: int = 0
    refusals: tuple[TrialRefusal, ...] = ()
    refusal_count: int = 0
    errors: Mapping[str, str] = MappingProxyType({})
    asked_count: int = 0
    left_out: tuple[str, ...] = ()
    left_out_count: int = 0
    records: int = 0
    ignored: int = 0
    has_more: bool = False


class TrialRefused(Exception):
    """There is no trial now. `retry_after` is in seconds, and None if waiting does not help."""

    def __init__(self, why: str, retry_after: float | None) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class Trials(Protocol):
    async def run(
        self, connection: ProviderConnection, devices: Sequence[Device], wish: TrialWish
    ) -> TrialReport:
        """Try the connection, within its own deadline. `devices` are its active ones.

        A provider's fault is in the report. Raises TrialRefused.
        """
        ...
