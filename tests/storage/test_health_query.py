"""The health page in SQL gives every device the state that the rule in Python gives."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any
from typing import cast as cast_type

import orjson
import pytest

from domain.health import judge_health
from domain.health_state import State, cutoffs, state_of
from domain.model import Policy, PolicyOverride
from ports.reads import HealthPage, HealthQuery, WorklistPosition
from storage.gateway import connect
from storage.health import HealthStatements
from storage.queries import sql
from storage.reads import PostgresReads
from tests.storage.fixtures import PROVIDER, WORKSPACE, Cast, connection, draft, populate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from domain.health_facts import HealthFacts
    from storage.gateway import Connection, Database
    from tests.conftest import Stores

OTHER = "quay"
ANYTHING = [None, 60.0, 360.0, 900.0, 3600.0]


@pytest.fixture
async def cast(postgres_stores: Stores) -> Cast:
    return await populate(postgres_stores)


async def scatter(cast: Cast, database: Database, count: int = 200, interval: int = 300) -> None:
    """Make devices with random overrides, last heard of at, just before and just after limits."""
    random = Random(7)
    registry = cast.stores.registry
    await registry.put_workspace(
        WORKSPACE,
        name="Harbour",
        active=True,
        poll_interval_seconds=interval,
        policy=Policy(),
    )
    rare = replace(connection(expected_update_seconds=900.0), provider_id="rare", transport="poll")
    await registry.put_provider(replace(rare, override=PolicyOverride(stale_after_seconds=1200.0)))
    drafts = [
        draft(
            f"dev-{number:03}",
            provider_id="rare" if number % 4 == 0 else PROVIDER,
            delayed_after_seconds=random.choice(ANYTHING),
            stale_after_seconds=random.choice(ANYTHING),
            grace_seconds=random.choice(ANYTHING),
            activated_at=cast.noon
            - timedelta(seconds=random.choice([59, 60, 61, 3599, 3600, 3601])),
        )
        for number in range(count)
    ]
    await registry.put_devices(WORKSPACE, drafts)
    ids = [item.device_id for item in drafts]
    heard = [_moment(cast, random) for _ in ids]
    lags = [timedelta(seconds=random.choice([-30, 0, 60, 86_400])) for _ in ids]
    observed = [None if at is None else at - lag for at, lag in zip(heard, lags, strict=True)]

    async def write(link: Connection) -> None:
        await link.execute(
            "UPDATE device_state s SET last_update_received_at = i.at, last_observed_at = i.seen "
            "FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) "
            "AS i (device_id, at, seen) WHERE s.device_id = i.device_id",
            ids,
            heard,
            observed,
        )

        # Of about a third of the devices the newest data came while the socket was away.
        await link.execute(
            "UPDATE connection_state SET stream_down_since = $1",
            cast.noon - timedelta(seconds=1000),
        )

    await database.run(write)


def _moment(cast: Cast, random: Random) -> datetime | None:
    age = random.choice(
        [None, 0, 60, 61, 360, 361, 900, 901, 1080, 1440, 1441, 2700, 3600, 3601, 9000]
    )
    return None if age is None else cast.noon - timedelta(seconds=age)


def python_state(facts: HealthFacts, now: datetime) -> State:
    limits = cutoffs(judge_health(facts, now).thresholds, now)
    return state_of(facts.last_update_received_at, facts.device.activated_at, limits)


async def add_other(cast: Cast) -> None:
    """Make another workspace, with stricter limits and a device that nobody heard."""
    registry = cast.stores.registry
    await registry.put_workspace(
        OTHER, name="Quay", active=True, poll_interval_seconds=30, policy=Policy()
    )
    await registry.put_provider(replace(connection(), workspace_id=OTHER))
    await registry.put_devices(OTHER, [draft("bus-1", activated_at=cast.noon)])


async def load(cast: Cast, **query: object) -> HealthPage:
    """Return the devices of both workspaces, as far as there are two."""
    asked = HealthQuery(now=cast.noon, limit=1000)._replace(**query)  # type: ignore[arg-type]
    return await cast.stores.reads.load_health(frozenset([WORKSPACE, OTHER]), asked)


@pytest.mark.parametrize(
    ("interval", "workspaces"), [(300, 1), (600, 1), (300, 2)], ids=["alone", "slow", "beside"]
)
async def test_sql_and_python_agree_about_every_device(
    cast: Cast, database: Database, interval: int, workspaces: int
) -> None:
    """Of one workspace the statements compare less than of several (of_the_fleet)."""
    await scatter(cast, database, interval=interval)
    if workspaces == 2:
        await add_other(cast)
    page = await load(cast)
    assert len({facts.workspace.workspace_id for facts in page.rows}) == workspaces
    states = [python_state(facts, cast.noon) for facts in page.rows]
    assert dict(page.counts) == dict.fromkeys(State, 0) | Counter(states)
    assert len(set(states)) == len(State)
    for state in State:
        expected = [
            facts.device.device_id
            for facts, found in zip(page.rows, states, strict=True)
            if found is state
        ]
        chosen = await load(cast, states=frozenset([state]))
        assert [facts.device.device_id for facts in chosen.rows] == expected
        assert chosen.counts == page.counts


async def test_a_device_without_a_sure_state_is_looked_up_once(
    cast: Cast, database: Database
) -> None:
    """However many classes of limits there are."""
    await scatter(cast, database)
    await database.run(lambda link: link.execute("ANALYZE"))
    plans: list[dict[str, Any]] = []

    class Explaining(Meddled):
        async def fetch(self, statement: str, *args: Any) -> Any:
            if statement == sql("count_health"):
                asked = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
                ((plan,),) = await self._connection.fetch(asked, *args)
                plans.append(orjson.loads(plan)[0]["Plan"])
            return await self._connection.fetch(statement, *args)

    class ExplainingDatabase:
        async def run(self, work: Any, **rest: Any) -> Any:
            return await database.run(lambda link: work(Explaining(link, "", [])), **rest)

    statements = HealthStatements(cast_type("Database", ExplainingDatabase()))
    query = HealthQuery(now=cast.noon)
    counted = await statements.count([WORKSPACE], query, by_workspace=False)
    (plan,) = plans
    look_ups = [  # PostgreSQL may number the alias d
        node["Actual Loops"]
        for node in _nodes(plan)
        if node.get("Relation Name") == "devices" and node["Alias"].startswith("d")
    ]
    assert look_ups
    assert sum(look_ups) <= sum(counted.by_fleet[""].values())


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", []):
        yield from _nodes(each)


async def test_retired_devices_are_left_out_whatever_their_age(
    cast: Cast, database: Database
) -> None:
    await scatter(cast, database)
    before = await load(cast)
    for device in [facts.device.device_id for facts in before.rows][::3]:
        await cast.stores.registry.retire_device(WORKSPACE, device)
    kept = [facts for place, facts in enumerate(before.rows) if place % 3]
    for states in (None, frozenset(State)):
        page = await load(cast, states=states)
        assert [each.device.device_id for each in page.rows] == [
            each.device.device_id for each in kept
        ]
        counted = Counter(python_state(facts, cast.noon) for facts in kept)
        assert dict(page.counts) == dict.fromkeys(State, 0) | counted


# Readings of every fifth device, refused in each of the last hours before noon.
REFUSALS = """
    INSERT INTO rejections (workspace_id, device_id, signal, hour, digest, origin, outcome,
                            occurrences, trace_id)
    SELECT workspace_id, device_id, CASE number WHEN 0 THEN NULL WHEN 1 THEN 'b' ELSE 'a' END,
           $1::timestamptz - hours * interval '1 hour',
           convert_to(concat_ws(' ', device_id, number, hours), 'UTF8'), 'http', 'rejected', 1, ''
    FROM devices, generate_series(0, 3) AS number, generate_series(0, 3) AS hours
    WHERE device_id ~ '[05]$'
"""


async def test_a_page_without_counts_has_the_same_devices(cast: Cast, database: Database) -> None:
    await scatter(cast, database)
    await database.run(lambda link: link.execute(REFUSALS, cast.noon))
    asked: list[dict[str, object]] = [{}, {"order": "silence"}, {"states": frozenset(State)}]
    asked += [{"states": frozenset([State.STALE, State.AWAITING_FIRST_DATA])}]
    for query in asked:
        whole, bare = [await load(cast, **query, with_counts=each) for each in (True, False)]
        assert bare.rows == whole.rows
        assert sum(bare.counts.values()) == 0
        keys = [WorklistPosition(cast.noon, WORKSPACE, row.device.device_id) for row in bare.rows]
        asked_again = HealthQuery(now=cast.noon, with_counts=False)
        read = await HealthStatements(database).load_devices([WORKSPACE], asked_again, keys)
        assert read.page.rows == whole.rows
        for row in bare.rows:
            is_refused = row.device.device_id.endswith(("0", "5"))
            assert row.refused_signals == ({"a": 6, "b": 3} if is_refused else {})


@pytest.mark.parametrize("order", ["device", "silence"])
async def test_pages_join_into_the_whole_list_without_overlap(
    cast: Cast, database: Database, order: str
) -> None:
    await scatter(cast, database, count=50)
    whole = await load(cast, order=order)
    found: list[HealthFacts] = []
    position = None
    while page := (await load(cast, order=order, limit=7, after=position)).rows:
        found += page
        position = WorklistPosition(_since(page[-1]), WORKSPACE, page[-1].device.device_id)
    assert found == list(whole.rows)
    keys = [_since(facts) if order == "silence" else facts.device.device_id for facts in found]
    assert keys == sorted(keys)


def _since(facts: HealthFacts) -> datetime:
    heard_at = facts.last_update_received_at or facts.device.activated_at
    return min(heard_at, facts.last_observed_at or heard_at)


async def test_a_page_behind_the_last_still_counts(cast: Cast) -> None:
    page = await load(cast, after=WorklistPosition(cast.noon, WORKSPACE, "zzz"))
    assert page.rows == []
    assert sum(page.counts.values()) == 3


async def test_inactive_workspaces_and_retired_devices_have_no_health(cast: Cast) -> None:
    await cast.stores.registry.retire_device(WORKSPACE, "bus-1")
    assert len((await load(cast)).rows) == 2
    await cast.stores.registry.put_workspace(
        WORKSPACE, name="Harbour", active=False, poll_interval_seconds=300, policy=Policy()
    )
    empty = await load(cast)
    assert (list(empty.rows), sum(empty.counts.values())) == ([], 0)


async def test_the_facts_carry_a_verdict(cast: Cast) -> None:
    await cast.send(cast.update("bus-1", 0, soc_percent=50.0))
    facts = (await load(cast, now=cast.at(60))).rows[0]
    assert judge_health(facts, cast.at(60)).state is State.HEALTHY
    held = facts.document["soc_percent"]
    assert (held.value, held.observed_at) == (50.0, cast.at(0))


class Meddled:
    """A connection beside which a change is committed before each page of health is read."""

    def __init__(self, connection: Connection, dsn: str, changes: list[str]) -> None:
        self._connection = connection
        self._dsn = dsn
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, statement: str, *args: Any) -> Any:
        if statement == sql("page_by_device_counted") and self._changes:
            other = await connect(self._dsn)
            await other.execute(self._changes.pop(0))
            await other.close()
        return await self._connection.fetch(statement, *args)


class MeddledDatabase:
    def __init__(self, database: Database, dsn: str, changes: list[str]) -> None:
        self._database = database
        self._dsn = dsn
        self.changes = changes

    async def run(self, work: Any, **rest: Any) -> Any:
        def meddled(connection: Connection) -> Any:
            return work(Meddled(connection, self._dsn, self.changes))

        return await self._database.run(meddled, **rest)


def override_bus_1(seconds: float) -> str:
    """Put the device into a class of its own, as a command does."""
    return f"""UPDATE devices SET delayed_after_seconds = {seconds} WHERE device_id = 'bus-1';
        UPDATE workspaces SET config_version = config_version + 1"""


@pytest.mark.parametrize(("changes", "seen"), [([20.0], 20.0), ([20.0, 30.0], 20.0)])
async def test_configuration_that_changes_meanwhile_is_seen_whole(
    cast: Cast, database: Database, dsn: str, changes: list[float], seen: float
) -> None:
    """Once between the two statements, and then once more while the answer is read again."""
    meddled = MeddledDatabase(database, dsn, [override_bus_1(seconds) for seconds in changes])
    reads = PostgresReads(cast_type("Database", meddled))
    page = await reads.load_health(frozenset([WORKSPACE]), HealthQuery(now=cast.noon))
    assert meddled.changes == []
    assert [facts.device.device_id for facts in page.rows] == ["bus-1", "bus-2", "bus-3"]
    assert sum(page.counts.values()) == 3
    assert page.rows[0].device.override.delayed_after_seconds == seen
    assert {facts.workspace.config_version for facts in page.rows} == {
        (await load(cast)).rows[0].workspace.config_version - len(changes) + 1
    }


async def test_nothing_on_a_first_page_is_younger_than_the_page(
    cast: Cast, database: Database, dsn: str
) -> None:
    """An update may be committed between the two statements."""
    heard = "UPDATE device_state SET last_update_received_at = now() WHERE device_id = 'bus-1'"
    reads = PostgresReads(cast_type("Database", MeddledDatabase(database, dsn, [heard])))
    page = await reads.load_health(frozenset([WORKSPACE]), HealthQuery())
    heard_at = page.rows[0].last_update_received_at
    assert heard_at is not None
    assert heard_at < page.evaluated_at
