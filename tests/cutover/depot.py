"""A depot of twenty buses that is moved from a legacy system, cycle by cycle.

Sixteen buses are on the connection `live`, four on `spare`. A test says which connections answer
and what the legacy system shows, and lets slots pass. The steps after each cycle are the real ones,
over the real stores; the actor that takes them has tests of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from actors.cutover import AfterCycle
from actors.cycle_ends import EndedRun
from actors.fleet import FleetView
from actors.guardrails import GuardrailStep
from actors.parity import CompareStep
from actors.sides import SidesReader
from domain.cutover import NEW_CUTOVER, Cutover, PollOwner
from domain.cycles import CycleEnd, CycleKey, CycleOutcome, CycleTrigger
from domain.model import (
    CanonicalUpdate,
    Ownership,
    Policy,
    ProviderConnection,
    Reading,
    Submission,
)
from domain.parity import DeviceView, ShownValue
from domain.registry import DeviceDraft
from domain.resource import workspace_resource
from domain.schedule import cycle_id
from ports.cutovers import Force, new_draft
from ports.cycles import WantedCycle
from ports.legacy import LegacyConfiguration

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from ports.cutovers import CutoverDraft, GuardrailEvent, StoredCutover
    from ports.parity import ParityCycle
    from tests.api.harness import Harness

DEPOT: Final = "depot"
INTERVAL: Final = 900
LEASE: Final = workspace_resource(DEPOT)
LEGACY: Final = LegacyConfiguration("http://127.0.0.1:9", None, {"values": {"path": "/state"}})
SHADOW: Final = replace(NEW_CUTOVER, poll_owner=PollOwner.BOTH_SHADOW)
LIVE, SPARE = "live", "spare"
BUSES: Final = tuple(f"bus-{number:02}" for number in range(20))
ON_SPARE: Final = BUSES[16:]


def connection_of(bus: str) -> str:
    return SPARE if bus in ON_SPARE else LIVE


@dataclass
class Depot:
    """The depot, with what each bus showed last. `slot` is the number of the present slot."""

    harness: Harness
    ownership: Ownership
    slot: int = 0
    heard: dict[str, tuple[datetime, float]] = field(default_factory=dict)  # instant and value
    unit: int = 1000
    flags: Cutover = SHADOW

    @classmethod
    async def open(cls, harness: Harness) -> Depot:
        registry, stores = harness.stores.registry, harness.stores
        await registry.put_workspace(
            DEPOT, name="Depot", active=True, poll_interval_seconds=INTERVAL, policy=Policy()
        )
        for provider_id in (LIVE, SPARE):
            await registry.put_provider(
                ProviderConnection(
                    DEPOT, provider_id, "spoken", "stream", "http://127.0.0.1:1", None
                )
            )
        drafts = [
            DeviceDraft(bus, connection_of(bus), f"x-{bus}", f"v-{bus}", bus.title())
            for bus in BUSES
        ]
        await registry.put_devices(DEPOT, drafts)
        tokens = await stores.leases.claim(harness.session, [LEASE])
        depot = cls(harness, Ownership(LEASE, *harness.session, tokens[LEASE]))
        await depot.put(SHADOW)
        return depot

    # --- what is configured

    async def put(self, flags: Cutover, legacy: LegacyConfiguration | None = LEGACY) -> None:
        """Set the flags, through the gate if need be."""
        draft = new_draft(flags)._replace(legacy=legacy)
        await self.put_draft(draft)

    async def put_draft(self, draft: CutoverDraft) -> None:
        self.harness.clock.let_pass(1)
        await self.harness.stores.cutovers.put_cutover(DEPOT, draft=draft, force=Force("a test"))
        self.flags = draft.flags

    async def stored(self) -> StoredCutover:
        found = await self.harness.stores.cutovers.get_cutover(DEPOT)
        assert found is not None
        return found

    async def events(self) -> list[GuardrailEvent]:
        """Return what guardrails did, oldest first."""
        report = await self.harness.stores.cutovers.describe_cutover(DEPOT, events=1000)
        assert report is not None
        return list(reversed(report.guardrail_events))

    async def comparisons(self) -> list[ParityCycle]:
        """Return the comparisons, newest first."""
        return await self.harness.stores.parity_reads.list_parity(DEPOT, limit=1000)

    # --- what happens

    @property
    def now(self) -> datetime:
        return self.harness.clock.now()

    async def pass_slot(
        self, *, answered: Collection[str] = (LIVE, SPARE), silent: Collection[str] = ()
    ) -> None:
        """Run a slot: these connections answer, and their buses report but for the silent ones."""
        self.slot += 1
        self.harness.clock.let_pass(INTERVAL)
        key = CycleKey(DEPOT, self.now, CycleTrigger.SCHEDULE, 1)
        await self.harness.stores.cycles.start_cycle(
            self.harness.session, WantedCycle(key, cycle_id(key), "trace-c")
        )
        reporting = [bus for bus in BUSES if connection_of(bus) in answered and bus not in silent]
        self.heard |= {bus: (self.now, float(self.slot % 50)) for bus in reporting}
        self.unit += 1
        end = CycleEnd(key, cycle_id(key), self.now, _outcome(answered), _summary(answered))
        updates = tuple(self._update(bus) for bus in reporting)
        submission = Submission("poll", "trace-c", updates=updates, cycle=end)
        await self.harness.stores.ingest.commit_unit(self.harness.session, self.unit, [submission])

    def _update(self, bus: str) -> CanonicalUpdate:
        at, value = self.heard[bus]
        readings = (Reading("soc_percent", value, at),)
        return CanonicalUpdate(DEPOT, connection_of(bus), bus, None, None, readings, at, "trace-c")

    def show_same(self, **changes: DeviceView) -> None:
        """Let the legacy system show what core heard, as of now. `bus_01` changes one bus."""
        views = {bus: view(at, value) for bus, (at, value) in self.heard.items()}
        views |= {name.replace("_", "-"): changed for name, changed in changes.items()}
        self.harness.legacy.show(views, self.now)

    async def take_steps(self, *, ownership: Ownership | None = None) -> bool:
        """Take the steps after the newest slot; return whether the guardrails did something."""
        stores, clock = self.harness.stores, cast("Any", self.harness.clock)
        fleet = await stores.sessions.load_fleet(DEPOT)
        assert fleet is not None
        owner = ownership or self.ownership
        reader = SidesReader(FleetView(fleet, owner), self.harness.legacy, stores.parity)
        key = CycleKey(DEPOT, self.now, CycleTrigger.SCHEDULE, 1)
        ended = EndedRun(self.now, cycle_id(key), "trace-c", self.flags)
        after = AfterCycle(ended, await self.stored(), reader)
        compare = CompareStep(self.harness.session, stores.parity, clock)
        guard = GuardrailStep(owner, stores.guardrails, clock)
        if compare.concerns(ended.flags):
            await compare.run(after)
        return guard.concerns(ended.flags) and await guard.run(after)


def view(at: datetime, value: float, *, received_at: datetime | None = None) -> DeviceView:
    """Return what the legacy system shows of a bus."""
    return DeviceView({"soc_percent": ShownValue(value, at)}, received_at or at)


def older(at: datetime, seconds: float) -> datetime:
    return at - timedelta(seconds=seconds)


def guardrails_of(event: GuardrailEvent) -> Sequence[str]:
    return [crossing["guardrail"] for crossing in event.crossings]


def _outcome(answered: Collection[str]) -> CycleOutcome:
    by_count = (CycleOutcome.FAILED, CycleOutcome.PARTIAL, CycleOutcome.COMPLETED)
    return by_count[len(answered)]


def _summary(answered: Collection[str]) -> Mapping[str, Any]:
    results = {one: "ok" if one in answered else "outage: away" for one in (LIVE, SPARE)}
    return {"connections": results}
