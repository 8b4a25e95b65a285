"""Faults that health shows, made from what a provider's server answered. Pure.

Owns the classes (401 and 403 are credentials, 429 is quota, …) and how long a provider asked us to
wait. It must never put a header of ours, a query string or a credential into a message: addresses
appear without query and user part.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import httpx

from domain.model import FaultClass
from ports.providers import ProviderFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.outbound import OutboundRefused

# A longer wish is a mistake or an attack, and asking once a day harms nobody.
MAX_RETRY_AFTER_SECONDS: Final = 86_400.0
MAX_REASON: Final = 200

_NOT_MODIFIED: Final = 304
_NOT_FOUND: Final = 404
_TOO_MANY_REQUESTS: Final = 429
_PASSING: Final = frozenset({408, 425})  # request timeout, too early: the standard says to retry
_CUT_SHORT: Final = ("Server disconnected", "peer closed connection without")


def describe_target(url: httpx.URL) -> str:
    """Return where a call went, fit for messages: scheme, host, port and path."""
    port = "" if url.port is None else f":{url.port}"
    return f"{url.scheme}://{url.host}{port}{url.path}"


def fault_for_status(
    status: int, headers: Mapping[str, str], place: str, facts: str, fallback_now: datetime
) -> ProviderFault:
    """Return the fault for an answer with an unexpected status. Header names are in lower case."""
    answered = f"{place} answered {status} ({facts})"
    if status in (401, 403):
        return ProviderFault(FaultClass.CREDENTIALS, answered, permanent=True, status=status)
    if status == _TOO_MANY_REQUESTS:
        return ProviderFault(
            FaultClass.QUOTA,
            answered,
            retry_after=_quota_delay(headers, fallback_now),
            status=status,
        )
    if status >= 500 or status in _PASSING:
        wait = retry_after_seconds(headers, fallback_now)
        return ProviderFault(FaultClass.OUTAGE, answered, retry_after=wait, status=status)
    if status < 300 or status == _NOT_MODIFIED:  # nothing was asked on a condition
        return ProviderFault(FaultClass.PROTOCOL, answered, status=status)
    if status < 400:
        return ProviderFault(
            FaultClass.CONFIGURATION,
            f"{place} answered {status}, a redirect, which is never followed: "
            "set base_url to the final address",
            permanent=True,
            status=status,
        )
    if status == _NOT_FOUND:
        answered += ": check the path of base_url; GET /provider-types has its form"
    return ProviderFault(FaultClass.CONFIGURATION, answered, permanent=True, status=status)


def fault_for_error(error: httpx.HTTPError | httpx.InvalidURL, place: str) -> ProviderFault:
    """Return the fault for an exchange that broke.

    PoolTimeout is not a provider's fault and must not be passed.
    """
    name = type(error).__name__
    if isinstance(error, (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL)):
        # The texts of these errors quote the request, with the credential's header.
        return ProviderFault(
            FaultClass.CONFIGURATION, f"{place} cannot be called ({name})", permanent=True
        )
    if isinstance(error, httpx.RemoteProtocolError):
        # The texts of these errors quote the server's bytes, which may echo the request.
        if str(error).startswith(_CUT_SHORT):
            return ProviderFault(FaultClass.OUTAGE, f"{place} broke off in the middle of an answer")
        return ProviderFault(FaultClass.PROTOCOL, f"{place} does not speak HTTP")
    return ProviderFault(
        FaultClass.OUTAGE, f"{place} broke off ({name}: {str(error)[:MAX_REASON]})"
    )


def fault_for_refusal(refusal: OutboundRefused, place: str) -> ProviderFault:
    """Return the fault for an address that this process must not dial."""
    return ProviderFault(
        FaultClass.CONFIGURATION, f"{place} cannot be called: {refusal}", permanent=True
    )


def retry_after_seconds(headers: Mapping[str, str], fallback_now: datetime) -> float | None:
    """Return `Retry-After` (RFC 9110 §10.2.3) in seconds, from 0 to a day.

    Reads an HTTP-date, an integer, or the decimal fraction that some providers send. None if there
    is no such header or it makes no sense.
    """
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _finite(text)
    if seconds is not None:
        return _bounded(seconds)
    at = _http_date(text)
    return (
        None if at is None else _bounded((at - _server_now(headers, fallback_now)).total_seconds())
    )


def _quota_delay(headers: Mapping[str, str], fallback_now: datetime) -> float | None:
    """Return Retry-After in seconds, else the time until rFMS's X-Rate-Limit-Reset.

    The latter is the second (Unix time) at which the window starts anew.
    """
    asked = retry_after_seconds(headers, fallback_now)
    reset = _finite(headers.get("x-rate-limit-reset", ""))
    if asked is not None or reset is None:
        return asked
    return _bounded(reset - _server_now(headers, fallback_now).timestamp())


def _server_now(headers: Mapping[str, str], fallback_now: datetime) -> datetime:
    """Return the time on the server's own clock, where it sends one; else `fallback_now`.

    The instants that a server sends are meant in its own clock.
    """
    return _http_date(headers.get("date", "")) or fallback_now


def _http_date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
