"""The refusal of requests to collect, while every shard was started to collect nothing."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from api.problem_types import CONFLICT
from api.problems import Problem
from api.services import ApiServices

PAUSED = (
    "Collecting is paused: every running shard was started with --paused. Start one without "
    "--paused and LASTHEARD_PAUSED, and ask again."
)


async def refuse_while_paused(services: ApiServices) -> None:
    """Raise the problem (409) if no shard would run a cycle. Asks the database only if paused."""
    if not services.is_paused:
        return
    now = services.clock.now()
    if not any(_collects(shard, now) for shard in await services.reads.load_shards()):
        raise Problem(CONFLICT, PAUSED)


def _collects(shard: Mapping[str, Any], now: datetime) -> bool:
    """Return whether the shard is alive and not paused."""
    expires_at = shard["expires_at"]
    is_alive = (
        shard["state"] == "live"
        and expires_at is not None
        and datetime.fromisoformat(expires_at) > now
    )
    return is_alive and not (shard["statistics"] or {}).get("paused", False)
