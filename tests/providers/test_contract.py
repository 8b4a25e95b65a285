"""Every provider fulfils the actors' protocols, and uses signals of the catalogue only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from domain.model import FaultClass, ProviderConnection
from domain.signals import CATALOGUE
from ports.providers import ProviderFault
from providers.http import HttpPool
from providers.known import make_providers
from providers.rfms import Rfms
from providers.rfms.settings import RfmsSettings
from providers.viriciti import ViriCiti
from providers.viriciti.settings import ViriCitiSettings
from providers.viriciti.wire import LABELS
from tests.providers.servers import loopback_dialler

if TYPE_CHECKING:
    from pydantic import BaseModel

    from domain.model import Transport
    from ports.providers import Poller, Provider, Streamer


def _providers() -> list[Provider]:
    """The type checker compares each with the protocol here."""
    http = HttpPool(loopback_dialler())
    return [ViriCiti(http), Rfms(http)]


def test_every_known_type_describes_itself() -> None:
    """GET /provider-types shows it: a setting without a description would be a riddle."""
    known = make_providers(HttpPool(loopback_dialler()))
    assert known.keys() == {"push", *(provider.provider_type for provider in _providers())}
    for provider in known.values():
        about = provider.about
        assert about.title
        assert about.summary.endswith(".")
        assert (about.base_url is None) == (provider.transports == {"push"})
        settings = about.settings["properties"]
        assert [name for name, field in settings.items() if not field.get("description")] == []
        assert [name for name, field in settings.items() if "default" not in field] == []
        assert provider.destination_settings is not None
        assert provider.destination_settings <= settings.keys()


def test_the_period_that_rfms_documents_promise_is_an_hour() -> None:
    assert Rfms.about.expected_update_seconds == 3600


def way_in(provider: Provider) -> Transport:
    (transport,) = provider.transports - {"push"}
    return transport


def test_each_has_a_name_of_its_own_and_a_way_in() -> None:
    assert [provider.provider_type for provider in _providers()] == ["viriciti", "rfms"]
    assert all(
        provider.transports <= {"poll", "stream", "push"} and provider.transports - {"push"}
        for provider in _providers()
    )


@pytest.mark.parametrize(
    ("provider", "settings"), [*zip(_providers(), (ViriCitiSettings, RfmsSettings), strict=True)]
)
def test_each_names_its_settings_that_choose_where_a_secret_goes(
    provider: Provider, settings: type[BaseModel]
) -> None:
    known = set(settings.model_fields)
    destination = known if provider.destination_settings is None else provider.destination_settings
    assert destination <= known
    assert {
        name for name in known if re.search("path|url|host|port|server|address", name)
    } <= destination


@pytest.mark.parametrize("provider", _providers(), ids=lambda provider: provider.provider_type)
def test_each_opens_what_it_says_it_has(provider: Provider) -> None:
    transport = way_in(provider)
    connection = ProviderConnection(
        "acme", "p", provider.provider_type, transport, "https://p.example", "env:KEY"
    )
    provider.check_settings(connection.settings)
    poller: Poller | None = provider.open_poller(connection, "secret")
    streamer: Streamer | None = provider.open_streamer(connection, "secret")
    assert poller is not None
    assert (streamer is not None) == ("stream" in provider.transports)


@pytest.mark.parametrize("provider", _providers(), ids=lambda provider: provider.provider_type)
@pytest.mark.parametrize(
    ("address", "settings", "secret", "fault"),
    [
        ("p.example", {}, "secret", FaultClass.CONFIGURATION),
        ("https://p.example", {"no_such_setting": 1}, "secret", FaultClass.CONFIGURATION),
        ("https://p.example", {}, None, FaultClass.CONFIGURATION),
    ],
)
def test_each_tells_what_it_cannot_work_with_as_a_fault(
    provider: Provider,
    address: str,
    settings: dict[str, int],
    secret: str | None,
    fault: FaultClass,
) -> None:
    transport = way_in(provider)
    connection = ProviderConnection(
        "acme", "p", provider.provider_type, transport, address, "env:KEY", settings
    )
    with pytest.raises(ProviderFault) as caught:
        provider.open_poller(connection, secret)
    assert (caught.value.fault, caught.value.permanent) == (fault, True)


@pytest.mark.parametrize("provider", _providers(), ids=lambda provider: provider.provider_type)
@pytest.mark.parametrize("message", [b"", b"<html>", b"[7]", b"7", b'"hello"'])
def test_each_refuses_an_envelope_that_it_never_sends(provider: Provider, message: bytes) -> None:
    transport = way_in(provider)
    connection = ProviderConnection(
        "acme", "p", provider.provider_type, transport, "https://p.example", "env:KEY"
    )
    with pytest.raises(ProviderFault) as caught:
        provider.interpret(connection, message)
    assert caught.value.fault is FaultClass.PROTOCOL


def test_every_label_stands_for_a_signal_of_the_catalogue() -> None:
    assert set(LABELS.values()) - CATALOGUE.keys() == set()
