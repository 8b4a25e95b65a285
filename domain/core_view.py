"""What core shows of a device, as parity compares it. Pure.

Owns for which values it is known since when they are unchanged. A poll that brings a vehicle's
present state says nothing about the time between two polls: a bus that stood at both may have
driven meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from domain.health_signals import has_ended
from domain.held import Held, to_instant
from domain.parity import DeviceView, ShownValue
from domain.signals import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from domain.held import Entry

# Signals that only grow: equal at two instants, they were the same in between.
COUNTERS: Final = frozenset({"odometer_km"})


def view_core(
    document: Mapping[str, Entry], received_at: datetime | None, *, is_polled: bool
) -> DeviceView:
    """Return what core shows of a device: its values but those that have ended."""
    held = {signal: Held.of(entry) for signal, entry in document.items()}
    return DeviceView(
        {
            signal: _show(signal, one, is_polled=is_polled)
            for signal, one in held.items()
            if not _is_over(signal, held)
        },
        received_at,
    )


def _show(signal: str, held: Held, *, is_polled: bool) -> ShownValue:
    is_known = held.changed is not None and (not is_polled or signal in COUNTERS)
    since = to_instant(held.changed) if is_known and held.changed is not None else None
    return ShownValue(held.value, held.observed_at, since)


def _is_over(signal: str, held: Mapping[str, Held]) -> bool:
    entry = CATALOGUE.get(signal)
    condition = None if entry is None else entry.while_signal
    return condition is not None and has_ended(held[signal], held.get(condition))
