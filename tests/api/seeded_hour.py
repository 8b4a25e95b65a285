"""An hour of the workspace north as a script, and the truth about it, told without the service.

A script is made from a seed. It plays through the real stores and the API; `Truth` keeps what was
done, in plain lists, from which a test computes what the indicators must be.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from domain.cycles import CycleEnd, CycleKey, CycleOutcome, CycleTrigger
from domain.model import (
    CanonicalUpdate,
    ConnectionFact,
    ConnectionFactKind,
    Reading,
    Submission,
)
from domain.schedule import cycle_id
from ports.cycles import WantedCycle
from ports.sessions import VitalSigns
from tests.api.harness import BUSES

if TYPE_CHECKING:
    from tests.api.harness import Harness

TARGET = timedelta(seconds=300)
OUTCOMES = (
    *(CycleOutcome.COMPLETED,) * 6,
    CycleOutcome.PARTIAL,
    CycleOutcome.FAILED,
    CycleOutcome.TIMED_OUT,
)


@dataclass
class Truth:
    """What was done in the script, in order."""

    arrivals: list[tuple[datetime, str]] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    durations: list[float] = field(default_factory=list)
    fresh: list[int] = field(default_factory=list)  # devices at the end of each cycle
    updated: list[int] = field(default_factory=list)
    ends: list[datetime] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)  # observed to received
    provider_lags: list[float] = field(default_factory=list)  # observed to the provider
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    open_seconds: float = 0.0

    def is_fresh(self, bus: str, now: datetime) -> bool:
        newest = max((at for at, one in self.arrivals if one == bus), default=None)
        return newest is not None and now - newest <= TARGET


async def play(harness: Harness, seed: int, *, slots: int = 12) -> Truth:
    """Play so many slots of 300 s from now on. The last slot ends with the script."""
    random, truth = Random(seed), Truth()
    for number in range(slots):
        begun_at = harness.clock.now()
        await _change_stream(harness, truth, is_open=number % 4 != 3)
        for bus in BUSES:
            if random.random() < 0.75:
                await _send(harness, truth, bus, random)
        if random.random() < 0.5:
            answer = await harness.report("bus-1", soc_percent=500.0)
            assert answer.json["results"][0]["outcome"] == "rejected"
            truth.refused["invalid", "soc_percent"] += 1
        await _run_cycle(harness, truth, begun_at, random)
        elapsed = (harness.clock.now() - begun_at).total_seconds()
        harness.let_pass(300 - elapsed)
        truth.open_seconds += 300 if number % 4 != 3 else 0
    return truth


async def _send(harness: Harness, truth: Truth, bus: str, random: Random) -> None:
    """Commit an update of the bus. Its provider received it after a third of the lag."""
    lag = random.choice([0.5, 2.5, 40.0])
    now = harness.clock.now()
    observed_at = now - timedelta(seconds=lag)
    reading = Reading("soc_percent", float(random.randrange(100)), observed_at)
    reception_at = observed_at + timedelta(seconds=lag / 4)
    update = CanonicalUpdate(
        "north", "live", bus, None, None, (reading,), now, "trace-s", reception_at
    )
    await harness.commit(Submission("stream", "trace-s", (update,)))
    truth.arrivals.append((now, bus))
    truth.lags.append(lag)
    truth.provider_lags.append(lag / 4)
    harness.let_pass(random.uniform(0.0, 2.0))


async def _change_stream(harness: Harness, truth: Truth, *, is_open: bool) -> None:
    kinds = ConnectionFactKind
    kind = kinds.STREAM_OPENED if is_open else kinds.STREAM_CLOSED
    fact = ConnectionFact("north", "live", kind, harness.clock.now())
    await harness.commit(Submission("stream", "trace-s", facts=(fact,)))


async def _run_cycle(
    harness: Harness, truth: Truth, slot_start_at: datetime, random: Random
) -> None:
    sessions, cycles = harness.stores.sessions, harness.stores.cycles
    await sessions.beat(harness.session, ttl_seconds=86_400, statistics=VitalSigns())
    key = CycleKey("north", slot_start_at, CycleTrigger.SCHEDULE, 1)
    start = await cycles.start_cycle(harness.session, WantedCycle(key, cycle_id(key), "trace-c"))
    assert start.started
    seconds, outcome = random.uniform(0.2, 90.0), random.choice(OUTCOMES)
    harness.let_pass(seconds)
    now = harness.clock.now()
    summary = {
        "records": 9,
        "updates": 3,
        "outcomes": {"accepted": 2, "duplicate": 1},
        "streams": {"frames": 40, "updates": 10},
    }
    end = CycleEnd(start.key, start.cycle_id, now, outcome, summary)
    await harness.commit(Submission("poll", "trace-c", cycle=end))
    truth.outcomes[outcome.value] += 1
    truth.durations.append(seconds)
    truth.fresh.append(sum(truth.is_fresh(bus, now) for bus in BUSES))
    recent = {bus for at, bus in truth.arrivals if now - at <= timedelta(seconds=300)}
    truth.updated.append(len(recent))
    truth.ends.append(now)
