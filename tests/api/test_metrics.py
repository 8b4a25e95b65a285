"""`GET /metrics` on the probes' listener: who may read it, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from prometheus_client import CollectorRegistry, Gauge

from api.app import create_app, create_probe_app
from api.exposition import Exposition
from api.gate import GateLimits
from api.metrics import MAX_SCRAPES
from storage.gateway import Database
from storage.keys import PostgresKeys
from tests.api.harness import Answer
from tests.api.issuer import Issuer, open_issuer

if TYPE_CHECKING:
    from api.services import ApiServices
    from tests.api.harness import Harness
    from tests.api.standing_time import FrozenDatabase

TEXT = b"lastheard_answer 42.0\n"
NOWHERE = "postgresql://lastheard@127.0.0.1:1/nowhere"  # nothing listens there


def exposition() -> Exposition:
    registry = CollectorRegistry()
    Gauge("lastheard_answer", "A figure.", registry=registry).set(42)

    async def gather() -> CollectorRegistry:
        await trio.lowlevel.checkpoint()
        return registry

    return Exposition(gather)


class Probes:
    """The listener for probes of the harness's API. `services` may be replaced between requests."""

    def __init__(self, harness: Harness, services: ApiServices) -> None:
        self._tokens = harness.tokens
        self._client = create_probe_app(services).test_client()

    async def ask(self, *, key: str | None, path: str = "/metrics", **rest: Any) -> Answer:
        headers = dict(rest.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {self._tokens.get(key, key)}"
        response = await self._client.open(path, headers=headers, **rest)
        body = await response.get_data(as_text=False)
        return Answer(response.status_code, dict(response.headers), bytes(body))


@pytest.fixture
def probes(harness: Harness) -> Probes:
    return Probes(harness, harness.make_services(exposition=exposition()))


async def test_a_key_of_scope_read_opens_the_metrics(probes: Probes) -> None:
    answer = await probes.ask(key="read")
    assert (answer.status, answer.body.endswith(TEXT)) == (200, True)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_openmetrics_is_given_to_those_who_ask_for_it(probes: Probes) -> None:
    accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
    answer = await probes.ask(key="read", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("key", "status", "problem"),
    [
        (None, 401, "unauthenticated"),
        ("lh_no_key", 401, "unauthenticated"),
        ("nonsense", 401, "unauthenticated"),
        ("ingest", 403, "missing-scope"),
        ("control", 403, "missing-scope"),
        ("admin", 403, "missing-scope"),
        ("north", 403, "missing-scope"),  # it has the scope, and is limited to workspaces
    ],
)
async def test_everybody_else_is_refused(
    probes: Probes, key: str | None, status: int, problem: str
) -> None:
    answer = await probes.ask(key=key)
    assert (answer.status, answer.problem) == (status, problem)


async def test_a_setting_opens_the_metrics_to_everybody(harness: Harness) -> None:
    services = harness.make_services(exposition=exposition(), metrics_open=True)
    assert (await Probes(harness, services).ask(key=None)).status == 200


async def test_a_jwt_for_all_workspaces_opens_the_metrics(harness: Harness) -> None:
    issuer = Issuer(harness.clock)
    async with open_issuer(issuer, harness.clock, jwt_all_workspaces="*") as found:
        services = harness.make_services(exposition=exposition(), jwts=found.access)
        probes = Probes(harness, services)
        statuses = [
            (await probes.ask(key=issuer.token(scope=scope, workspaces=workspaces))).status
            for scope, workspaces in (("read", "*"), ("read", "north"), ("ingest", "*"))
        ]
    assert statuses == [200, 403, 403]


async def test_a_revoked_key_is_refused_at_once(harness: Harness, probes: Probes) -> None:
    await harness.add_key("scraper", ["read"], None, key_id="ofscraper")
    assert (await probes.ask(key="scraper")).status == 200
    assert (await harness.ask("DELETE", "/keys/ofscraper")).status == 200
    assert (await probes.ask(key="scraper")).status == 401


async def test_a_good_key_still_opens_them_while_the_database_is_away(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = harness.make_services(exposition=exposition())
    probes = Probes(harness, services)
    assert (await probes.ask(key="read")).status == 200
    object.__setattr__(services, "keys", PostgresKeys(Database(NOWHERE)))
    assert [(await probes.ask(key=key)).status for key in ("read", "lh_no_key", None)] == [
        *(200, 503, 401)
    ]
    monkeypatch.setattr("api.metrics.REMEMBERED_SECONDS", 0.0)
    assert (await probes.ask(key="read")).status == 503


async def test_a_parameter_is_refused_by_its_name(probes: Probes) -> None:
    answer = await probes.ask(key="read", path="/metrics?name[]=up")
    assert (answer.status, answer.problem) == (400, "invalid-parameter")
    assert answer.json["errors"][0]["parameter"] == "name[]"


async def test_other_methods_are_refused(probes: Probes) -> None:
    answer = await probes.ask(key="read", method="POST")
    assert (answer.status, answer.problem) == (405, "method-not-allowed")


async def test_long_answers_are_compressed_for_those_who_take_it(harness: Harness) -> None:
    registry = CollectorRegistry()
    for number in range(100):
        Gauge(f"lastheard_figure_{number}", "A figure.", registry=registry)

    async def gather() -> CollectorRegistry:
        await trio.lowlevel.checkpoint()
        return registry

    probes = Probes(harness, harness.make_services(exposition=Exposition(gather)))
    answer = await probes.ask(key="read", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"


async def test_more_scrapes_than_places_leave_room_for_the_probes(harness: Harness) -> None:
    begun, end = trio.Event(), trio.Event()

    async def gather() -> CollectorRegistry:
        begun.set()
        await end.wait()
        return CollectorRegistry()

    services = harness.make_services(exposition=Exposition(gather), metrics_open=True)
    probes = Probes(harness, services)
    statuses: list[int] = []

    async def ask() -> None:
        statuses.append((await probes.ask(key=None)).status)

    async with trio.open_nursery() as nursery:
        for _ in range(MAX_SCRAPES):
            nursery.start_soon(ask)
        await begun.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert (await probes.ask(key=None)).problem == "overloaded"
        assert (await probes.ask(key=None, path="/healthz")).status == 200
        end.set()
    assert statuses == [200] * MAX_SCRAPES


async def test_strangers_take_no_places_of_scrapers(
    harness: Harness, frozen: FrozenDatabase
) -> None:
    services = harness.make_services(exposition=exposition())
    probes = Probes(harness, services)
    assert (await probes.ask(key="read")).status == 200
    looked_up, end = trio.Event(), trio.Event()

    class SlowKeys(PostgresKeys):
        async def find_access(self, key_id: str, workspace_id: str | None) -> Any:
            if key_id == "stranger":
                looked_up.set()
                await end.wait()
            return await super().find_access(key_id, workspace_id)

    object.__setattr__(services, "keys", SlowKeys(frozen))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: probes.ask(key="lh_stranger_a"))
        await looked_up.wait()
        assert (await probes.ask(key="lh_stranger_b")).problem == "overloaded"
        assert (await probes.ask(key="read")).status == 200
        end.set()


async def test_wrong_keys_beyond_the_rate_are_429(harness: Harness) -> None:
    limits = GateLimits(wrong_keys_per_second=1.0)
    services = harness.make_services(exposition=exposition(), gate_limits=limits)
    probes = Probes(harness, services)
    statuses = [(await probes.ask(key=key)).status for key in (None, *["lh_no_key"] * 3)]
    assert statuses == [401, 401, 429, 429]  # to show no key is not a wrong one
    assert services.probe_traffic.wrong_keys == 3
    assert (await probes.ask(key="read")).status == 200


async def test_a_rendering_that_hangs_is_given_up(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.metrics.RENDER_SECONDS", 0.05)
    services = harness.make_services(exposition=Exposition(trio.sleep_forever), metrics_open=True)
    answer = await Probes(harness, services).ask(key=None)
    assert (answer.status, answer.problem) == (503, "deadline-passed")


async def test_the_apis_own_listener_has_no_metrics(harness: Harness) -> None:
    services = harness.make_services(exposition=exposition())
    client = create_app(services).test_client()
    assert (await client.get("/metrics")).status_code == 404
    assert "/metrics" not in (await harness.get("/openapi.json", key=None))["paths"]
