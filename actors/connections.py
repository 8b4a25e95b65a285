"""Opening a configured connection: from its row and secret reference to a poller or a streamer.

Owns the table of provider types. It wraps every poller and streamer, so that everything from a
provider passes the scrubber (scrubbing.py). A connection that cannot be opened (unknown type,
missing secret, wrong settings) raises ProviderFault like any other trouble of a provider: it shows
in health and is tried again, and nothing else stops.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from actors.scrubbing import ScrubbedPoller, ScrubbedStreamer, scrubbed_faults
from domain.model import FaultClass
from ports.providers import ProviderFault
from runtime.faults import EnvironmentFault
from runtime.scrubbing import Scrubber

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from domain.model import ProviderConnection
    from ports.providers import Provider


class Connector:
    """Opens connections with the provider types of this process.

    `resolve_secret` turns a reference into a secret. It must bound its own time: no deadline is set
    here.
    """

    def __init__(
        self, providers: Mapping[str, Provider], resolve_secret: Callable[[str], Awaitable[str]]
    ) -> None:
        self._providers = providers
        self._resolve_secret = resolve_secret

    async def open_poller(self, connection: ProviderConnection) -> ScrubbedPoller | None:
        """Return a poller; None when this connection has nothing to poll. Raises ProviderFault."""
        provider, secret = await self._prepare(connection)
        scrubber = Scrubber(secret)
        with _opening(scrubber):
            poller = provider.open_poller(connection, secret)
        return None if poller is None else ScrubbedPoller(poller, scrubber)

    async def open_streamer(self, connection: ProviderConnection) -> ScrubbedStreamer | None:
        """Return a streamer; None when this provider does not stream. Raises ProviderFault."""
        provider, secret = await self._prepare(connection)
        scrubber = Scrubber(secret)
        with _opening(scrubber):
            streamer = provider.open_streamer(connection, secret)
        return None if streamer is None else ScrubbedStreamer(streamer, scrubber)

    async def _prepare(self, connection: ProviderConnection) -> tuple[Provider, str | None]:
        provider = self._providers.get(connection.provider_type)
        if provider is None:
            known = ", ".join(sorted(self._providers))
            raise _misconfigured(
                f"provider_type {connection.provider_type!r} is not one of: {known}"
            )
        if connection.credential is None:
            return provider, None
        try:
            return provider, await self._resolve_secret(connection.credential)
        except EnvironmentFault as fault:
            raise _misconfigured(str(fault)) from fault


@contextmanager
def _opening(scrubber: Scrubber) -> Iterator[None]:
    try:
        with scrubbed_faults(scrubber):
            yield
    except ValueError as error:
        # `from None` drops the cause, which may quote the values it was given.
        raise _misconfigured(scrubber.text(str(error))) from None


def _misconfigured(message: str) -> ProviderFault:
    return ProviderFault(FaultClass.CONFIGURATION, message, permanent=True)
