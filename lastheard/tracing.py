"""Traces of this process: recorded and sent while the block lasts, if an address is set.

Owns the choice whether anything is traced. The libraries for it are an extra, which is imported
only then.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from lastheard.trace_settings import read_headers
from runtime import spans
from runtime.settings import SecretUnavailable, SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lastheard.otlp import OtlpRecorder
    from lastheard.settings import Settings

CLOSE_SECONDS: Final = 2.0  # for what still waits; then it is dropped


@asynccontextmanager
async def open_tracing(settings: Settings) -> AsyncIterator[None]:
    """Record spans and send them to `otlp_url` for the length of the block; without it, do nothing.

    Raises SettingsError when the libraries are missing, or the headers cannot be read. A collector
    that is away neither delays nor ends anything. What waits at the end has CLOSE_SECONDS to be
    sent.
    """
    if settings.otlp_url is None:
        yield
        return
    recorder = _make_recorder(settings, settings.otlp_url)
    try:
        with spans.recording(recorder):
            yield
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS) as closing:
            await trio.to_thread.run_sync(recorder.close, abandon_on_cancel=True)
        if closing.cancelled_caught:
            recorder.give_up()


def _make_recorder(settings: Settings, url: str) -> OtlpRecorder:
    try:
        from lastheard.otlp import OtlpRecorder
    except ImportError as error:
        raise SettingsError(
            [
                f"LASTHEARD_OTLP_URL is set, and a library that it needs is missing ({error.name}):"
                " install the extra `tracing` (pip install 'lastheard[tracing]'), or unset it"
            ]
        ) from error
    return OtlpRecorder(
        url,
        _headers(settings),
        share=settings.trace_share,
        shard_id=settings.shard_id,
    )


def _headers(settings: Settings) -> dict[str, str]:
    if settings.otlp_headers is None:
        return {}
    try:
        return read_headers(settings.otlp_headers.resolve())
    except (SecretUnavailable, ValueError) as fault:
        raise SettingsError([f"LASTHEARD_OTLP_HEADERS: {fault}"]) from None
