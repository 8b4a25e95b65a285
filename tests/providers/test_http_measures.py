"""What the pool reports of a call: its host, its outcome, and its own time without the queue's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from ports.providers import ProviderFault
from providers.http import Call, HttpPool
from tests.providers.servers import Reply, http_server, loopback_dialler
from tests.recording import Recording

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.providers.servers import Asked

HOST = "127.0.0.1"


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.fixture
async def pool(recording: Recording) -> AsyncIterator[HttpPool]:
    async with HttpPool(loopback_dialler(), measures=recording.measures) as opened:
        yield opened


def get(base: str, *, deadline_seconds: float = 5.0) -> Call:
    url = httpx.URL(base)
    return Call(method="GET", url=url, headers={}, deadline_seconds=deadline_seconds)


async def test_a_good_answer_is_a_call_that_went_well(pool: HttpPool, recording: Recording) -> None:
    async with http_server(lambda _: Reply(body=b"{}")) as base:
        await pool.fetch(get(base))
    assert recording.labels_of("calls") == [(HOST, "ok")]
    assert recording.labels_of("call_seconds") == [(HOST,)]


@pytest.mark.parametrize(("status", "fault"), [(401, "credentials"), (429, "quota")])
async def test_a_refused_call_has_the_class_of_its_fault(
    pool: HttpPool, recording: Recording, status: int, fault: str
) -> None:
    async with http_server(lambda _: Reply(status)) as base:
        with pytest.raises(ProviderFault):
            await pool.fetch(get(base))
    assert recording.labels_of("calls") == [(HOST, fault)]
    assert recording.labels_of("call_seconds") == [(HOST,)]


async def test_a_call_past_its_deadline_is_an_outage(pool: HttpPool, recording: Recording) -> None:
    async def hang(_: Asked) -> Reply:
        await trio.sleep_forever()

    async with http_server(hang) as base:
        with pytest.raises(ProviderFault):
            await pool.fetch(get(base, deadline_seconds=0.05))
    assert recording.labels_of("calls") == [(HOST, "outage")]
    assert recording.of("call_seconds")[0].value >= 0.05
