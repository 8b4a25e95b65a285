"""The rFMS poller against a real server on loopback."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest
import trio

from domain.model import FaultClass, ProviderConnection
from ports.providers import Page, ProviderFault
from providers.http import HttpPool
from providers.rfms import Rfms
from tests.providers.servers import Asked, Reply, http_server, loopback_dialler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from providers.rfms.client import RfmsPoller

NOW = datetime(2026, 3, 15, 12, 0, 0, tzinfo=UTC)
TOKEN = "maker-s3cret-token"
CURSOR = "2026-03-15T11:00:00Z"
SERVER_TIME = "2026-03-15T11:59:59Z"


class _NoonClock:
    def monotonic(self) -> float:
        return trio.current_time()

    def wall(self) -> datetime:
        return NOW


@pytest.fixture
async def provider() -> AsyncIterator[Rfms]:
    async with HttpPool(loopback_dialler(), clock=_NoonClock()) as http:
        yield Rfms(http)


def _connection(base: str, **settings: Any) -> ProviderConnection:
    return ProviderConnection("acme", "rfms-1", "rfms", "poll", base, "env:TOKEN", settings)


def _poller(provider: Rfms, base: str, **settings: Any) -> RfmsPoller:
    return provider.open_poller(_connection(f"{base}/rfms4", **settings), TOKEN)


def _reply(*vins: str, **fields: Any) -> Reply:
    statuses = [
        {
            "vin": vin,
            "createdDateTime": "2026-03-15T11:30:00Z",
            "receivedDateTime": "2026-03-15T11:30:05Z",
            "hrTotalVehicleDistance": 1000,
        }
        for vin in vins
    ]
    page = {
        "vehicleStatusResponse": {"vehicleStatuses": statuses},
        "moreDataAvailable": False,
        "requestServerDateTime": SERVER_TIME,
    }
    return Reply(body=orjson.dumps(page | fields))


async def _run(
    poller: RfmsPoller, cursor: str | None = None, vins: tuple[str, ...] = ()
) -> list[Page]:
    pages = [await poller.fetch(vins, cursor, None)]
    while pages[-1].next_page is not None:
        pages.append(await poller.fetch(vins, cursor, pages[-1].next_page))
    return pages


async def test_a_first_run_takes_the_latest_statuses_page_by_page(provider: Rfms) -> None:
    targets: list[str] = []

    def answer(asked: Asked) -> Reply:
        targets.append(asked.target)
        return (
            _reply("C") if "lastVin" in asked.target else _reply("A", "B", moreDataAvailable=True)
        )

    async with http_server(answer) as base:
        pages = await _run(_poller(provider, base), vins=("A", "X"))
    assert targets == [
        "/rfms4/vehiclestatuses?latestOnly=true",
        "/rfms4/vehiclestatuses?latestOnly=true&lastVin=B",
    ]
    assert [[sample.external_id for sample in page.samples] for page in pages] == [
        ["A", "B"],
        ["C"],
    ]
    assert [page.answered for page in pages] == [frozenset("AB"), frozenset("C")]
    assert [page.cursor for page in pages] == [None, SERVER_TIME]
    assert [(page.is_complete, page.is_roster) for page in pages] == [(False, False), (False, True)]


async def test_a_later_run_asks_since_its_cursor_and_follows_links(
    provider: Rfms,
) -> None:
    targets: list[str] = []

    def answer(asked: Asked) -> Reply:
        targets.append(asked.target)
        more = {"moreDataAvailable": True, "moreDataAvailableLink": "/rfms/vehiclestatuses?page=2"}
        return _reply("A") if "page=2" in asked.target else _reply("B", **more)

    async with http_server(answer) as base:
        pages = await _run(_poller(provider, base), CURSOR)
    assert targets == [
        "/rfms4/vehiclestatuses?starttime=2026-03-15T11%3A00%3A00Z&datetype=received",
        "/rfms/vehiclestatuses?page=2",
    ]
    assert len(pages) == 2


async def test_a_complete_later_run_says_so_with_its_last_page(provider: Rfms) -> None:
    def answer(asked: Asked) -> Reply:
        if "page=2" in asked.target:
            return _reply()
        return _reply(
            "A", moreDataAvailable=True, moreDataAvailableLink="/rfms/vehiclestatuses?page=2"
        )

    async with http_server(answer) as base:
        pages = await _run(_poller(provider, base), CURSOR, ("A", "PARKED"))
    assert [page.answered for page in pages] == [frozenset({"A"}), frozenset()]
    assert [(page.is_complete, page.is_roster) for page in pages] == [(False, False), (True, False)]


async def test_every_call_carries_token_version_and_an_id_of_its_own(provider: Rfms) -> None:
    seen: list[tuple[str, ...]] = []

    def answer(asked: Asked) -> Reply:
        names = ("authorization", "accept", "x-correlation-id")
        seen.append(tuple(asked.headers[name] for name in names))
        return _reply()

    async with http_server(answer) as base:
        await _run(_poller(provider, base))
        await _run(_poller(provider, base, accept="application/x.maker+json"))
    standard = "application/json; rfms=vehiclestatuses.v4.0"
    assert [call[:2] for call in seen] == [
        (f"Bearer {TOKEN}", standard),
        (f"Bearer {TOKEN}", "application/x.maker+json"),
    ]
    assert len({call[2] for call in seen}) == 2
    assert all(0 < len(call[2]) <= 40 for call in seen)


async def test_basic_authentication_sends_user_and_password(provider: Rfms) -> None:
    seen: list[str] = []

    def answer(asked: Asked) -> Reply:
        seen.append(asked.headers["authorization"])
        return _reply()

    async with http_server(answer) as base:
        poller = provider.open_poller(_connection(base, auth="basic"), "user:päss:word\n")
        await _run(poller)
    assert base64.b64decode(seen[0].removeprefix("Basic ")).decode() == "user:päss:word"


@pytest.mark.parametrize("secret", [None, "", "user", "user:", ":password"])
def test_basic_authentication_needs_both(secret: str | None) -> None:
    with pytest.raises(ProviderFault, match="user:password") as caught:
        Rfms(HttpPool(loopback_dialler())).open_poller(
            _connection("https://maker.example", auth="basic"), secret
        )
    assert caught.value.fault is FaultClass.CONFIGURATION


async def test_workspaces_that_share_a_credential_ask_one_at_a_time(provider: Rfms) -> None:
    running, most = 0, 0

    async def answer(_: Asked) -> Reply:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.002)
        running -= 1
        return _reply()

    async with http_server(answer) as base, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(_poller(provider, base).fetch, (), None, None)
    assert most == 1


@pytest.mark.parametrize(
    ("reply", "fault", "permanent"),
    [
        (Reply(400, b'{"error":"NoTime"}'), FaultClass.CONFIGURATION, True),
        (Reply(401), FaultClass.CREDENTIALS, True),
        (Reply(403), FaultClass.CREDENTIALS, True),
        (Reply(404), FaultClass.CONFIGURATION, True),
        (Reply(406), FaultClass.CONFIGURATION, True),
        (Reply(503), FaultClass.OUTAGE, False),
        (Reply(200, b"<html>"), FaultClass.PROTOCOL, False),
        (Reply(200, b""), FaultClass.PROTOCOL, False),
        (Reply(200, b'{"error":"Closed"}'), FaultClass.PROTOCOL, False),
    ],
)
async def test_a_failed_call_has_its_fault(
    provider: Rfms, reply: Reply, fault: FaultClass, permanent: bool
) -> None:
    async with http_server(lambda _: reply) as base:
        with pytest.raises(ProviderFault) as caught:
            await _run(_poller(provider, base))
    assert (caught.value.fault, caught.value.permanent) == (fault, permanent)


async def test_a_used_up_quota_says_when_it_starts_anew(provider: Rfms) -> None:
    headers = {"X-Rate-Limit-Reset": str(int(NOW.timestamp()) + 42)}
    async with http_server(lambda _: Reply(429, b'{"error":"RateExceeded"}', headers)) as base:
        with pytest.raises(ProviderFault) as caught:
            await _run(_poller(provider, base))
    assert (caught.value.fault, caught.value.retry_after) == (FaultClass.QUOTA, 42.0)


async def test_a_page_before_a_bad_link_is_kept(
    provider: Rfms,
) -> None:
    """A second server stands for the host to which the credential must not go."""
    strangers: list[str] = []

    def note(asked: Asked) -> Reply:
        strangers.append(asked.headers["authorization"])
        return _reply()

    async with http_server(note) as elsewhere:
        more = _reply(
            "A", moreDataAvailable=True, moreDataAvailableLink=f"{elsewhere}/rfms/vehiclestatuses"
        )
        async with http_server(lambda _: more) as base:
            poller = _poller(provider, base)
            page = await poller.fetch((), None, None)
            with pytest.raises(ProviderFault, match="another host"):
                await poller.fetch((), None, page.next_page)
    assert [sample.external_id for sample in page.samples] == ["A"]
    assert strangers == []


async def test_a_run_stops_at_its_page_cap(provider: Rfms) -> None:
    calls = 0

    def answer(_: Asked) -> Reply:
        nonlocal calls
        calls += 1
        return _reply(f"V{calls}", moreDataAvailable=True)

    async with http_server(answer) as base:
        with pytest.raises(ProviderFault, match="page cap"):
            await _run(_poller(provider, base, max_pages=3))
    assert calls == 3


async def test_a_long_history_is_caught_up_with_run_by_run(provider: Rfms) -> None:
    """Runs of three pages read all records of a maker.

    It has one record every minute, and two on a page.
    """
    read: list[str] = []
    cursor: str | None = CURSOR
    async with http_server(_answer_history) as base:
        poller = _poller(provider, base, max_pages=3)
        while cursor is not None and cursor < SERVER_TIME:
            pages = await _run(poller, cursor, ("PARKED",))
            assert pages[-1].cursor is not None
            assert pages[-1].cursor > cursor
            assert pages[-1].is_complete == (pages[-1].cursor == SERVER_TIME)
            read += [sample.external_id for page in pages for sample in page.samples]
            cursor = pages[-1].cursor
    assert sorted(set(read)) == [f"V{minute:02d}" for minute in range(60)]


def _answer_history(asked: Asked) -> Reply:
    start = httpx.URL(asked.target).params["starttime"]
    minutes = [minute for minute in range(60) if f"2026-03-15T11:{minute:02d}:00Z" >= start]
    statuses = [
        {
            "vin": f"V{minute:02d}",
            "createdDateTime": at,
            "receivedDateTime": at,
            "hrTotalVehicleDistance": 1000,
        }
        for minute in minutes[:2]
        for at in [f"2026-03-15T11:{minute:02d}:00Z"]
    ]
    return _reply(
        vehicleStatusResponse={"vehicleStatuses": statuses}, moreDataAvailable=len(minutes) > 2
    )


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"auth": "oauth"}, "auth"),
        ({"accept": "a\nb"}, "accept"),
        ({"statuses_path": "vehiclestatuses"}, "statuses_path"),
        ({"statuses_path": "/vehiclestatuses?vin=1"}, "statuses_path"),
        ({"max_pages": 0}, "max_pages"),
        ({"max_page": 3}, "max_page"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Rfms(HttpPool(loopback_dialler())).check_settings(settings)


def test_rfms_does_not_stream() -> None:
    provider = Rfms(HttpPool(loopback_dialler()))
    assert provider.transports == {"poll", "push"}
    connection = _connection("https://maker.example")
    assert provider.open_streamer(connection, TOKEN) is None  # type: ignore[func-returns-value]
