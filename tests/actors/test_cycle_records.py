"""The records that follow from a cycle's row agree with those that its shard has logged."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import trio

from domain.cycles import CycleOutcome
from domain.lifecycle import UPDATE_REJECTED, lifecycle_records
from domain.model import FaultClass
from ports.providers import BadRecord, ProviderFault
from runtime.tracing import trace_of_calls
from tests.actors.cycling import make_cycle, run_cycle, script
from tests.actors.polling import ScriptedPoller, page
from tests.actors.scripted import refused, sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping

    from trio.testing import MockClock

    from tests.actors.harness import Harness, Shard

    Events = list[MutableMapping[str, Any]]

STEPS = (
    "telematics_provider_message_received",
    "telematics_ingress_payload_prepared",
    "telematics_update_accepted",
    "telematics_update_rejected",
)
BAD = BadRecord("bus-2", "no time", b"{}", occurrences=3)
GOOD = sample("bus-1", 0, soc_percent=10)
NOBODY = sample("nobody", 0, soc_percent=1)
UNREADABLE = ProviderFault(FaultClass.PROTOCOL, "this is no answer", unreadable=True)


def counts(records: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[tuple[str, str], Counter[str]]:
    """Return the sums of all counts, by the record's name and provider."""
    sums: dict[tuple[str, str], Counter[str]] = {}
    for name, fields in records:
        of_one = sums.setdefault((name, fields.get("provider_id", "")), Counter())
        for member in ("frames", "updates", "devices_answered", "malformed", "ignored"):
            of_one[member] += fields.get(member, 0)
        for member in ("reasons", "records"):
            of_one.update({f"{member}.{why}": n for why, n in fields.get(member, {}).items()})
    return {place: +of_one for place, of_one in sums.items()}


@pytest.mark.parametrize(
    ("steady", "live"),
    [
        (ScriptedPoller(page(GOOD, NOBODY)), ScriptedPoller()),
        (
            ScriptedPoller(
                page(GOOD, records=4, next_page="2", malformed=(BAD,), malformed_count=3),
                page(GOOD, records=9, ignored=8),
            ),
            ScriptedPoller(page(sample("bus-2", 0, soc_percent=1))),
        ),
        (ScriptedPoller(refused()), ScriptedPoller(page())),
    ],
    ids=["one page", "several pages and connections", "a refused connection"],
)
async def test_nfr_003_stored_records_agree_with_the_log(
    harness: Harness,
    shard: Shard,
    nursery: trio.Nursery,
    events: Events,
    steady: ScriptedPoller,
    live: ScriptedPoller,
    autojump_clock: MockClock,
) -> None:
    nursery.start_soon(shard.ingest.run)
    script(shard, steady=steady, live=live)
    await run_cycle(shard)
    (row,) = await harness.cycles()
    told = [event for event in events if event.get("trace_id") == "trace-c"]
    stored = lifecycle_records(row)
    assert (stored[0].name, stored[-1].name) == (told[0]["event"], told[-1]["event"])
    assert stored[0].fields.items() <= told[0].items()
    assert stored[-1].fields.items() <= told[-1].items()
    logged = [(event["event"], event) for event in told if event["event"] in STEPS]
    derived = [(record.name, record.fields) for record in stored if record.name in STEPS]
    assert derived
    assert counts(derived) == counts(logged)


async def test_nfr_003_an_answer_that_cannot_be_read_is_in_the_records(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    script(shard, steady=ScriptedPoller(UNREADABLE))
    await run_cycle(shard)
    (row,) = await harness.cycles()
    (derived,) = [one for one in lifecycle_records(row) if one.name == UPDATE_REJECTED]
    (logged,) = [one for one in events if one["event"] == UPDATE_REJECTED]
    assert (derived.fields["provider_id"], derived.fields["records"]) == ("steady", {"invalid": 1})
    assert logged["records"] == derived.fields["records"]


async def test_nfr_003_a_cycle_that_runs_tells_its_start_only(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    script(shard, steady=ScriptedPoller(page(GOOD, next_page="2"), 1000.0))
    cycle = await make_cycle(shard)
    nursery.start_soon(cycle.run, 240.0, 30.0)
    await trio.sleep(10)
    (row,) = await harness.cycles()
    assert row.outcome is CycleOutcome.RUNNING
    (record,) = lifecycle_records(row)
    assert record.fields["cycle_started_at"] == events[0]["cycle_started_at"] == row.started_at


async def test_nfr_003_every_call_of_a_cycle_carries_its_trace_id(
    shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    seen: list[str | None] = []

    class Watching(ScriptedPoller):
        async def fetch(self, *args: Any) -> Any:
            seen.append(trace_of_calls())
            return await super().fetch(*args)

    nursery.start_soon(shard.ingest.run)
    script(shard, steady=Watching(page(GOOD, next_page="2"), page()), live=Watching(page()))
    await run_cycle(shard)
    assert seen == ["trace-c"] * len(seen)
    assert len(seen) >= 3
    assert trace_of_calls() is None
