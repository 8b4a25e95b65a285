"""The fixed cast of the storage tests, and short ways to say what they do.

Workspace `harbour` with connection `harbour-live`, devices `bus-1` to `bus-3` (external ids
`x-bus-1` …); instants are given as seconds relative to `NOON`, which is some minutes before the
database's present so that nothing is from the future.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from domain.model import CanonicalUpdate, Policy, ProviderConnection, Reading, Submission
from domain.registry import DeviceDraft, Stored

if TYPE_CHECKING:
    from domain.model import Receipt, SessionRef, Value
    from ports.sessions import SessionStart
    from tests.conftest import Stores

WORKSPACE, PROVIDER = "harbour", "harbour-live"
BUSES = ("bus-1", "bus-2", "bus-3")


class Cast:
    """A configured fleet with a live session; made by `populate`."""

    def __init__(self, stores: Stores, start: SessionStart) -> None:
        self.stores = stores
        self.session: SessionRef = start.session
        self.noon = start.server_time - timedelta(minutes=20)
        self.unit = 0

    def at(self, seconds: float) -> datetime:
        return self.noon + timedelta(seconds=seconds)

    def update(self, device_id: str | None, seconds: float, /, **values: Any) -> CanonicalUpdate:
        """Return readings observed and received `seconds` after noon; fields may be given."""
        given = {name: values.pop(name) for name in CanonicalUpdate._fields if name in values}
        instant = self.at(seconds)
        readings = tuple(Reading(signal, value, instant) for signal, value in values.items())
        update = CanonicalUpdate(
            WORKSPACE, PROVIDER, device_id, None, None, readings, instant, "trace-1"
        )
        return update._replace(**given)

    async def commit(self, *submissions: Submission) -> list[Receipt]:
        """As the next unit."""
        self.unit += 1
        return list(await self.stores.ingest.commit_unit(self.session, self.unit, submissions))

    async def send(self, *updates: CanonicalUpdate) -> list[str]:
        """One submission; what became of each update, as `outcome` or `outcome:reason`."""
        (receipt,) = await self.commit(submission(*updates))
        return [said(result) for result in receipt.results]

    async def document(self, device_id: str) -> dict[str, Value]:
        """The snapshot's values."""
        found = await self.stores.reads.get_snapshot(WORKSPACE, device_id)
        assert found is not None
        return {signal: held.value for signal, held in found[1].document.items()}

    async def sequences(self, device_id: str) -> list[int]:
        events = await self.stores.reads.list_events(WORKSPACE, device_id, before=None, limit=1000)
        return [event.sequence for event in reversed(events)]


def submission(*updates: CanonicalUpdate, **rest: Any) -> Submission:
    return Submission("stream", "trace-1", updates=updates, **rest)


def said(result: Any) -> str:
    return f"{result.outcome}:{result.reason}" if result.reason else str(result.outcome)


def connection(**rest: Any) -> ProviderConnection:
    return ProviderConnection(
        WORKSPACE, PROVIDER, "simulated", "stream", "http://127.0.0.1:1", None, **rest
    )


def draft(device_id: str, **rest: Any) -> DeviceDraft:
    plain = DeviceDraft(
        device_id, PROVIDER, f"x-{device_id}", f"vehicle-{device_id}", f"Bus {device_id}"
    )
    return plain._replace(**rest)


async def populate(stores: Stores, shard_id: str = "shard-1") -> Cast:
    """Partitions, workspace, connection, three buses, one live session."""
    await stores.upkeep.ensure_partitions(days_ahead=2)
    workspace = await stores.registry.put_workspace(
        WORKSPACE, name="Harbour", active=True, poll_interval_seconds=300, policy=Policy()
    )
    assert workspace == Stored(created=True)
    assert await stores.registry.put_provider(connection()) == Stored(created=True)
    assert (
        await stores.registry.put_devices(WORKSPACE, [draft(bus) for bus in BUSES])
        == [Stored(True)] * 3
    )
    return Cast(stores, await begin(stores, shard_id))


async def begin(stores: Stores, shard_id: str) -> SessionStart:
    start = await stores.sessions.begin_session(shard_id, ttl_seconds=15)
    assert start is not None
    return start
