"""The way of the legacy client to the network: an HTTP pool of its own, under the outbound rules.

Owns the adapter between the two rooms, which do not know each other. The pool is not that of the
providers: a slow provider must not keep a customer's reads waiting, nor the other way round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from domain.model import FaultClass
from ports.providers import ProviderFault
from providers.http import Call, HttpPool

if TYPE_CHECKING:
    from collections.abc import Mapping


class LegacyHttp:
    """Fetches for legacy.client over a pool. The caller opens and closes the pool."""

    def __init__(self, pool: HttpPool) -> None:
        self._pool = pool

    async def __call__(
        self, url: str, headers: Mapping[str, str], deadline_seconds: float
    ) -> bytes:
        """Return the body of a GET that was answered with 2xx. Raises ProviderFault."""
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL:
            raise ProviderFault(
                FaultClass.CONFIGURATION, "base_url and path give no address", permanent=True
            ) from None
        if target.scheme not in ("http", "https") or not target.host:
            raise ProviderFault(
                FaultClass.CONFIGURATION, "base_url is no http or https address", permanent=True
            )
        call = Call(method="GET", url=target, headers=headers, deadline_seconds=deadline_seconds)
        return (await self._pool.fetch(call)).body
