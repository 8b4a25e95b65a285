"""ViriCiti, now ChargePoint Fleet: a live stream of mixed electric buses.

Their last known state can be requested, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from providers.configuration import header_secret, parse_base_url, stored_settings
from providers.viriciti.about import ABOUT
from providers.viriciti.answers import interpret_message
from providers.viriciti.client import StatePoller, ViriCitiStreamer
from providers.viriciti.settings import ViriCitiSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from domain.model import ProviderConnection, Transport
    from ports.providers import Page, ProviderDescription
    from providers.http import HttpPool


class ViriCiti:
    """Streaming provider; its poller reads the state endpoint.

    The poller is for seeding a fresh connection and for reconciling.

    All methods but `check_settings` raise ProviderFault for settings, an address or a credential
    that cannot be used.
    """

    provider_type: str = "viriciti"
    about: ProviderDescription = ABOUT
    transports: frozenset[Transport] = frozenset({"stream", "push"})
    destination_settings: frozenset[str] | None = frozenset()
    ids_are_vins: bool = False

    def __init__(self, http: HttpPool) -> None:
        self._http = http

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        ViriCitiSettings.model_validate(dict(settings))

    def interpret(self, connection: ProviderConnection, message: bytes) -> Page:
        """Read a frame or a state answer that somebody else received.

        See answers.interpret_message.
        """
        return interpret_message(message, stored_settings(ViriCitiSettings, connection).rules)

    def open_poller(self, connection: ProviderConnection, secret: str | None) -> StatePoller:
        return StatePoller(
            self._http, *_configured(connection, secret), workspace_id=connection.workspace_id
        )

    def open_streamer(self, connection: ProviderConnection, secret: str | None) -> ViriCitiStreamer:
        return ViriCitiStreamer(self._http, *_configured(connection, secret))


def _configured(
    connection: ProviderConnection, secret: str | None
) -> tuple[httpx.URL, str, ViriCitiSettings]:
    settings = stored_settings(ViriCitiSettings, connection)
    return parse_base_url(connection.base_url), header_secret(secret), settings
