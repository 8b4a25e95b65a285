"""Every operation without a key, without its scope, and with a key for other workspaces."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from api.app import PREFIX, declare_operations
from api.keys import Scope
from tests.api.standing_time import START

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

AT = START.isoformat()


class Case(NamedTuple):
    """A request to one operation that succeeds. {w} is the workspace."""

    name: str
    method: str
    path: str
    scope: str
    body: Any = None
    status: int = 200

    async def ask(self, harness: Harness, workspace: str, key: str | None) -> Answer:
        rest = {} if self.body is None else {"json": _fill(self.body, workspace)}
        rest["headers"] = {"If-Match": "*"} if self.method != "GET" else {}
        return await harness.ask(self.method, self.path.replace("{w}", workspace), key=key, **rest)


def _fill(body: Any, workspace: str) -> Any:
    if isinstance(body, dict):
        return {name: _fill(value, workspace) for name, value in body.items()}
    if isinstance(body, list):
        return [_fill(value, workspace) for value in body]
    return workspace if body == "{w}" else body


DEVICE = {
    "provider_id": "live",
    "external_id": "x-bus-1",
    "vehicle_id": "vehicle-bus-1",
    "vehicle_name": "Bus 1",
}
SWAP = {"external_id": "x-other"}
PROVIDER = {
    "provider_type": "spoken",
    "transport": "poll",
    "base_url": "https://provider.example",
    "credential": None,
}
ROLLBACK = {"reason": "tried out"}  # to no legacy system
ENVELOPE = {
    "workspaceId": "{w}",
    "providerType": "spoken",
    "providerId": "live",
    "receivedAt": AT,
    "rawMessage": f"say x-bus-1 soc_percent 50 {AT}",
}
CASES = (
    Case("get_workspace", "GET", "/workspaces/{w}", "read"),
    Case("put_workspace", "PUT", "/workspaces/{w}", "control", {"name": "North"}),
    Case("patch_workspace", "PATCH", "/workspaces/{w}", "control", {"name": "North"}),
    Case("archive_workspace", "DELETE", "/workspaces/{w}", "control", None, 409),
    Case("get_policy", "GET", "/workspaces/{w}/policy", "read"),
    Case("put_policy", "PUT", "/workspaces/{w}/policy", "control", {}),
    Case("patch_policy", "PATCH", "/workspaces/{w}/policy", "control", {"grace_seconds": 60}),
    Case("preview_policy", "POST", "/workspaces/{w}/policy/preview", "control", {}),
    Case("list_policies", "GET", "/workspaces/{w}/policy/history", "control"),
    Case("get_cutover", "GET", "/workspaces/{w}/cutover", "read"),
    Case("put_cutover", "PUT", "/workspaces/{w}/cutover", "admin", {}),
    Case("patch_cutover", "PATCH", "/workspaces/{w}/cutover", "admin", {}),
    Case("list_parity", "GET", "/workspaces/{w}/cutover/parity", "read"),
    Case("get_registry_sync", "GET", "/workspaces/{w}/cutover/sync", "read"),
    Case("synchronise_registry", "POST", "/workspaces/{w}/cutover/sync", "admin", {}, 409),
    Case("roll_back_cutover", "POST", "/workspaces/{w}/cutover/rollback", "admin", ROLLBACK, 409),
    Case("list_providers", "GET", "/workspaces/{w}/providers", "read"),
    Case("get_provider", "GET", "/workspaces/{w}/providers/live", "read"),
    Case("put_provider", "PUT", "/workspaces/{w}/providers/live", "control", PROVIDER),
    Case("try_provider", "POST", "/workspaces/{w}/providers/live/test", "control", {}),
    Case("patch_provider", "PATCH", "/workspaces/{w}/providers/live", "control", {}),
    Case("archive_provider", "DELETE", "/workspaces/{w}/providers/hourly", "control"),
    Case("list_devices", "GET", "/workspaces/{w}/devices", "read"),
    Case("get_device", "GET", "/workspaces/{w}/devices/bus-1", "read"),
    Case("put_device", "PUT", "/workspaces/{w}/devices/bus-1", "control", DEVICE),
    Case("patch_device", "PATCH", "/workspaces/{w}/devices/bus-1", "control", {}),
    Case("retire_device", "DELETE", "/workspaces/{w}/devices/bus-1", "control"),
    Case("swap_device", "POST", "/workspaces/{w}/devices/bus-1/swap", "control", SWAP),
    Case("import_devices", "POST", "/workspaces/{w}/devices/import", "control", {"devices": []}),
    Case("list_snapshots", "GET", "/workspaces/{w}/snapshots", "read"),
    Case("get_snapshot", "GET", "/workspaces/{w}/snapshots/bus-1", "read"),
    Case("report_health", "GET", "/workspaces/{w}/health", "read"),
    Case("list_connection_states", "GET", "/workspaces/{w}/connections", "read"),
    Case("show_trends", "GET", "/workspaces/{w}/trends?device_id=bus-1", "read"),
    Case("list_issues", "GET", "/workspaces/{w}/issues", "read"),
    Case("list_cycles", "GET", "/workspaces/{w}/cycles", "read"),
    Case("run_cycle_now", "POST", "/workspaces/{w}/cycles", "control", {"when": "now"}, 202),
    Case("list_events", "GET", "/workspaces/{w}/devices/bus-1/events", "read"),
    Case("get_device_day", "GET", "/workspaces/{w}/devices/bus-1/day", "read"),
    Case("list_assignments", "GET", "/workspaces/{w}/devices/bus-1/assignments", "read"),
    Case(
        "get_event_behind",
        "GET",
        "/workspaces/{w}/snapshots/bus-1/power_kw/event",
        "read",
        None,
        404,
    ),
    Case("get_indicators", "GET", "/workspaces/{w}/indicators", "read"),
    Case("list_rejections", "GET", "/workspaces/{w}/rejections", "read"),
    Case("list_workspace_audit", "GET", "/workspaces/{w}/audit", "control"),
    Case("list_quarantine", "GET", "/workspaces/{w}/quarantine", "admin"),
    Case("replay_quarantined", "POST", "/workspaces/{w}/quarantine/1/replay", "admin", None, 404),
    Case("ingest_envelope", "POST", "/provider-ingest", "ingest", ENVELOPE),
)
WITHOUT_WORKSPACE = (
    Case("list_workspaces", "GET", "/workspaces", "read"),
    Case("show_fleet", "GET", "/fleet", "read"),
    Case("get_plan", "GET", "/plan", "read"),
    Case("list_worklist", "GET", "/worklist", "read"),
    Case("summarise_worklist", "GET", "/worklist/summary", "read"),
    Case("ingest", "POST", "/ingest", "ingest", {"updates": []}),
    Case("get_runtime", "GET", "/runtime", "read"),
    Case("list_provider_types", "GET", "/provider-types", "read"),
    Case("list_signals", "GET", "/signals", "read"),
    Case("list_audit", "GET", "/audit", "admin"),
    Case("list_keys", "GET", "/keys", "admin"),
    Case("create_key", "POST", "/keys", "admin", {"name": "new"}, 201),
    Case("revoke_key", "DELETE", "/keys/ofnorth", "admin"),
    Case("check_fleet", "POST", "/fleet/check", "control", {"workspaces": []}),
)
MALFORMED_IDS = ("x" * 65, "bus-1%00", "%1F", "bus-1%0A", "bus%7F1", "a%20b", "a%2Fb", "b%C3%BCs")
OPEN = {"check_alive": "/healthz", "get_openapi": "/openapi.json", "get_docs": "/docs"}
ELSEWHERE = {"get_cycle", "check_ready", *OPEN}  # tested below, and open to everyone
EVERY = [pytest.param(case, id=case.name) for case in CASES + WITHOUT_WORKSPACE]
# Not put_workspace: it makes what does not exist, and has a test of its own.
OF_A_WORKSPACE = [
    pytest.param(case, id=case.name) for case in CASES if case.name != "put_workspace"
]


async def test_the_table_names_every_operation(harness: Harness) -> None:
    declared = {operation.name: operation for operation in declare_operations(harness.services)}
    known = {case.name for case in CASES + WITHOUT_WORKSPACE} | ELSEWHERE
    assert declared.keys() - known == set(), "add a line to CASES for each new operation"
    assert known - declared.keys() == set(), "remove the lines of operations that are gone"
    assert all(declared[case.name].scope == case.scope for case in CASES + WITHOUT_WORKSPACE)


@pytest.mark.parametrize("case", EVERY)
async def test_without_a_key_it_is_401(harness: Harness, case: Case) -> None:
    answer = await case.ask(harness, "north", None)
    assert (answer.status, answer.problem) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == 'Bearer realm="lastheard"'


@pytest.mark.parametrize("case", EVERY)
async def test_without_its_scope_an_operation_is_403_naming_the_scope(
    harness: Harness, case: Case
) -> None:
    for scope in set(Scope) - {Scope(case.scope)}:
        answer = await case.ask(harness, "north", scope)
        assert (answer.status, answer.problem) == (403, "missing-scope")
        assert answer.json["required_scope"] == case.scope


@pytest.mark.parametrize("case", EVERY)
async def test_with_the_scope_it_answers(harness: Harness, case: Case) -> None:
    answer = await case.ask(harness, "north", case.scope)
    assert answer.status == case.status, answer.body


@pytest.mark.parametrize("case", EVERY)
async def test_a_parameter_that_does_not_exist_is_refused(harness: Harness, case: Case) -> None:
    """Whoever sends dry_run=true must not find the write carried out."""
    before = await harness.get("/audit")
    sign = "&" if "?" in case.path else "?"
    wrong = case._replace(path=f"{case.path}{sign}dry_run=true")
    answer = await wrong.ask(harness, "north", case.scope)
    assert (answer.status, answer.problem) == (400, "invalid-parameter")
    assert answer.pointers == ["dry_run"]
    assert await harness.get("/audit") == before


@pytest.mark.parametrize("case", OF_A_WORKSPACE)
async def test_a_workspace_outside_the_key_is_answered_like_none(
    harness: Harness, case: Case
) -> None:
    foreign, absent = (
        await case.ask(harness, "south", "north"),
        await case.ask(harness, "nowhere", "north"),
    )
    assert (foreign.status, foreign.problem) == (404, "not-found")
    assert _comparable(foreign, "south") == _comparable(absent, "nowhere")
    assert (await case.ask(harness, "north", "north")).status == case.status


async def test_a_limited_key_makes_only_the_workspaces_it_lists(harness: Harness) -> None:
    assert (
        await harness.ask("PUT", "/workspaces/south", key="north", json={"name": "Mine"})
    ).status == 404
    assert (
        await harness.ask("PUT", "/workspaces/elsewhere", key="north", json={"name": "Mine"})
    ).status == 404
    assert (
        await harness.ask("PUT", "/workspaces/nowhere", key="north", json={"name": "Mine"})
    ).status == 201
    assert (await harness.get("/workspaces/south"))["name"] == "South"


async def test_a_cycle_of_a_foreign_workspace_is_404(harness: Harness) -> None:
    asked = await harness.ask("POST", "/workspaces/south/cycles", json={"when": "now"})
    path = f"/workspaces/south/cycles/{asked.json['cycle_id']}"
    assert (await harness.ask("GET", path, key="read")).status == 200
    assert (await harness.ask("GET", path, key="north")).status == 404
    assert (await harness.ask("GET", path, key="ingest")).status == 403
    assert (await harness.ask("GET", path, key=None)).status == 401


async def test_a_limited_key_sees_its_own_rows_of_lists_and_no_runtime(
    harness: Harness,
) -> None:
    harness.let_pass(3601)
    assert [
        row["workspace_id"] for row in (await harness.get("/workspaces", key="north"))["items"]
    ] == ["north"]
    assert {
        row["workspace_id"] for row in (await harness.get("/worklist", key="north"))["items"]
    } == {"north"}
    assert {row["workspace_id"] for row in (await harness.get("/worklist"))["items"]} == {
        "north",
        "south",
    }
    assert (await harness.get("/worklist?workspace_id=south", key="north"))["items"] == []
    assert (await harness.ask("GET", "/runtime", key="north")).status == 403


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic bGg6eA==",
        "Bearer lh_0123456789abcdef_0000",
        "Bearer " + "x" * 300,
        "lh_a_b",
    ],
)
async def test_what_is_no_known_key_is_401(harness: Harness, header: str) -> None:
    answer = await harness.ask("GET", "/workspaces", key=None, headers={"Authorization": header})
    assert (answer.status, answer.problem) == (401, "unauthenticated")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_a_key_stops_with_the_request_after_its_end(
    harness: Harness,
) -> None:
    await harness.add_key("brief", ["read"], None, expires_at=START + timedelta(seconds=60))
    await harness.add_key("revoked", ["read"], None, revoked_at=START)
    assert (await harness.ask("GET", "/workspaces", key="brief")).status == 200
    harness.let_pass(60)
    expired = await harness.ask("GET", "/workspaces", key="brief")
    assert (expired.status, expired.json["detail"]) == (401, "The key has expired.")
    revoked = await harness.ask("GET", "/workspaces", key="revoked")
    assert (revoked.status, revoked.json["detail"]) == (401, "The key was revoked.")


@pytest.mark.parametrize("malformed", MALFORMED_IDS)
async def test_a_malformed_id_is_answered_like_what_does_not_exist(
    harness: Harness, malformed: str
) -> None:
    before = await _registered(harness)
    absent = await harness.ask("GET", "/workspaces/nowhere", key="read")
    for case in CASES:
        for path in _with_each_id_replaced(case.path, malformed):
            answer = await case._replace(path=path).ask(harness, "north", case.scope)
            assert (answer.status, answer.problem) == (404, "not-found"), (case.name, path)
            assert answer.headers.keys() == absent.headers.keys()
    assert await _registered(harness) == before


@pytest.mark.parametrize("path", OPEN.values())
async def test_what_is_open_answers_without_a_key(harness: Harness, path: str) -> None:
    assert (await harness.ask("GET", path, key=None)).status == 200


async def test_an_unknown_path_is_404_and_a_wrong_method_405(harness: Harness) -> None:
    assert (await harness.ask("GET", "/nothing", key=None)).problem == "not-found"
    assert (await harness.ask("POST", "/workspaces/north")).problem == "method-not-allowed"


async def _registered(harness: Harness) -> list[Any]:
    """All workspaces, and the devices and connections of one."""
    lists = ("/workspaces", "/workspaces/north/devices", "/workspaces/north/providers")
    return [await harness.get(path) for path in lists]


def _with_each_id_replaced(path: str, value: str) -> list[str]:
    """Return the path once for each id in it, with `value` in place of that id.

    An id in the query is a parameter's value, which is refused as such.
    """
    bare, mark, query = path.partition("?")
    return [
        bare.replace(name, value) + mark + query
        for name in ("{w}", "bus-1", "live")
        if name in bare
    ]


def _comparable(answer: Answer, workspace: str) -> tuple[Any, ...]:
    """Return all of an answer except for the ids of the request."""
    document = {name: value for name, value in answer.json.items() if name != "trace_id"}
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name not in ("x-request-id", "Content-Length")
    }
    return answer.status, headers, str(document).replace(workspace, "{w}").replace(PREFIX, "")
