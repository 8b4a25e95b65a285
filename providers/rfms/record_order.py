"""The order of the records of one answer, as far as it can be told. Pure.

Paging goes on from a record's time of reception. That is only safe if the server sent its records
in the order of these times, which the standard does not promise. So an order counts as proven only
if the answer shows it: no record is earlier than the one before it, some record of another vehicle
is later, and the answer does not look as if it went vehicle by vehicle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime


class RecordOrder(NamedTuple):
    """The facts by which the next request is chosen.

    `by_reception` and `by_creation` say that this order is proven. `by_creation` also says that no
    record was received before it was created. `last` is the last record in the answer's own order.
    """

    newest_received_at: datetime | None = None
    oldest_received_at: datetime | None = None
    last_received_at: datetime | None = None
    last_created_at: datetime | None = None
    by_reception: bool = False
    by_creation: bool = False


class OrderWatch:
    """Notes the records of one answer, one after the other."""

    def __init__(self) -> None:
        self._received = _Sequence()
        self._created = _Sequence()
        self._is_causal = True

    def note(
        self, vin: str | None, received_at: datetime | None, created_at: datetime | None
    ) -> None:
        if received_at is not None:
            self._received.note(vin, received_at)
        if created_at is not None:
            self._created.note(vin, created_at)
        self._is_causal &= None not in (received_at, created_at) and created_at <= received_at  # type: ignore[operator]

    def result(self) -> RecordOrder:
        received, created = self._received, self._created
        return RecordOrder(
            newest_received_at=received.newest,
            oldest_received_at=received.oldest,
            last_received_at=received.last,
            last_created_at=created.last,
            by_reception=received.is_proven,
            by_creation=created.is_proven and self._is_causal,
        )


class _Sequence:
    """The times of one kind in the answer's own order."""

    def __init__(self) -> None:
        self.newest: datetime | None = None
        self.oldest: datetime | None = None
        self.last: datetime | None = None
        self._vin: str | None = None
        self._vins: set[str | None] = set()
        self._rises = True
        self._rises_between_vehicles = False
        self._rises_within_vehicle = False
        self._returns_to_a_vehicle = False

    @property
    def is_proven(self) -> bool:
        goes_by_vehicle = self._rises_within_vehicle and not self._returns_to_a_vehicle
        return self._rises and self._rises_between_vehicles and not goes_by_vehicle

    def note(self, vin: str | None, at: datetime) -> None:
        last = self.last
        if last is not None:
            self._rises &= last <= at
            if vin == self._vin:
                self._rises_within_vehicle |= last < at
            else:
                self._rises_between_vehicles |= last < at
                self._returns_to_a_vehicle |= vin in self._vins
        self._vins.add(vin)
        self._vin, self.last = vin, at
        self.newest = at if self.newest is None else max(self.newest, at)
        self.oldest = at if self.oldest is None else min(self.oldest, at)
