"""Trials over the real provider types, against small servers: what is shown, and what to do."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing

from actors.connections import Connector
from actors.trial import CALL_SECONDS, MAX_AT_ONCE, PAUSE_SECONDS, ConnectionTrials
from actors.waits import ProviderWaits
from domain.model import Device, FaultClass, ProviderConnection
from ports.trials import TrialRefused, TrialWish
from providers.http import HttpPool
from providers.known import make_providers
from runtime.dialling import Dialler
from runtime.outbound import Allowance, UnknownName
from tests.acceptance.loose_vendor import Fleet, now_ms, open_loose_vendor
from tests.acceptance.maker import VIN, record, said
from tests.providers.servers import Asked, Reply, http_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ports.trials import TrialReport
    from runtime.outbound import Address

OTHER = "TESTVIN0000000002"
SECRET = "the-secret-of-the-account"


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


async def read_secret(_: str) -> str:
    await trio.lowlevel.checkpoint()
    return SECRET


@asynccontextmanager
async def trials(
    dialler: Dialler | None = None, waits: ProviderWaits | None = None
) -> AsyncIterator[ConnectionTrials]:
    dialler = dialler or Dialler(Allowance.parse("127.0.0.1"))
    async with HttpPool(dialler) as http:
        providers = make_providers(http)
        clock = cast("Any", WallClock())
        connector = Connector(providers, read_secret)
        yield ConnectionTrials(providers, connector, clock, waits or ProviderWaits())


def connection(url: str, provider_type: str = "rfms", **rest: Any) -> ProviderConnection:
    is_polled = provider_type == "rfms"
    plain = ProviderConnection(
        "depot",
        "live",
        provider_type,
        "poll" if is_polled else "stream",
        url,
        "env:LASTHEARD_SECRET_X",
        ids_are_vins=is_polled,
    )
    return replace(plain, **rest)


def device(external_id: str) -> Device:
    return Device("depot", "bus-1", "live", external_id, "v-1", "Bus 1", datetime.now(UTC), None)


def page(*records: dict[str, Any], **rest: Any) -> bytes:
    body = {
        "vehicleStatusResponse": {"vehicleStatuses": records},
        "moreDataAvailable": False,
        "requestServerDateTime": said(0),
    }
    return json.dumps({**body, **rest}).encode()


async def try_once(
    one: ProviderConnection, devices: Sequence[Device] = (), wish: TrialWish | None = None
) -> TrialReport:
    async with trials() as made:
        return await made.run(one, devices, wish or TrialWish())


async def test_an_answer_is_shown_by_vehicle_and_signal() -> None:
    soc = {"hybridBatteryPackRemainingCharge": 61.5}
    place = {"latitude": 52.1, "longitude": 5.1, "positionDateTime": said(2)}
    body = page(
        record(5, {"hybridBatteryPackRemainingCharge": 60.0}),
        record(1, {**soc, "gnssPosition": place, "wheelBasedSpeed": 999.0}),
        record(1, soc, vin=OTHER),
        record(1, soc, vin="TESTVIN0000000003", createdDateTime="yesterday"),
        moreDataAvailable=True,
    )
    asked: list[Asked] = []

    def answer(request: Asked) -> Reply:
        asked.append(request)
        return Reply(200, body)

    async with http_server(answer) as url:
        report = await try_once(connection(url), [device(VIN.lower())])
    assert [one.target for one in asked] == ["/vehiclestatuses?latestOnly=true"]
    assert (report.fault, report.has_more, report.records) == (None, True, 4)
    assert (report.vehicle_count, report.unconfigured_count) == (3, 2)
    bus = report.vehicles[0]
    assert bus.device is not None
    assert {reading.signal: reading.value for reading in bus.readings} == {
        "soc_percent": 61.5,
        "latitude_deg": 52.1,
        "longitude_deg": 5.1,
    }
    assert {(one.external_id, one.signal, one.reason) for one in report.refusals} == {
        (VIN.lower(), "speed_kmh", "invalid"),
        ("TESTVIN0000000003", None, "malformed"),
    }


HTML = Reply(200, b"<html>Sign in</html>", {"Content-Type": "text/html"})
FAULTS: dict[str, tuple[Reply, FaultClass, str]] = {
    "wrong path": (Reply(404), FaultClass.CONFIGURATION, "of the simulator http://HOST:PORT/rfms"),
    "moved": (Reply(301), FaultClass.CONFIGURATION, "Check base_url and the settings"),
    "not acceptable": (Reply(406), FaultClass.CONFIGURATION, "the setting `accept`"),
    "rejected": (Reply(401), FaultClass.CREDENTIALS, "a bearer token that is valid"),
    "forbidden": (Reply(403), FaultClass.CREDENTIALS, "lacks a right"),
    "quota": (Reply(429, b"{}", {"Retry-After": "7"}), FaultClass.QUOTA, "Wait for 7 s"),
    "quota in words": (Reply(429), FaultClass.QUOTA, "Wait: the account's calls"),
    "not JSON": (HTML, FaultClass.PROTOCOL, "Something else than the provider's API"),
    "an empty body": (Reply(200, b""), FaultClass.PROTOCOL, "Something else"),
    "down": (Reply(503), FaultClass.OUTAGE, "Try again"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_told_with_its_remedy(name: str) -> None:
    reply, fault, remedy = FAULTS[name]
    async with http_server(lambda _: reply) as url:
        report = await try_once(connection(url))
    assert report.fault is not None
    assert report.fault.fault is fault
    assert remedy in report.fault.remedy
    assert SECRET not in repr(report)


async def test_an_address_that_is_not_allowed_is_not_dialled() -> None:
    calls: list[Asked] = []

    def answer(request: Asked) -> Reply:
        calls.append(request)
        return Reply()

    async with http_server(answer) as url, trials(Dialler(Allowance())) as made:
        for provider_type in ("rfms", "viriciti"):
            one = connection(url, provider_type, provider_id=provider_type)
            report = await made.run(one, [device("bus_1")], TrialWish())
            assert report.fault is not None
            assert report.fault.fault is FaultClass.CONFIGURATION
            assert "LASTHEARD_OUTBOUND_ALLOW of every shard" in report.fault.remedy
    assert calls == []


async def test_a_host_that_nobody_knows_is_named() -> None:
    async def resolve(host: str, port: int) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        raise UnknownName(f"no name server knows {host}")

    async with trials(Dialler(Allowance(), resolve=resolve)) as made:
        report = await made.run(connection("https://no-such.example"), [], TrialWish())
    assert report.fault is not None
    assert "Check the host in base_url" in report.fault.remedy


async def test_a_wrong_configuration_needs_no_call() -> None:
    missing = await try_once(connection("http://127.0.0.1:1", credential=None))
    unknown = await try_once(connection("http://127.0.0.1:1", "gone"))
    for report, words in ((missing, "has no credential"), (unknown, "is not one of")):
        assert report.fault is not None
        assert report.fault.fault is FaultClass.CONFIGURATION
        assert words in report.fault.detail


async def test_a_secret_in_the_answer_is_taken_out() -> None:
    soc = {"hybridBatteryPackRemainingCharge": 61.5}
    body = page(record(1, soc, vin=SECRET), record(1, soc, createdDateTime=SECRET))
    async with http_server(lambda _: Reply(200, body)) as url:
        report = await try_once(connection(url))
    assert (report.fault, report.vehicle_count) == (None, 2)
    assert SECRET not in repr(report)


def frame(vid: str, value: str) -> bytes:
    point = f'"vid":"{vid}","label":"soc","time":{now_ms()},"value":{value}'
    return b'{"type":"vehicles","payload":{%b}}' % point.encode()


async def test_a_stream_is_tried_by_its_state_call() -> None:
    state = f'{{"bus_1":{{"soc":{{"time":{now_ms()},"value":61.5}}}}}}'.encode()
    async with open_loose_vendor({"a": Fleet(state=lambda: state)}) as vendor:
        one = connection(f"{vendor.url}/a", "viriciti")
        report = await try_once(one, [device("bus_1"), device("bus_2")])
        assert not vendor.opened
    assert (report.way, report.fault, report.vehicle_count) == ("call", None, 1)
    assert (report.left_out, report.asked_count) == (("bus_2",), 2)


async def test_a_stream_is_read_for_some_seconds() -> None:
    frames = [lambda: frame("bus_1", "61.5"), lambda: frame("bus_2", "NaN"), lambda: b"{}"]
    async with open_loose_vendor({"a": Fleet(frames)}) as vendor:
        one = connection(f"{vendor.url}/a", "viriciti")
        wish = TrialWish(("bus_1", "bus_2"), "stream", 1.0)
        report = await try_once(one, [device("bus_1")], wish)
    assert (report.way, report.fault) == ("stream", None)
    assert [(one.external_id, len(one.readings)) for one in report.vehicles] == [("bus_1", 1)]
    assert ("bus_2", "soc_percent") in {(one.external_id, one.signal) for one in report.refusals}
    assert 0.9 < report.seconds < 10


async def test_without_a_vehicle_to_ask_for_the_stream_is_opened() -> None:
    async with open_loose_vendor({"a": Fleet()}) as vendor:
        one = connection(f"{vendor.url}/a", "viriciti")
        report = await try_once(one, wish=TrialWish(seconds=1.0))
        assert vendor.opened["a"] == 1
    assert (report.way, report.fault, report.vehicle_count) == ("stream", None, 0)


async def test_a_stream_with_a_wrong_path_is_told_its_address() -> None:
    async with http_server(lambda _: Reply(404)) as url:
        report = await try_once(connection(url, "viriciti"))
    assert report.fault is not None
    assert "without a path" in report.fault.remedy


# --- Bounds


async def test_a_provider_that_never_answers_ends_at_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    made, gate = make_hanging()
    with trio.fail_after(CALL_SECONDS + 1):
        report = await made.run(connection("http://127.0.0.1:1"), [], TrialWish())
    assert report.fault is not None
    assert report.fault.detail == f"no answer within {CALL_SECONDS:g} s"
    assert gate.statistics().tasks_waiting == 0


async def test_a_connection_is_tried_once_in_a_while(
    autojump_clock: trio.testing.MockClock,
) -> None:
    made, _ = make_hanging()
    one = connection("http://127.0.0.1:1", credential=None)
    await made.run(one, [], TrialWish())
    with pytest.raises(TrialRefused) as refused:
        await made.run(one, [], TrialWish())
    assert refused.value.retry_after == PAUSE_SECONDS
    await trio.sleep(PAUSE_SECONDS)
    await made.run(one, [], TrialWish())


async def test_a_pause_that_the_provider_asks_for_is_kept() -> None:
    reply = Reply(429, b"{}", {"Retry-After": "600"})
    async with http_server(lambda _: reply) as url, trials() as made:
        await made.run(connection(url), [], TrialWish())
        with pytest.raises(TrialRefused) as refused:
            await made.run(connection(url), [], TrialWish())
    assert refused.value.retry_after is not None
    assert refused.value.retry_after > 590


async def test_a_pause_that_a_cycle_was_asked_for_is_kept() -> None:
    waits, one = ProviderWaits(), connection("http://127.0.0.1:1")
    waits.postpone(one, 60)
    async with trials(waits=waits) as made:
        with pytest.raises(TrialRefused, match="asked not to be called") as refused:
            await made.run(one, [], TrialWish())
        moved = replace(one, credential=None)
        assert (await made.run(moved, [], TrialWish())).fault is not None
    assert refused.value.retry_after == pytest.approx(60, abs=5)


async def test_few_trials_run_at_once(autojump_clock: trio.testing.MockClock) -> None:
    made, _ = make_hanging()
    async with trio.open_nursery() as nursery:
        for number in range(MAX_AT_ONCE):
            one = connection("http://127.0.0.1:1", provider_id=f"p{number}")
            nursery.start_soon(made.run, one, [], TrialWish())
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TrialRefused, match="Other trials"):
            await made.run(connection("http://127.0.0.1:1"), [], TrialWish())


async def test_a_push_connection_is_not_called() -> None:
    async with trials() as made:
        with pytest.raises(TrialRefused, match="/ingest") as refused:
            await made.run(connection("", transport="push"), [], TrialWish())
    assert refused.value.retry_after is None


def make_hanging() -> tuple[ConnectionTrials, trio.Event]:
    """Return trials whose secrets are never read, and the event that they wait for."""
    never = trio.Event()

    async def hang(_: str) -> str:
        await never.wait()
        return SECRET

    providers = make_providers(HttpPool(Dialler(Allowance())))
    connector, clock = Connector(providers, hang), cast("Any", WallClock())
    return ConnectionTrials(providers, connector, clock, ProviderWaits()), never
