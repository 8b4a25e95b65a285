"""NFR-003 and SC-12: one trace id, from a client's request through us to the provider and back."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import trio

from api.example_cycles import EVENT
from domain.trace_context import read_trace_id, to_trace_id
from tests.acceptance.fleets import polled, vin
from tests.acceptance.harness import open_harness, until
from tests.acceptance.shard import update
from tests.providers.servers import Asked, Reply, http_server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.acceptance.conftest import Logbook
    from tests.acceptance.harness import Harness
    from tests.acceptance.shard import Shard

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "0af7651916cd43dd8448eb211c80319c"
STEPS = (
    "workspace_poll_cycle_triggered",
    "telematics_provider_message_received",
    "telematics_ingress_payload_prepared",
    "telematics_update_accepted",
    "telematics_update_rejected",
    "workspace_poll_ingest_completed",
)


def parent(trace_id: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01", "tracestate": "vendor=secret"}


class Maker:
    """A maker's rFMS server with one truck, which remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        now = datetime.now(UTC).isoformat()
        status = {
            "vin": vin(0),
            "createdDateTime": now,
            "receivedDateTime": now,
            "hrTotalVehicleDistance": 1000 + len(self.asked),
        }
        page = {
            "vehicleStatusResponse": {"vehicleStatuses": [status]},
            "moreDataAvailable": False,
            "requestServerDateTime": now,
        }
        return Reply(body=orjson.dumps(page))

    def parents(self, trace_id: str) -> list[str]:
        """Return the headers of the calls of this trace."""
        sent = [asked.headers["traceparent"] for asked in self.asked]
        return [one for one in sent if read_trace_id([one]) == trace_id]


async def add_truck(harness: Harness, base: str, *, interval: int = 3600) -> None:
    secret = harness.folder / "maker.secret"
    secret.write_text("maker-s3cret")
    await harness.shard.add_workspace("west", interval=interval, active=False)
    await harness.shard.add_provider(
        "west",
        "rfms",
        provider_type="rfms",
        transport="poll",
        base_url=f"{base}/rfms",
        credential=f"file:{secret}",
    )
    await harness.shard.add_devices("west", "rfms", [vin(0)])
    await harness.shard.add_workspace("west", interval=interval)


async def run_now(shard: Shard, **headers: str) -> Any:
    """Run a cycle of `west` at once; return it when it has ended."""
    path = "/workspaces/west/cycles"
    asked = await shard.post(path, {"when": "now"}, headers=headers)
    await until(lambda: _has_ended(shard, asked["cycle_id"]))
    return await shard.get(f"{path}/{asked['cycle_id']}")


async def test_nfr_003_a_clients_trace_leads_to_the_provider(
    dsn: str, tmp_path: Path, logbook: Logbook
) -> None:
    maker = Maker()
    async with open_harness(dsn, tmp_path) as harness, http_server(maker.answer) as base:
        shard = harness.shard
        await add_truck(harness, base)
        cycle = await run_now(shard, **parent(TRACE))
        events = await shard.events("west", vin(0))
        own = await run_now(shard, **{"x-request-id": "please-run"})

    assert (cycle["outcome"], cycle["trace_id"]) == ("completed", TRACE)
    assert TRACE in [event["trace_id"] for event in events]
    assert {record["trace_id"] for record in cycle["records"]} == {TRACE}
    sent = maker.parents(TRACE)
    assert sent
    assert len(set(sent)) == len(sent)
    assert "00f067aa0ba902b7" not in str(sent)
    assert own["trace_id"] == "please-run"
    assert maker.parents(to_trace_id("please-run"))
    for asked in maker.asked:
        assert read_trace_id([asked.headers["traceparent"]]) is not None
        assert "tracestate" not in asked.headers
    spans = [asked.headers["traceparent"].split("-")[2] for asked in maker.asked]
    assert len(set(spans)) == len(spans)
    assert {line["event"] for line in logbook.lines(trace_id=TRACE)} >= {STEPS[0], STEPS[-1]}


async def test_nfr_003_a_trial_continues_the_trace_of_its_request(dsn: str, tmp_path: Path) -> None:
    maker = Maker()
    async with open_harness(dsn, tmp_path) as harness, http_server(maker.answer) as base:
        await add_truck(harness, base)
        path = "/workspaces/west/providers/rfms/test"
        tried = await harness.shard.post(path, headers=parent(TRACE))
    assert tried["outcome"] == "answered", tried
    assert len(maker.parents(TRACE)) == 1


async def test_nfr_003_sent_data_continues_the_trace_of_its_request(
    dsn: str, tmp_path: Path
) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard, now = harness.shard, await harness.now()
        await shard.add_pushed_fleet("harbour", ["bus-1"])
        good = update("harbour", "bus-1", now, odometer_km=1000)
        bad = update("harbour", "bus-2", now, odometer_km=1000)
        await shard.ingest(good, bad, headers=parent(TRACE) | {"x-request-id": "not-this"})
        point = {"vid": "bus-1", "label": "soc", "time": int(now.timestamp() * 1000), "value": 61}
        envelope = {
            "workspaceId": "harbour",
            "providerType": "viriciti",
            "providerId": "push",
            "receivedAt": now,
            "rawMessage": {"type": "vehicles", "payload": point},
        }
        await shard.post("/provider-ingest", envelope, headers=parent(OTHER))
        traces = [event["trace_id"] for event in await shard.events("harbour", "bus-1")]
        (refused,) = await shard.rejections("harbour")
        answer = await shard.ask("GET", "/workspaces/harbour", headers=parent(TRACE))
        invalid = await shard.ask(
            "GET", "/workspaces/nowhere", headers={"traceparent": f"00-{TRACE}-{'0' * 16}-01"}
        )
    assert traces == [TRACE, OTHER]
    assert refused["trace_id"] == TRACE
    assert answer.headers["x-request-id"] == TRACE
    assert invalid.status == 404
    assert invalid.json["trace_id"] == invalid.headers["x-request-id"] != TRACE


async def test_acceptance_10_sc_12_the_api_tells_what_the_log_tells(
    dsn: str, tmp_path: Path, logbook: Logbook
) -> None:
    """Same names, same trace id, same counts. A fleet with news in each cycle, and a stranger."""
    west = polled("west", 3, every=0.3)
    async with open_harness(dsn, tmp_path, west) as harness:
        await harness.add_fleet(west, only=[vin(0), vin(1)])
        told = [await run_now(harness.shard) for _ in range(3)]
    for cycle in told:
        lines = logbook.lines(trace_id=cycle["trace_id"])
        logged = [line for line in lines if line["event"] in STEPS]
        records = cycle["records"]
        names = [record["name"] for record in records]
        assert names == sorted(names, key=STEPS.index)
        assert set(names) == {line["event"] for line in logged}
        assert {record["trace_id"] for record in records} == {cycle["trace_id"]}
        assert _counts(records, "name") == _counts(logged, "event")
        begun, ended = records[0], records[-1]
        assert _instant(begun["cycle_started_at"]) == _instant(logged[0]["cycle_started_at"])
        assert _instant(ended["cycle_ended_at"]) == _instant(logged[-1]["cycle_ended_at"])
        assert (ended["outcome"], ended["result_summary"]) == ("completed", cycle["summary"])
    assert any("telematics_update_rejected" in str(cycle["records"]) for cycle in told)


async def test_a_hundred_events_at_once_cause_one_run(
    dsn: str, tmp_path: Path, logbook: Logbook
) -> None:
    maker = Maker()
    answers: list[tuple[str, str]] = []

    async with open_harness(dsn, tmp_path) as harness, http_server(maker.answer) as base:
        shard = harness.shard
        await add_truck(harness, base, interval=15)
        first = await shard.post("/workspaces/west/cycles", EVENT)
        await until(lambda: _has_ended(shard, first["cycle_id"]))
        asked_before = len(maker.asked)

        async def send(number: int) -> None:
            """Send an event as EventBridge does, again if the answer is 429 or 5xx."""
            event = {**EVENT, "id": f"event-{number}"}
            while True:
                answer = await shard.ask("POST", "/workspaces/west/cycles", json=event)
                if answer.status == 202:
                    answers.append((answer.json["cycle_id"], answer.json["start_at"]))
                    return
                assert answer.status == 503, answer.body
                await trio.sleep(int(answer.headers["retry-after"]))

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(send, number)
        ((promised, start_at),) = set(answers)
        await until(lambda: _has_ended(shard, promised))
        cycles = await shard.cycles("west")
        asked_since = len(maker.asked) - asked_before

    run, before = cycles[:2]
    assert len(answers) == 100
    assert (run["cycle_id"], run["trigger"], run["attempt"]) == (promised, "schedule", 1)
    assert before["cycle_id"] == first["cycle_id"]
    assert asked_since == 1
    assert _instant(run["started_at"]) >= _instant(start_at) - timedelta(seconds=0.25)
    lines = logbook.lines(event="cycle_event_received")[1:]
    assert {line["event_id"] for line in lines} == {f"event-{number}" for number in range(100)}
    assert {line["cycle_id"] for line in lines} == {promised}
    assert len({line["trace_id"] for line in lines}) == 100


async def _has_ended(shard: Shard, cycle_id: str) -> bool:
    return (await shard.get(f"/workspaces/west/cycles/{cycle_id}"))["ended_at"] is not None


def _counts(told: list[Any], name: str) -> Mapping[str, Counter[str]]:
    """Return the sums of all counts, by the record's name."""
    sums: dict[str, Counter[str]] = {}
    for record in told:
        of_one = sums.setdefault(record[name], Counter())
        for member in ("frames", "updates", "devices_answered", "malformed", "ignored"):
            of_one[member] += record.get(member, 0)
        for member in ("reasons", "records"):
            of_one.update({f"{member}.{why}": n for why, n in record.get(member, {}).items()})
    return {place: +of_one for place, of_one in sums.items()}


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
