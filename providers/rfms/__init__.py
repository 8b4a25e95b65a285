"""rFMS 4: the makers' own interface for trucks and buses, polled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from providers.configuration import parse_base_url, stored_settings
from providers.rfms.about import ABOUT
from providers.rfms.client import RfmsPoller
from providers.rfms.settings import RfmsSettings
from providers.rfms.wire import read_page, to_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.model import ProviderConnection, Transport
    from ports.providers import Page, ProviderDescription
    from providers.http import HttpPool


class Rfms:
    """Polls vehicle statuses.

    `open_poller` raises ProviderFault for settings, an address or a credential that cannot be used.
    """

    provider_type: str = "rfms"
    about: ProviderDescription = ABOUT
    transports: frozenset[Transport] = frozenset({"poll", "push"})
    destination_settings: frozenset[str] | None = frozenset({"statuses_path"})
    ids_are_vins: bool = True

    def __init__(self, http: HttpPool) -> None:
        self._http = http

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        RfmsSettings.model_validate(dict(settings))

    def interpret(self, connection: ProviderConnection, message: bytes) -> Page:
        """Read a page of vehicle statuses that somebody else received."""
        settings = stored_settings(RfmsSettings, connection)
        return to_page(read_page(message, settings.zone))

    def open_poller(self, connection: ProviderConnection, secret: str | None) -> RfmsPoller:
        settings = stored_settings(RfmsSettings, connection)
        base_url = parse_base_url(connection.base_url)
        return RfmsPoller(
            self._http, base_url, secret, settings, workspace_id=connection.workspace_id
        )

    def open_streamer(self, connection: ProviderConnection, secret: str | None) -> None:
        """Return None: there is no rFMS stream."""
