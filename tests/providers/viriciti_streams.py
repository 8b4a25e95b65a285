"""A client of ViriCiti's stream, as its tests open it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain.model import ProviderConnection

if TYPE_CHECKING:
    from providers.viriciti import ViriCiti
    from providers.viriciti.client import ViriCitiStreamer

KEY = "0f0f-s3cret-key"


def stream_connection(base: str, **settings: Any) -> ProviderConnection:
    return ProviderConnection("acme", "viriciti-1", "viriciti", "stream", base, "env:KEY", settings)


def open_streamer(provider: ViriCiti, base: str, **settings: Any) -> ViriCitiStreamer:
    return provider.open_streamer(
        stream_connection(base, disconnect_timeout_seconds=0.1, **settings), KEY
    )


async def open_and_close(streamer: ViriCitiStreamer) -> None:
    async with streamer.connect():
        pass
