"""One workspace's slow providers leave the other workspaces their calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from domain.model import ProviderConnection
from providers.http import HttpPool
from providers.rfms import Rfms
from providers.viriciti import ViriCiti
from tests.providers.servers import Asked, Reply, http_server, loopback_dialler

if TYPE_CHECKING:
    from ports.providers import Poller, Provider

MAX_CONNECTIONS = 8
PAGE = b'{"vehicleStatusResponse":{"vehicleStatuses":[]},"moreDataAvailable":false}'


def _poller(provider: Provider, workspace_id: str, base: str, number: int) -> Poller:
    name = f"{provider.provider_type}-{number}"
    connection = ProviderConnection(
        workspace_id,
        name,
        provider.provider_type,
        min(provider.transports - {"push"}),
        base,
        f"env:{name}",
    )
    poller = provider.open_poller(connection, f"secret-{name}")
    assert poller is not None
    return poller


@pytest.mark.parametrize("provider_type", [Rfms, ViriCiti])
async def test_slow_providers_of_one_workspace_hold_a_quarter(
    provider_type: type[Rfms] | type[ViriCiti],
) -> None:
    held, quarter_held = 0, trio.Event()

    async def never(_: Asked) -> Reply:
        nonlocal held
        held += 1
        if held == MAX_CONNECTIONS // 4:
            quarter_held.set()
        await trio.sleep_forever()
        raise AssertionError

    async with (
        HttpPool(loopback_dialler(), max_connections=MAX_CONNECTIONS) as http,
        http_server(never) as slow,
        http_server(lambda _: Reply(body=PAGE)) as quick,
        trio.open_nursery() as nursery,
    ):
        hostile = provider_type(http)
        for number in range(2 * MAX_CONNECTIONS):
            nursery.start_soon(_poller(hostile, "hostile", slow, number).fetch, ["vin"], None, None)
        with trio.fail_after(5):
            await quarter_held.wait()
            page = await _poller(Rfms(http), "acme", quick, 0).fetch(["vin"], None, None)
        assert held == MAX_CONNECTIONS // 4
        assert page.next_page is None
        nursery.cancel_scope.cancel()


async def test_a_share_is_at_least_one_call_and_kept_per_workspace() -> None:
    http = HttpPool(loopback_dialler(), max_connections=1)
    share = http.share("acme")
    assert share.total_tokens == 1
    assert http.share("acme") is share
    assert http.share("other") is not share


@pytest.mark.parametrize("provider_type", [Rfms, ViriCiti])
async def test_a_poller_says_whether_its_call_was_sent(
    provider_type: type[Rfms] | type[ViriCiti],
) -> None:
    """A call that is cancelled before its turn has never been made."""
    asked = trio.Event()

    async def never(_: Asked) -> Reply:
        asked.set()
        await trio.sleep_forever()
        raise AssertionError

    async with (
        HttpPool(loopback_dialler(), max_connections=1) as http,
        http_server(never) as base,
        trio.open_nursery() as nursery,
    ):
        first, second = (_poller(provider_type(http), "harbour", base, n) for n in (1, 2))
        nursery.start_soon(first.fetch, ["vin"], None, None)
        await asked.wait()
        with trio.move_on_after(0.05):
            await second.fetch(["vin"], None, None)
        assert (first.is_queued, second.is_queued) == (False, True)
        nursery.cancel_scope.cancel()
