"""One fleet's vehicles, how they report, and their turns: the part that both providers share.

Owns which vehicle reports when, and the readings that a late vehicle keeps back. Other modules
decide how a report looks on the wire. Synchronous; elapsed seconds come from outside.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from simulator.chance import seed_from
from simulator.faults import FrameFault, frame_fault
from simulator.fleet import Bus, city
from simulator.manners import assign_reporting
from simulator.quirks import Quirk
from simulator.reporting import CHATTY, Reporting, Timetable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from simulator.config import Tenant
    from simulator.faults import Faults
    from simulator.fleet import VehicleSpec
    from simulator.reporting import Turn

_T = TypeVar("_T")

# Readings kept per vehicle; beyond that the oldest are dropped, as a telematics unit would do.
MAX_KEPT: Final = 10_000
MAX_CHANGES: Final = 100_000  # of manners and faults; beyond that the oldest are forgotten


class Change(NamedTuple):
    """A manner that a vehicle (or faults that a whole fleet) had from `elapsed` on."""

    elapsed: float
    vehicle_id: str | None
    manner: Reporting | Faults


class Roster:
    """The vehicles of one fleet and their timetable.

    `period_of` gives the seconds between two reports of a vehicle without faults; zero or less
    means never.
    """

    def __init__(
        self, tenant: Tenant, seed: int, period_of: Callable[[VehicleSpec], float]
    ) -> None:
        self.seed = seed_from(seed, tenant.name)
        centre = city(seed, tenant.name)
        self.buses = [Bus(self.seed, spec, centre) for spec in tenant.vehicles]
        self.vehicles: Mapping[str, int] = {
            bus.spec.vehicle_id: number for number, bus in enumerate(self.buses)
        }
        self.faults = tenant.faults
        self._period_of = period_of
        self._manners: list[Reporting] = []
        self._since = [0.0] * len(self.buses)
        self._heard: set[int] = set()  # vehicles with a turn since their manner began
        self._timetable = Timetable(())
        self.elapsed = 0.0  # as of the last tick
        self.changes: deque[Change] = deque(maxlen=MAX_CHANGES)
        self.change_faults(tenant.faults, 0.0)

    def change_faults(self, faults: Faults, elapsed: float) -> None:
        """From now on these faults.

        Vehicles without manners of their own get new ones; all seconds count from now.
        """
        self.faults = faults
        self.elapsed = max(self.elapsed, elapsed)
        drawn = assign_reporting(faults, self.seed, list(self.vehicles))
        own = [bus.spec.reporting for bus in self.buses]
        self._manners = [
            drawn.get(bus.spec.vehicle_id, CHATTY) if own[number] == CHATTY else own[number]
            for number, bus in enumerate(self.buses)
        ]
        self._since = [elapsed] * len(self.buses)
        self._heard.clear()
        self.changes.append(Change(elapsed, None, faults))
        self.changes.extend(
            Change(elapsed, bus.spec.vehicle_id, manner)
            for bus, manner in zip(self.buses, self._manners, strict=True)
            if manner != CHATTY or elapsed > 0
        )
        self._restart(elapsed)

    def change_reporting(self, vehicle_id: str, reporting: Reporting, elapsed: float) -> None:
        """Set how one vehicle reports from now on.

        Raises KeyError for a vehicle that is not in this fleet.
        """
        number = self.vehicles[vehicle_id]
        self._manners[number] = reporting
        self.elapsed = max(self.elapsed, elapsed)
        self._since[number] = elapsed
        self._heard.discard(number)
        self.changes.append(Change(elapsed, vehicle_id, reporting))
        self._restart(elapsed)

    def _restart(self, elapsed: float) -> None:
        self._timetable.restart(
            [self._period(number) for number in range(len(self.buses))], elapsed
        )

    def _period(self, vehicle: int) -> float:
        manners = self._manners[vehicle]
        if manners.never:
            return 0.0
        return manners.every_seconds or self._period_of(self.buses[vehicle].spec)

    def turns(self, elapsed: float) -> Iterator[Turn]:
        """Yield the turns that fell due since the last call, without those of silent vehicles.

        `due` is when the vehicle says that it reports, by its own clock.
        """
        self.elapsed = elapsed
        for turn in self._timetable.due(elapsed):
            manners = self._manners[turn.vehicle]
            if manners is CHATTY:
                yield turn
                continue
            seconds = turn.due - self._since[turn.vehicle]
            if not manners.is_silent(seconds):
                is_first = turn.vehicle not in self._heard
                self._heard.add(turn.vehicle)
                yield from manners.reports(turn, seconds, is_first=is_first)

    def quirk_of(self, vehicle: int) -> Quirk | None:
        """Return the vehicle's quirk if it has begun, as of the last tick."""
        manners = self._manners[vehicle]
        if manners.quirk is None or not manners.has_begun(self.elapsed - self._since[vehicle]):
            return None
        return manners.quirk

    def is_left_out(self, vehicle: int) -> bool:
        """Return whether the account does not have this vehicle any more."""
        return self.quirk_of(vehicle) is Quirk.LEFT_OUT

    def sends_all_labels(self, vehicle: int) -> bool:
        """Return whether the vehicle reports so seldom that it sends all its labels at once."""
        return self._manners[vehicle].every_seconds is not None

    def has_stopped(self, turn: Turn, label: str) -> bool:
        manners = self._manners[turn.vehicle]
        return manners is not CHATTY and manners.has_stopped(
            label, turn.due - self._since[turn.vehicle]
        )

    def late_seconds(self, vehicle: int) -> float | None:
        return self._manners[vehicle].late_seconds

    def fault_of(self, turn: Turn, signal: int) -> FrameFault | None:
        """Return the fault of this signal's report, or None.

        None too outside the faults' time, and for a vehicle that they do not concern.
        """
        faults = self.faults
        if not faults.frame_limits or not faults.is_active(turn.due):
            return None
        if not faults.concerns(self.buses[turn.vehicle].spec.vehicle_id):
            return None
        return frame_fault(faults, self.seed, signal, turn.number)

    @property
    def missed_turns(self) -> int:
        return self._timetable.missed


class HeldReadings(Generic[_T]):
    """Readings that late vehicles have not delivered yet.

    At most MAX_KEPT per vehicle; beyond that the oldest are dropped.
    """

    def __init__(self) -> None:
        self._kept: dict[int, deque[_T]] = {}
        self._since: dict[int, float] = {}

    def keep(self, vehicle: int, item: _T, elapsed: float) -> None:
        self._since.setdefault(vehicle, elapsed)
        self._kept.setdefault(vehicle, deque(maxlen=MAX_KEPT)).append(item)

    def bursts(self, roster: Roster, elapsed: float) -> Iterator[_T]:
        """Yield all readings of every vehicle whose burst is due.

        The burst of a vehicle that is no longer late is due at once.
        """
        for vehicle in [
            each
            for each, since in self._since.items()
            if elapsed >= since + (roster.late_seconds(each) or 0)
        ]:
            del self._since[vehicle]
            yield from self._kept.pop(vehicle)
