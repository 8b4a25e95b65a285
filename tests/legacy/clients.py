"""Clients of servers on loopback, as the tests of the legacy client use them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from lastheard.legacy_http import LegacyHttp
from legacy.client import LegacyClient
from ports.legacy import LegacyConfiguration, LegacyUnfit, LegacyUnreachable
from providers.http import HttpPool
from runtime.settings import SecretUnavailable
from tests.legacy.shapes import SHAPE, STATE, VEHICLE
from tests.providers.servers import Asked, Reply, loopback_dialler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

SECRET = "s3cret-token-9"
REFERENCE = "env:LASTHEARD_SECRET_OLD"


async def resolve(reference: str) -> str:
    if reference != REFERENCE:
        raise SecretUnavailable(f"the secret {reference} is missing")
    return SECRET


@asynccontextmanager
async def client_of(**bounds: Any) -> AsyncIterator[LegacyClient]:
    async with (
        HttpPool(loopback_dialler(), max_connections=32) as pool,
        LegacyClient(LegacyHttp(pool), resolve, **bounds) as client,
    ):
        yield client


def configured(base: str, shape: Mapping[str, Any] = SHAPE, **more: Any) -> LegacyConfiguration:
    return LegacyConfiguration(base, more.get("credential", REFERENCE), shape)


def answer_well(asked: Asked) -> Reply:
    if asked.target.endswith("/vehicles"):
        return Reply(body=orjson.dumps({"vehicles": [VEHICLE]}))
    return Reply(body=orjson.dumps({"state": [STATE]}))


async def unreachable(client: LegacyClient, configuration: LegacyConfiguration) -> str:
    with pytest.raises(LegacyUnreachable) as caught:
        await client.load_values("north", configuration)
    return str(caught.value)


async def unfit(client: LegacyClient, configuration: LegacyConfiguration) -> LegacyUnfit:
    with pytest.raises(LegacyUnfit) as caught:
        await client.load_values("north", configuration)
    return caught.value
