"""Answers to reads, compressed with gzip for clients that take it (RFC 9110, 8.4 and 12.5.3).

Only answers to GET: those to writes are on the path of updates, and one of them shows a new key's
token. Size then tells nothing of a secret (the BREACH attack): no answer to GET has one, and no
browser adds our keys to a request that a foreign page makes.

An answer with a strong ETag stays as it is, since its tag would have to differ from that of the
compressed form, and If-Match would then not know it. Such answers are single configuration
resources, of about 1 kB.
"""

from __future__ import annotations

import zlib
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio
from quart import Response, request

if TYPE_CHECKING:
    from quart import Quart

    from api.operations import Operation, Operations

MIN_BYTES = 1024
IN_THREAD_BYTES = 128 * 1024  # about a millisecond; beside the event loop from there on
# A report of health shrinks to a fortieth. Level 6 takes twice the time for an eighth less.
_LEVEL = 1
_GZIP = 31  # zlib's largest window, and gzip's header and trailer
_TWO_AT_A_TIME = trio.CapacityLimiter(2)


def install_compression(app: Quart, operations: Operations) -> None:
    """Compress answers to reads, and name in Vary the headers on which their form depends."""

    @app.after_request
    async def compress(response: Response) -> Response:
        if request.method != "GET":
            return response
        if response.status_code == HTTPStatus.OK and _has_forms(operations.named(request.endpoint)):
            response.vary.add("Accept")
        if _may_compress(response):
            response.vary.add("Accept-Encoding")
            if _wants_gzip():
                await _compress(response)
        return response


def _has_forms(operation: Operation | None) -> bool:
    return operation is not None and len(operation.media_types) > 1


def _may_compress(response: Response) -> bool:
    tag, is_weak = response.get_etag()
    is_long = (response.content_length or 0) >= MIN_BYTES
    return is_long and "Content-Encoding" not in response.headers and (tag is None or bool(is_weak))


def _wants_gzip() -> bool:
    """Return whether the client takes gzip, and likes it no less than the answer as it is."""
    taken = request.accept_encodings
    gzip = taken.quality("gzip")
    return bool(gzip > 0 and gzip >= taken.quality("identity"))


async def _compress(response: Response) -> None:
    raw = await response.get_data(as_text=False)
    if len(raw) < IN_THREAD_BYTES:
        packed = to_gzip(raw)
    else:
        packed = await trio.to_thread.run_sync(to_gzip, raw, limiter=_TWO_AT_A_TIME)
    response.set_data(packed)
    response.headers["Content-Encoding"] = "gzip"


def to_gzip(raw: bytes) -> bytes:
    compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
    return compressor.compress(raw) + compressor.flush()
