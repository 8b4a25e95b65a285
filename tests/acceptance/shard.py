"""One running service and a client of its API, with short ways to configure and to ask.

Everything goes over HTTP, as a customer's requests would. It must never decide what is right: that
is for the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import trio

from api.app import PREFIX
from api.keys import mint_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import httpx

    from lastheard.service import Service


@dataclass(frozen=True)
class Answer:
    """One response of the API."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def problem(self) -> str:
        """The slug of the problem's type (RFC 9457)."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        return str(self.json["type"].removeprefix("urn:lastheard:problem:"))


@dataclass
class Shard:
    """One running service and a client of its API.

    Keys are known by name; `all` opens everything.
    """

    service: Service
    client: httpx.AsyncClient
    tokens: dict[str, str]
    ended: trio.Event = field(default_factory=trio.Event)

    async def ask(self, method: str, path: str, *, key: str | None = "all", **rest: Any) -> Answer:
        """Send any request; `key=None` sends no key.

        orjson writes `json`, so instants may be datetimes.
        """
        headers = dict(rest.pop("headers", {}))
        if key is not None:
            headers["authorization"] = f"Bearer {self.tokens.get(key, key)}"
        if "json" in rest:
            headers["content-type"] = "application/json"
            rest["content"] = orjson.dumps(rest.pop("json"))
        response = await self.client.request(method, _full(path), headers=headers, **rest)
        return Answer(response.status_code, response.headers, response.content)

    async def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of a GET, which must succeed."""
        answer = await self.ask("GET", path, params=params)
        assert answer.status == 200, answer.body
        return answer.json

    async def put(self, path: str, **body: Any) -> Any:
        answer = await self.ask("PUT", path, json=body)
        assert answer.status in (200, 201), answer.body
        return answer.json

    async def post(self, path: str, body: Any = None, **rest: Any) -> Any:
        answer = await self.ask("POST", path, **({} if body is None else {"json": body}), **rest)
        assert answer.status in (200, 202), answer.body
        return answer.json

    async def ingest(self, *updates: Mapping[str, Any], **rest: Any) -> list[dict[str, Any]]:
        """Send updates. Returns the result of each."""
        results: list[dict[str, Any]] = (await self.post("/ingest", {"updates": updates}, **rest))[
            "results"
        ]
        return results

    async def outcomes(self, *updates: Mapping[str, Any]) -> list[str]:
        """Send updates. Returns the result of each as `outcome` or `outcome:reason`."""
        return [said(result) for result in await self.ingest(*updates)]

    async def is_ready(self) -> bool:
        return (await self.ask("GET", "/readyz", key=None)).status == 200

    async def values(self, workspace_id: str, device_id: str) -> dict[str, tuple[Any, str]]:
        """Return the snapshot as signal -> (value, observed_at)."""
        snapshot = await self.get(f"/workspaces/{workspace_id}/snapshots/{device_id}")
        return {
            signal: (entry["value"], entry["observed_at"])
            for signal, entry in snapshot["values"].items()
        }

    async def events(self, workspace_id: str, device_id: str) -> list[Any]:
        """Return the event history, oldest first, at most 500 events."""
        page = await self.get(f"/workspaces/{workspace_id}/devices/{device_id}/events", limit=500)
        return list(reversed(page["items"]))

    async def health(self, workspace_id: str) -> Any:
        return await self.get(f"/workspaces/{workspace_id}/health", limit=500)

    async def verdicts(self, workspace_id: str) -> dict[str, tuple[str, str]]:
        """Return state and reason by device_id."""
        report = await self.health(workspace_id)
        return {item["device_id"]: (item["state"], item["reason"]) for item in report["items"]}

    async def cycles(self, workspace_id: str) -> list[Any]:
        """Return the newest 100 cycles, newest first."""
        items: list[Any] = (await self.get(f"/workspaces/{workspace_id}/cycles", limit=100))[
            "items"
        ]
        return items

    async def rejections(self, workspace_id: str) -> list[Any]:
        """Return the ledger, oldest first, at most 500 rows."""
        page = await self.get(f"/workspaces/{workspace_id}/rejections", limit=500)
        return list(reversed(page["items"]))

    # --- configuration

    async def add_workspace(
        self,
        workspace_id: str,
        *,
        interval: int = 3600,
        thresholds: Mapping[str, float] | None = None,
        active: bool = True,
    ) -> None:
        """Put a workspace. Without thresholds the defaults of the specification apply."""
        name, limits = workspace_id.title(), dict(thresholds or {})
        fields = {
            "name": name,
            "active": active,
            "poll_interval_seconds": interval,
            "thresholds": limits,
        }
        await self.put(f"/workspaces/{workspace_id}", **fields)

    async def set_policy(self, workspace_id: str, **policy: Any) -> Any:
        """Change members of the policy of a workspace, and return the answer."""
        path = f"/workspaces/{workspace_id}/policy"
        return await self.ask("PATCH", path, json=policy, headers={"If-Match": "*"})

    async def set_thresholds(self, workspace_id: str, thresholds: Mapping[str, float]) -> None:
        """Change the policy of a workspace, whatever it was."""
        path = f"/workspaces/{workspace_id}/policy"
        answer = await self.ask("PATCH", path, json=thresholds, headers={"If-Match": "*"})
        assert answer.status == 200, answer.body

    async def add_provider(self, workspace_id: str, provider_id: str, **fields: Any) -> None:
        """Configure a connection. Documented periods are longer than any test: it has none."""
        stated = {"expected_update_seconds": None, **fields}
        await self.put(f"/workspaces/{workspace_id}/providers/{provider_id}", **stated)

    async def add_devices(
        self, workspace_id: str, provider_id: str, external_ids: Iterable[str]
    ) -> None:
        """Import devices whose device_id, vehicle_id and vehicle_name follow from external_id."""
        devices = [device(provider_id, external_id) for external_id in external_ids]
        await self.post(f"/workspaces/{workspace_id}/devices/import", {"devices": devices})

    async def add_pushed_fleet(
        self,
        workspace_id: str,
        device_ids: Iterable[str],
        *,
        connection: Mapping[str, Any] | None = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        """Configure a workspace with an inactive connection, which only clients send data to."""
        plain = {
            "provider_type": "viriciti",
            "transport": "stream",
            "base_url": "http://127.0.0.1:9",
            "active": False,
        }
        await self.add_workspace(workspace_id, thresholds=thresholds)
        await self.add_provider(workspace_id, "push", **plain | dict(connection or {}))
        await self.add_devices(workspace_id, "push", device_ids)

    async def add_key(
        self, name: str, scopes: Iterable[str], workspaces: Sequence[str] | None = None
    ) -> None:
        record, self.tokens[name] = mint_key(name, scopes, workspaces, None)
        await self.service.keys.create_key(record)


# --- bodies and results


def device(provider_id: str, device_id: str, **fields: Any) -> dict[str, Any]:
    plain = {
        "device_id": device_id,
        "provider_id": provider_id,
        "external_id": device_id,
        "vehicle_id": f"vehicle-{device_id}",
        "vehicle_name": f"Bus {device_id}",
    }
    return plain | fields


def update(
    workspace_id: str, device_id: str | None, observed_at: Any, /, **given: Any
) -> dict[str, Any]:
    """Make a canonical update of a pushed fleet.

    `given`: identities (`external_id`, `provider_id`, `vehicle_id`), and values by signal.
    """
    named = {
        name: given.pop(name)
        for name in ("external_id", "provider_id", "vehicle_id")
        if name in given
    }
    readings = [
        {"signal": name, "value": value, "observed_at": observed_at}
        for name, value in given.items()
    ]
    plain = {
        "workspace_id": workspace_id,
        "provider_id": "push",
        "device_id": device_id,
        "readings": readings,
    }
    return plain | named


def said(result: Mapping[str, Any]) -> str:
    return f"{result['outcome']}:{result['reason']}" if result["reason"] else str(result["outcome"])


def _full(path: str) -> str:
    return path if path.startswith(("/healthz", "/readyz", "/openapi", "/api")) else PREFIX + path
