"""Push: clients send canonical updates to `/ingest`. There is nothing to call, and no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from domain.model import FaultClass
from ports.providers import ProviderFault
from providers.push.about import ABOUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.model import ProviderConnection, Transport
    from ports.providers import ProviderDescription


class Push:
    """The provider type of data that somebody else collects, or that devices send by themselves."""

    provider_type: str = "push"
    about: ProviderDescription = ABOUT
    transports: frozenset[Transport] = frozenset({"push"})
    destination_settings: frozenset[str] | None = frozenset()
    ids_are_vins: bool = False

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError if there is a setting: there are none."""
        if settings:
            raise ValueError("A push connection has no settings.")

    def interpret(self, connection: ProviderConnection, message: bytes) -> NoReturn:
        """Raise ProviderFault: there is no vendor whose messages could be read."""
        raise ProviderFault(
            FaultClass.PROTOCOL,
            f"{connection.provider_id} is a push connection without messages of a vendor: "
            "send canonical updates to /ingest",
        )

    def open_poller(self, connection: ProviderConnection, secret: str | None) -> None:
        """Return None: there is nothing to call."""

    def open_streamer(self, connection: ProviderConnection, secret: str | None) -> None:
        """Return None: there is nothing to connect to."""
