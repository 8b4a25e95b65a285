"""Instances of the service as real processes on one database, configured and asked over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from tests.processes.shard import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.processes.shard import Shard


async def ask(shard: Shard, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Return the JSON of an answer, which must be a success. orjson writes the body."""
    content = None if body is None else orjson.dumps(body)
    sent = {"content-type": "application/json", **headers}
    answer = await shard.client.request(method, PREFIX + path, content=content, headers=sent)
    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json()


async def add_workspace(shard: Shard, workspace_id: str, **fields: Any) -> None:
    body = {"name": workspace_id, "poll_interval_seconds": 3600, **fields}
    await ask(shard, "PUT", f"/workspaces/{workspace_id}", body)


async def add_pushed_fleet(shard: Shard, workspace_id: str, device_ids: Iterable[str]) -> None:
    """Configure a workspace with a connection over which clients send all data."""
    await add_workspace(shard, workspace_id)
    path = f"/workspaces/{workspace_id}"
    await ask(
        shard, "PUT", f"{path}/providers/push", {"provider_type": "push", "transport": "push"}
    )
    devices = [
        {
            "device_id": name,
            "provider_id": "push",
            "external_id": name,
            "vehicle_id": f"v-{name}",
            "vehicle_name": f"Bus {name}",
        }
        for name in device_ids
    ]
    await ask(shard, "POST", f"{path}/devices/import", {"devices": devices})


async def ingest(shard: Shard, *updates: Mapping[str, Any]) -> list[str]:
    """Send updates. Returns the outcome of each."""
    answer = await ask(shard, "POST", "/ingest", {"updates": updates})
    return [result["outcome"] for result in answer["results"]]


def update(
    workspace_id: str, device_id: str, observed_at: datetime, **values: float
) -> dict[str, Any]:
    """Make a canonical update of a pushed fleet."""
    readings = [
        {"signal": signal, "value": value, "observed_at": observed_at}
        for signal, value in values.items()
    ]
    return {
        "workspace_id": workspace_id,
        "provider_id": "push",
        "device_id": device_id,
        "readings": readings,
    }


def now() -> datetime:
    return datetime.now(UTC)
