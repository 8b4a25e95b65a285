"""Refusals of one stream: frames and readings that were refused, until they go to the ledger. Pure.

Owns how they are gathered: one item for each device, reason and signal in a window, with a count,
the newest arrival and the first sample. Never waits, and never grows without bound.

Overflow policy: devices of the view always have room. Of other names, the first hundred of a window
are kept; refusals of further ones are counted without a name.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from domain.model import (
    MAX_SAMPLE_BYTES,
    MAX_UPDATES_PER_SUBMISSION,
    FaultClass,
    InvalidItem,
    Reason,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.model import Device
    from runtime.clock import SharedClock
    from runtime.scrubbing import Scrubber

MAX_UNKNOWN_IDS = 100  # of a window
MAX_SAMPLES = 100  # of a window; scrubbing one takes longer than reading its frame


class RefusalKind(NamedTuple):
    """The facts by which refusals are gathered. `fault` is of an error that the provider reports.

    `external_id` is None if the vehicle could not be told; `signal` is None if no single one was
    refused.
    """

    reason: Reason
    external_id: str | None = None
    signal: str | None = None
    fault: FaultClass | None = None


@dataclass(slots=True)
class _Gathered:
    count: int
    detail: str
    sample: bytes
    received: float


class Refusals:
    """Gathers refusals until their window is over. Not for concurrent use."""

    def __init__(self, workspace_id: str, provider_id: str, clock: SharedClock) -> None:
        self._address = (workspace_id, provider_id)
        self._clock = clock
        self._gathered: dict[RefusalKind, _Gathered] = {}
        self._unknown: set[str] = set()
        self._samples = 0
        self._since = 0.0  # monotonic time of the window's first refusal
        self._counts: Counter[tuple[Reason, str | None]] = Counter()

    def add(
        self,
        refusal: RefusalKind,
        detail: str,
        sample: str | bytes,
        received: float,
        devices: Mapping[str, Device],
        scrubber: Scrubber,
    ) -> None:
        """Count one refusal. `sample` is the frame, and `received` its monotonic time.

        Names, details and samples that the provider chose pass the scrubber.
        """
        self._counts[refusal.reason, refusal.signal] += 1
        if not self._gathered:
            self._since = received
        refusal = self._with_room(refusal, devices, scrubber)
        known = self._gathered.get(refusal)
        if known is not None:
            known.count += 1
            known.received = max(known.received, received)
            return
        kept = b""
        if self._samples < MAX_SAMPLES:
            self._samples += 1
            kept = scrubber.sample(sample, MAX_SAMPLE_BYTES)
        self._gathered[refusal] = _Gathered(1, scrubber.text(detail), kept, received)

    def _with_room(
        self, refusal: RefusalKind, devices: Mapping[str, Device], scrubber: Scrubber
    ) -> RefusalKind:
        """Return the refusal as it is kept: with a name that there is room for, or without."""
        name = refusal.external_id
        if name is None or name in devices:
            return refusal
        name = scrubber.text(name)
        if name not in self._unknown and len(self._unknown) >= MAX_UNKNOWN_IDS:
            return refusal._replace(external_id=None)
        self._unknown.add(name)
        return refusal._replace(external_id=name)

    def take(self, opened_before: float, devices: Mapping[str, Device]) -> tuple[InvalidItem, ...]:
        """Remove and return the items of a window that began before this monotonic instant.

        At most 500; the rest stays for the next call.
        """
        if not self._gathered or self._since >= opened_before:
            return ()
        taken = list(self._gathered)[:MAX_UPDATES_PER_SUBMISSION]
        items = tuple(
            self._item(refusal, self._gathered.pop(refusal), devices) for refusal in taken
        )
        if not self._gathered:
            self._unknown.clear()
            self._samples = 0
        return items

    def _item(
        self, refusal: RefusalKind, gathered: _Gathered, devices: Mapping[str, Device]
    ) -> InvalidItem:
        name = refusal.external_id
        device = None if name is None else devices.get(name)
        return InvalidItem(
            *self._address,
            name,
            refusal.reason,
            gathered.detail,
            gathered.sample,
            gathered.count,
            device_id=None if device is None else device.device_id,
            received_at=self._clock.at(gathered.received),
            signal=refusal.signal,
            # Neither an error report of the provider nor "not available" is data that was refused.
            refused_whole=refusal.fault is None and refusal.reason is not Reason.NOT_AVAILABLE,
        )

    def __len__(self) -> int:
        return len(self._gathered)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many there were in all, by reason and signal; "" stands for no one signal."""
        counts: dict[str, dict[str, int]] = {}
        for (reason, signal), count in self._counts.items():
            counts.setdefault(str(reason), {})[signal or ""] = count
        return counts
