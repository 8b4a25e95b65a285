"""A workspace's cutover has one door, a revision of its own, and refusals that name the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.bodies import MAX_FAULTY_PARTS
from tests.api.standing_time import START
from tests.legacy.scripted import SHAPE

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness
    from tests.api.standing_time import FrozenDatabase

PATH = "/workspaces/north/cutover"
CORE = {
    "device_registry_source": "core",
    "poll_owner": "core",
    "read_owner": "core",
    "provider_mode": "legacy_provider",
}
GATE = {"cycles": 12, "max_mismatch_share": 0.01, "min_comparable_share": 0.9}
GUARDRAILS = {
    "cycles": 12,
    "min_completed_cycles": 10.0,
    "max_age_seconds": 600.0,
    "max_age_above_legacy_seconds": 300.0,
    "max_mismatch_share": 0.05,
    "legacy_answered_within_seconds": 60.0,
    "quiet_after_rollback_seconds": 3600.0,
}
NOTHING_SEEN = {"is_open": False, "cycles": 0, "comparable_cycles": 0, "mismatch_share": None}
DEFAULT: dict[str, Any] = {
    "workspace_id": "north",
    **CORE,
    "legacy": None,
    "gate": GATE,
    "guardrails": GUARDRAILS,
    "gate_view": NOTHING_SEEN,
    "guardrail_events": [],
    "legacy_answered_at": None,
    "legacy_failed_at": None,
    "legacy_fault": None,
    "legacy_unfit": None,
    "rolled_back_at": None,
    "warnings": [],
}
LEGACY = {"base_url": "https://legacy.example/api", "credential": None, "shape": SHAPE}
SHADOW = {"poll_owner": "both_shadow", "read_owner": "legacy", "legacy": LEGACY}


async def write(harness: Harness, method: str, body: Any, match: str | None = "*") -> Answer:
    headers = {} if match is None else {"If-Match": match}
    return await harness.ask(method, PATH, json=body, headers=headers)


async def execute(frozen: FrozenDatabase, statement: str) -> None:
    await frozen.run(lambda connection: connection.execute(statement))


async def compare_cycles(frozen: FrozenDatabase, cycles: int) -> None:
    """Write compared cycles in which one of a hundred devices is older than in legacy."""
    sample = '[{"device_id": "bus-1", "vehicle_id": "vehicle-bus-1", "verdict": "older"}]'
    await execute(
        frozen,
        "INSERT INTO parity_cycles (workspace_id, slot_start_at, cycle_id, compared_at, equal,"
        " missing_here, missing_there, older, different, incomparable, samples)"
        f" SELECT 'north', t, t::text, t, 99, 0, 0, 1, 0, 0, '{sample}'"
        f" FROM generate_series(timestamptz '{START.isoformat()}', timestamptz"
        f" '{START.isoformat()}' + interval '{cycles - 1} seconds', interval '1 second') AS t",
    )


# --- What is set and shown


async def test_a_new_workspace_is_ours(harness: Harness) -> None:
    assert await harness.get(PATH) == DEFAULT


async def test_a_put_replaces_the_cutover_and_a_patch_a_part(harness: Harness) -> None:
    put = await write(harness, "PUT", {**SHADOW, "gate": {"cycles": 3}})
    assert put.json == {**DEFAULT, **SHADOW, "gate": {**GATE, "cycles": 3}}
    patched = await write(harness, "PATCH", {"gate": {"max_mismatch_share": 0.5}})
    assert patched.json["gate"] == {**GATE, "cycles": 3, "max_mismatch_share": 0.5}
    assert await harness.get(PATH) == patched.json
    assert (await write(harness, "PUT", {"force": {"reason": "tried out"}})).json == DEFAULT


async def test_a_patch_reaches_into_the_shape(harness: Harness) -> None:
    await write(harness, "PUT", SHADOW)
    inner = {"values": {"signals": {"soc_percent": {"unit": "fraction"}}}}
    patched = await write(harness, "PATCH", {"legacy": {"shape": inner}})
    signal = patched.json["legacy"]["shape"]["values"]["signals"]["soc_percent"]
    assert signal == {"value": "soc", "observed_at": "at", "unit": "fraction"}


async def test_notes_and_events_stand_beside_what_is_set(
    harness: Harness, frozen: FrozenDatabase
) -> None:
    await write(harness, "PUT", SHADOW)
    await harness.stores.cutovers.note_legacy_answer("north", START)
    crossing = {"guardrail": "cycles", "measured": 9.0, "limit": 10.0, "detail": "9 of 12"}
    await execute(
        frozen,
        "INSERT INTO guardrail_events (workspace_id, at, kind, cycle_id, crossings, why_not,"
        f" trace_id) SELECT 'north', '{START.isoformat()}', 'alert', 'cycle-' || n,"
        """ '[{"guardrail": "cycles", "measured": 9, "limit": 10, "detail": "9 of 12"}]',"""
        " 'away', 'trace-1' FROM generate_series(1, 21) AS n",
    )
    shown = await harness.get(PATH)
    assert shown["legacy_answered_at"] == "2026-05-01T12:00:00Z"
    events = shown["guardrail_events"]
    assert [event["cycle_id"] for event in events] == [f"cycle-{n}" for n in range(21, 1, -1)]
    assert events[0] == {
        "at": "2026-05-01T12:00:00Z",
        "kind": "alert",
        "cycle_id": "cycle-21",
        "crossings": [crossing],
        "why_not": "away",
        "trace_id": "trace-1",
    }


async def test_shards_are_told_of_a_change(harness: Harness) -> None:
    await write(harness, "PATCH", {"provider_mode": "mixed"})
    assert harness.nudged.times == 1


# --- Preconditions


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_write_without_if_match_is_428(harness: Harness, method: str) -> None:
    answer = await write(harness, method, {"provider_mode": "mixed"}, match=None)
    assert (answer.status, answer.problem) == (428, "precondition-required")
    assert await harness.get(PATH) == DEFAULT


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_stale_tag_changes_nothing(harness: Harness, method: str) -> None:
    seen = (await harness.ask("GET", PATH)).headers["etag"]
    mine = await write(harness, method, {"provider_mode": "mixed"}, seen)
    theirs = await write(harness, method, {"provider_mode": "depot_sim"}, seen)
    assert (mine.status, theirs.status, theirs.problem) == (200, 412, "precondition-failed")
    assert mine.headers["etag"] == theirs.headers["etag"] != seen
    assert (await harness.get(PATH))["provider_mode"] == "mixed"


async def test_cutover_policy_and_workspace_have_revisions_apart(harness: Harness) -> None:
    paths = ("/workspaces/north", "/workspaces/north/policy")
    before = [(await harness.ask("GET", path)).headers["etag"] for path in paths]
    assert (await write(harness, "PATCH", {"provider_mode": "mixed"})).status == 200
    assert [(await harness.ask("GET", path)).headers["etag"] for path in paths] == before


# --- What is refused


@pytest.mark.parametrize(
    ("body", "rule", "pointer"),
    [
        ({"poll_owner": "legacy"}, "read-without-poll", "/read_owner"),
        ({"poll_owner": "legacy", "legacy": LEGACY}, "read-without-poll", "/read_owner"),
        ({"poll_owner": "both_shadow"}, "legacy-missing", "/legacy"),
        ({"read_owner": "legacy"}, "legacy-missing", "/legacy"),
        ({"device_registry_source": "legacy_sync"}, "legacy-missing", "/legacy"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_contradicting_flags_are_409_with_the_rule(
    harness: Harness, method: str, body: Any, rule: str, pointer: str
) -> None:
    answer = await write(harness, method, body)
    assert (answer.status, answer.problem, answer.pointers) == (409, rule, [pointer])
    assert await harness.get(PATH) == DEFAULT


async def test_taking_the_legacy_system_away_from_its_readers_is_409(harness: Harness) -> None:
    await write(harness, "PUT", SHADOW)
    answer = await write(harness, "PATCH", {"legacy": None})
    assert (answer.status, answer.problem) == (409, "legacy-missing")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"poll_owner": "nobody"}, ["/poll_owner"]),
        ({"flag": None}, ["/flag"]),
        ({"gate": {"cycles": 0}}, ["/gate/cycles"]),
        ({"gate": {"cycles": 289}}, ["/gate/cycles"]),
        ({"gate": {"max_mismatch_share": 1.5}}, ["/gate/max_mismatch_share"]),
        ({"gate": {"cycle": 3}}, ["/gate/cycle"]),
        ({"guardrails": {"cycles": 9}}, ["/guardrails"]),
        ({"guardrails": {"legacy_answered_within_seconds": 19}}, None),
        ({"force": {"reason": ""}}, ["/force/reason"]),
        ({"force": {}}, ["/force/reason"]),
        ({"legacy": {"shape": SHAPE}}, ["/legacy/base_url"]),
        ({"legacy": {**LEGACY, "secret": None}}, ["/legacy/secret"]),
        ({"legacy": {**LEGACY, "base_url": ""}}, ["/legacy/base_url"]),
        ({"legacy": {**LEGACY, "base_url": "ftp://legacy.example"}}, ["/legacy/base_url"]),
        ({"legacy": {**LEGACY, "base_url": "https://u:p@legacy.example"}}, ["/legacy/base_url"]),
        ({"legacy": {**LEGACY, "base_url": "https://169.254.169.254"}}, ["/legacy/base_url"]),
        ({"legacy": {**LEGACY, "base_url": "https://10.0.0.1"}}, ["/legacy/base_url"]),
        ({"legacy": {**LEGACY, "credential": "hunter2"}}, ["/legacy/credential"]),
        ({"legacy": {**LEGACY, "credential": "env:PATH"}}, ["/legacy/credential"]),
        ({"legacy": {**LEGACY, "shape": {}}}, ["/legacy/shape/values"]),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_cutover_is_judged_whole_and_stored_whole(
    harness: Harness, method: str, body: Any, pointers: list[str] | None
) -> None:
    answer = await write(harness, method, body)
    expected = pointers or ["/guardrails/legacy_answered_within_seconds"]
    assert (answer.status, answer.problem) == (422, "invalid-body")
    assert set(expected) <= set(answer.pointers)
    assert await harness.get(PATH) == DEFAULT


async def test_a_mistake_in_the_shape_names_expression_and_place(
    harness: Harness,
) -> None:
    values = {**SHAPE["values"], "items": "data[", "signals": {"soc_percent": {"value": "a b"}}}
    answer = await write(harness, "PUT", {"legacy": {**LEGACY, "shape": {"values": values}}})
    assert answer.status == 422
    place = "/legacy/shape/values"
    assert answer.pointers == [f"{place}/items", f"{place}/signals/soc_percent/value"]
    details = [part["detail"] for part in answer.json["errors"]]
    assert "'data[' breaks off at its end" in details[0]
    assert "'a b' is no JMESPath expression: character 3" in details[1]


async def test_a_shape_with_nul_is_refused_at_its_place(harness: Harness) -> None:
    shape = {"values": {**SHAPE["values"], "items": "items || 'a\0b'"}}
    answer = await write(harness, "PUT", {"legacy": {**LEGACY, "shape": shape}})
    assert answer.status == 422
    assert "/legacy/shape/values/items" in answer.pointers


async def test_no_more_mistakes_are_told_than_a_person_reads(harness: Harness) -> None:
    shape = {f"member_{n}": "\0" for n in range(300)}
    answer = await write(harness, "PUT", {"legacy": {**LEGACY, "shape": shape}})
    assert (answer.status, len(answer.pointers)) == (422, MAX_FAULTY_PARTS)


# --- The credential


async def test_a_secret_that_cannot_be_read_now_is_a_warning(harness: Harness) -> None:
    secret = {**LEGACY, "credential": "env:LASTHEARD_SECRET_NOT_SET"}
    answer = await write(harness, "PUT", {**SHADOW, "legacy": secret})
    assert answer.status == 200
    assert [warning["pointer"] for warning in answer.json["warnings"]] == ["/legacy/credential"]
    assert (await harness.get(PATH))["warnings"] == []


@pytest.mark.parametrize(
    "move",
    [
        {"base_url": "https://elsewhere.example"},
        {"shape": {"values": {"path": "/other"}}},
        {"shape": {"credential_header": {"name": "X-Key", "form": "{secret}"}}},
    ],
)
async def test_moving_the_legacy_system_needs_its_credential_again(
    harness: Harness, move: dict[str, Any]
) -> None:
    secret = "env:LASTHEARD_SECRET_NORTH"
    await write(harness, "PUT", {**SHADOW, "legacy": {**LEGACY, "credential": secret}})
    unnamed = await write(harness, "PATCH", {"legacy": move})
    assert (unnamed.status, unnamed.pointers) == (422, ["/legacy/credential"])
    named = await write(harness, "PATCH", {"legacy": {**move, "credential": secret}})
    assert named.status == 200


async def test_an_expression_may_change_without_the_credential(harness: Harness) -> None:
    secret = {**LEGACY, "credential": "env:LASTHEARD_SECRET_NORTH"}
    await write(harness, "PUT", {**SHADOW, "legacy": secret})
    changed = await write(harness, "PATCH", {"legacy": {"shape": {"values": {"items": "all"}}}})
    assert changed.status == 200


@pytest.mark.parametrize(
    ("credential", "status"),
    [("file:north/legacy", 200), ("file:south/legacy", 403), ("env:LASTHEARD_SECRET_NORTH", 403)],
)
async def test_a_limited_key_names_files_of_its_workspace(
    harness: Harness, credential: str, status: int
) -> None:
    body = {**SHADOW, "legacy": {**LEGACY, "credential": credential}}
    answer = await harness.ask("PUT", PATH, key="north", json=body, headers={"If-Match": "*"})
    assert answer.status == status
    if status == 403:
        assert (answer.problem, answer.pointers) == (
            "credential-not-allowed",
            ["/legacy/credential"],
        )


# --- The gate


async def test_a_shut_gate_tells_the_numbers_and_the_worst_devices(
    harness: Harness, frozen: FrozenDatabase
) -> None:
    await write(harness, "PUT", SHADOW)
    await compare_cycles(frozen, 11)
    answer = await write(harness, "PATCH", {"read_owner": "core"})
    assert (answer.status, answer.problem, answer.pointers) == (409, "parity-gate", ["/read_owner"])
    view = {"is_open": False, "cycles": 11, "comparable_cycles": 11, "mismatch_share": 0.01}
    assert (answer.json["gate"], answer.json["gate_view"]) == (GATE, view)
    assert answer.json["worst_devices"] == [
        {"device_id": "bus-1", "vehicle_id": "vehicle-bus-1", "verdicts": {"older": 11}}
    ]
    assert "`force`" in answer.json["detail"]
    shown = await harness.get(PATH)
    assert (shown["read_owner"], shown["gate_view"]) == ("legacy", view)


async def test_the_open_gate_lets_core_be_read(harness: Harness, frozen: FrozenDatabase) -> None:
    await write(harness, "PUT", SHADOW)
    await compare_cycles(frozen, 12)
    answer = await write(harness, "PATCH", {"read_owner": "core"})
    assert answer.json["gate_view"]["is_open"] is True
    assert (answer.status, answer.json["read_owner"]) == (200, "core")


async def test_the_gate_is_that_of_the_request(harness: Harness, frozen: FrozenDatabase) -> None:
    await write(harness, "PUT", SHADOW)
    await compare_cycles(frozen, 3)
    answer = await write(harness, "PATCH", {"read_owner": "core", "gate": {"cycles": 4}})
    assert answer.json["gate"] == {**GATE, "cycles": 4}
    passed = await write(harness, "PATCH", {"read_owner": "core", "gate": {"cycles": 3}})
    assert passed.status == 200


async def test_force_passes_the_gate_and_is_in_the_audit(harness: Harness) -> None:
    await write(harness, "PUT", SHADOW)
    force = {"reason": "two vehicles, watched by hand"}
    answer = await write(harness, "PATCH", {"read_owner": "core", "force": force})
    assert (answer.status, answer.json["read_owner"]) == (200, "core")
    assert "force" not in answer.json
    audit = await harness.get("/workspaces/north/audit?kind=cutover")
    assert audit["items"][0]["after"]["force"] == force
    assert set(audit["items"][0]["changed"]) == {"force", "read_owner"}


async def test_the_cutover_of_an_archived_workspace_stays_readable(harness: Harness) -> None:
    await harness.ask("PATCH", "/workspaces/north", json={"active": False})
    await harness.ask("DELETE", "/workspaces/north")
    assert await harness.get(PATH) == DEFAULT
    answer = await write(harness, "PATCH", {"provider_mode": "mixed"})
    assert (answer.status, answer.problem) == (409, "conflict")
