"""Opening configured connections: whatever is wrong with one is a fault of that one."""

from __future__ import annotations

from typing import Literal

import pytest

from actors.connections import Connector
from domain.model import FaultClass, ProviderConnection
from ports.providers import ProviderFault
from runtime.faults import EnvironmentFault
from tests.actors.harness import HARBOUR, polled, resolve_secret, streamed
from tests.actors.scripted import ScriptedProvider


async def unresolvable(reference: str) -> str:
    raise EnvironmentFault(f"{reference} is not set: set it, or change the connection's credential")


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


def connect_with(provider: ScriptedProvider) -> Connector:
    return Connector({"scripted": provider}, resolve_secret)


async def test_a_reference_is_resolved_whenever_a_connection_is_opened(
    provider: ScriptedProvider,
) -> None:
    connector = connect_with(provider)
    connection = ProviderConnection(
        HARBOUR, "p", "scripted", "stream", "wss://p.example", "env:KEY"
    )
    poller, streamer = (
        await connector.open_poller(connection),
        await connector.open_streamer(connection),
    )
    assert poller is not None
    assert poller.poller is provider.pollers["p"]
    assert streamer is not None
    assert streamer.streamer is provider.streamers["p"]
    assert provider.secrets == ["the secret of env:KEY"] * 2


async def test_a_connection_without_a_credential_has_no_secret(provider: ScriptedProvider) -> None:
    await connect_with(provider).open_poller(polled())
    assert provider.secrets == [None]


async def test_a_client_that_a_provider_does_not_offer_is_none(provider: ScriptedProvider) -> None:
    connector = connect_with(provider)
    assert await connector.open_streamer(polled()) is None
    assert await connector.open_poller(streamed(settings={"no_state": True})) is None


@pytest.mark.parametrize("transport", ["poll", "stream"])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"provider_type": "unheard-of"}, "'unheard-of' is not one of: scripted"),
        ({"settings": {"broken": True}}, "`broken` must not be set"),
        ({"credential": "env:KEY"}, "env:KEY is not set"),
    ],
)
async def test_a_connection_that_cannot_be_opened_is_a_permanent_fault(
    provider: ScriptedProvider,
    transport: Literal["poll", "stream"],
    changes: dict[str, object],
    says: str,
) -> None:
    connector = Connector({"scripted": provider}, unresolvable)
    plain = {"provider_type": "scripted", "credential": None, "settings": {}} | changes
    connection = ProviderConnection(
        HARBOUR,
        "p",
        transport=transport,
        base_url="https://p.example",
        **plain,  # type: ignore[arg-type]
    )
    open_it = connector.open_poller if transport == "poll" else connector.open_streamer
    with pytest.raises(ProviderFault, match=says) as raised:
        await open_it(connection)
    assert (raised.value.fault, raised.value.permanent) == (FaultClass.CONFIGURATION, True)
