"""Requests that are refused whole: the answer names the fault, and nothing changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tests.acceptance.harness import open_harness
from tests.acceptance.shard import said, update

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.harness import Harness
    from tests.acceptance.shard import Answer, Shard

NOON = "2026-05-01T12:00:00Z"
ENVELOPE = {
    "workspaceId": "harbour",
    "providerType": "rfms",
    "providerId": "push",
    "receivedAt": NOON,
    "rawMessage": "{}",
}
CONNECTION = {
    "provider_type": "rfms",
    "transport": "poll",
    "base_url": "https://maker.example/rfms",
}


class Bad(NamedTuple):
    """A request and the refusal that it must get.

    `body` is sent as JSON, or as it is if it is bytes.
    """

    method: str
    path: str
    body: Any
    status: int
    problem: str
    pointers: list[str] | None = None
    key: str | None = "all"
    content_type: str = "application/json"


BODIES = [
    Bad("POST", "/ingest", b"{not json", 400, "malformed-json"),
    Bad("POST", "/ingest", b'{"updates": NaN}', 400, "malformed-json"),
    Bad("POST", "/ingest", b"\xff\xfe", 400, "malformed-json"),
    Bad("POST", "/ingest", b"", 400, "malformed-json"),
    Bad("POST", "/ingest", b"a=b", 415, "unsupported-media-type", content_type="text/plain"),
    Bad("POST", "/ingest", b'{"updates": ["' + b"x" * 1_100_000 + b'"]}', 413, "body-too-large"),
    Bad("POST", "/ingest", [], 422, "invalid-body", [""]),
    Bad("POST", "/ingest", {}, 422, "invalid-body", ["/updates"]),
    Bad("POST", "/ingest", {"updates": {}}, 422, "invalid-body", ["/updates"]),
    Bad("POST", "/ingest", {"updates": [], "mode": "x"}, 422, "invalid-body", ["/mode"]),
    Bad("POST", "/ingest", {"updates": [{}] * 501}, 422, "invalid-body", ["/updates"]),
    Bad("POST", "/provider-ingest", ENVELOPE | {"workspaceId": "nowhere"}, 404, "not-found"),
    Bad("POST", "/provider-ingest", ENVELOPE | {"providerId": "nobody"}, 404, "not-found"),
    Bad(
        "POST",
        "/provider-ingest",
        ENVELOPE | {"providerType": "viriciti"},
        422,
        "invalid-body",
        ["/providerType"],
    ),
    Bad(
        "POST",
        "/provider-ingest",
        ENVELOPE | {"receivedAt": 1494012444},
        422,
        "invalid-body",
        ["/receivedAt"],
    ),
    Bad("POST", "/provider-ingest", {"workspace_id": "harbour"}, 422, "invalid-body"),
]
SETTINGS = [
    Bad("PUT", "/workspaces/new", {"name": "N", "poll_interval_seconds": 1}, 422, "invalid-body"),
    Bad(
        "PUT",
        "/workspaces/new",
        {"name": "N", "thresholds": {"delayed_after_seconds": 900, "stale_after_seconds": 600}},
        422,
        "invalid-body",
        ["/thresholds/stale_after_seconds"],
    ),
    Bad("PUT", "/workspaces/new", {"name": "a\nb"}, 422, "invalid-body", ["/name"]),
    Bad(
        "PUT",
        "/workspaces/harbour/providers/new",
        CONNECTION | {"settings": {"max_pages": 0}},
        422,
        "invalid-body",
        ["/settings/max_pages"],
    ),
    Bad(
        "PUT",
        "/workspaces/harbour/providers/new",
        CONNECTION | {"settings": {"max_pagse": 10}},
        422,
        "invalid-body",
        ["/settings/max_pagse"],
    ),
    Bad(
        "PUT",
        "/workspaces/harbour/providers/new",
        CONNECTION | {"credential": "the-secret-itself"},
        422,
        "invalid-body",
        ["/credential"],
    ),
    Bad(
        "PUT",
        "/workspaces/harbour/providers/new",
        CONNECTION | {"transport": "stream"},
        422,
        "invalid-body",
        ["/transport"],
    ),
    Bad("GET", "/workspaces/harbour/health?state=ill", None, 400, "invalid-parameter"),
    Bad("GET", "/workspaces/harbour/health?cursor=made-up", None, 400, "invalid-parameter"),
]
STRANGERS = [
    Bad("GET", "/workspaces/harbour/health", None, 401, "unauthenticated", key=None),
    Bad(
        "GET",
        "/workspaces/harbour/health",
        None,
        401,
        "unauthenticated",
        key="lh_0123456789abcdef_00ff",
    ),
    Bad("GET", "/workspaces/harbour/health", None, 401, "unauthenticated", key="not a key"),
    Bad("GET", "/workspaces/harbour/health", None, 403, "missing-scope", key="ingest-only"),
    Bad("POST", "/ingest", {"updates": []}, 401, "unauthenticated", key=None),
    Bad("POST", "/ingest", {"updates": []}, 403, "missing-scope", key="read-only"),
    Bad("POST", "/provider-ingest", ENVELOPE, 401, "unauthenticated", key=None),
    Bad("POST", "/provider-ingest", ENVELOPE, 403, "missing-scope", key="read-only"),
    Bad("PUT", "/workspaces/new", {"name": "N"}, 401, "unauthenticated", key=None),
    Bad("PUT", "/workspaces/new", {"name": "N"}, 403, "missing-scope", key="read-only"),
    Bad(
        "PUT",
        "/workspaces/harbour/providers/new",
        CONNECTION,
        403,
        "missing-scope",
        key="ingest-only",
    ),
    Bad(
        "POST",
        "/workspaces/harbour/devices/import",
        {"devices": []},
        403,
        "missing-scope",
        key="read-only",
    ),
    Bad(
        "DELETE", "/workspaces/harbour/devices/bus-1", None, 403, "missing-scope", key="ingest-only"
    ),
    Bad("POST", "/workspaces/harbour/cycles", None, 403, "missing-scope", key="read-only"),
]
FOREIGN_PATHS = [
    "",
    "/health",
    "/issues",
    "/snapshots",
    "/snapshots/bus-1",
    "/devices",
    "/providers",
    "/cycles",
    "/rejections",
]


async def test_a_bad_request_names_its_fault_and_changes_nothing(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        forwarded = {"provider_type": "rfms", "transport": "push", "base_url": "", "active": True}
        await harness.shard.add_pushed_fleet("harbour", ["bus-1"], connection=forwarded)
        before = await _configuration(harness)
        for bad in [*BODIES, *SETTINGS]:
            answer = await _try(harness.shard, bad)
            assert (answer.status, answer.problem) == (bad.status, bad.problem), bad
            if bad.pointers is not None:
                assert [
                    part.get("pointer", "") for part in answer.json["errors"]
                ] == bad.pointers, bad
            assert "the-secret-itself" not in answer.body.decode()
        assert await _configuration(harness) == before
        assert harness.shard.service.ingest.statistics().submitted == 0


async def test_fr_014_writes_need_a_key_with_the_right_scope(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        await harness.shard.add_pushed_fleet("harbour", ["bus-1"])
        await harness.shard.add_key("read-only", ["read"])
        await harness.shard.add_key("ingest-only", ["ingest"])
        before = await _configuration(harness)
        for bad in STRANGERS:
            answer = await _try(harness.shard, bad)
            assert (answer.status, answer.problem) == (bad.status, bad.problem), bad
            assert answer.headers["www-authenticate"].startswith("Bearer"), bad
        assert await _configuration(harness) == before


async def test_a_workspace_beyond_the_key_looks_like_a_missing_one(
    dsn: str, tmp_path: Path
) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard = harness.shard
        for name in ("harbour", "foreign"):
            await shard.add_pushed_fleet(name, ["bus-1"])
        await shard.add_key(
            "harbour", ["read", "ingest", "control", "admin"], ["harbour", "nowhere"]
        )
        for path in FOREIGN_PATHS:
            foreign, nowhere = [
                await _refusal(shard, name, path) for name in ("foreign", "nowhere")
            ]
            assert foreign == nowhere
            assert foreign[0] == 404
        now = await harness.now()
        sent = [
            update(name, "bus-1", now, soc_percent=61) for name in ("harbour", "foreign", "nowhere")
        ]
        mine, foreign_result, nowhere_result = await shard.ingest(*sent, key="harbour")
        seen = (await shard.ask("GET", "/workspaces", key="harbour")).json["items"]
        worklist = (await shard.ask("GET", "/worklist", key="harbour")).json
        assert await shard.rejections("foreign") == []

    assert said(mine) == "accepted"
    assert foreign_result == nowhere_result
    assert said(foreign_result) == "rejected:unknown_device"
    assert [row["workspace_id"] for row in seen] == ["harbour"]
    assert sum(worklist["counts"].values()) == 1


async def _try(shard: Shard, bad: Bad) -> Answer:
    rest: dict[str, Any] = {}
    if isinstance(bad.body, bytes):
        rest = {"content": bad.body, "headers": {"content-type": bad.content_type}}
    elif bad.body is not None:
        rest = {"json": bad.body}
    return await shard.ask(bad.method, bad.path, key=bad.key, **rest)


async def _refusal(
    shard: Shard, workspace_id: str, path: str
) -> tuple[int, list[str], dict[str, Any]]:
    """Return status, header names and body, without the workspace's name and the trace id."""
    answer = await shard.ask("GET", f"/workspaces/{workspace_id}{path}", key="harbour")
    body = {name: value for name, value in answer.json.items() if name != "trace_id"}
    body["detail"] = body["detail"].replace(workspace_id, "…")
    return answer.status, sorted(answer.headers), body


async def _configuration(harness: Harness) -> list[Any]:
    return [
        await harness.fetch(f"SELECT * FROM {table}")
        for table in ("workspaces", "providers", "devices", "snapshots")
    ]
