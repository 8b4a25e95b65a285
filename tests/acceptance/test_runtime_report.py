"""The members of /runtime, which operators' tools read: their paths and kinds do not change."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

from tests.acceptance.fleets import polled, streamed
from tests.acceptance.harness import open_harness, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.acceptance.shard import Shard

MEMBERS = Path(__file__).with_name("runtime_report.txt")
# Objects whose members are named by data: workspaces, actors, outcomes and the like.
KEYED_BY_DATA = {
    *("workspaces", "streams", "children", "by_resource", "outcomes", "reasons", "ignored_by"),
    *("faults", "responses", "refused", "oldest_seconds_by_workspace", "deferred_seconds"),
    *("dropped", "dropped_readings", "stream_waiting_seconds"),
}


async def test_the_runtime_report_keeps_its_members(dsn: str, tmp_path: Path) -> None:
    fleets = [streamed("harbour", 2, rate=5.0), polled("westgate", 2, every=1.0)]
    async with open_harness(dsn, tmp_path, *fleets) as harness:
        for fleet in fleets:
            await harness.add_fleet(fleet, interval=2)
        # A workspace that has had a cutover tells of its cutover actor.
        changed = await harness.shard.ask(
            "PATCH",
            "/workspaces/westgate/cutover",
            json={"provider_mode": "mixed"},
            headers={"If-Match": "*"},
        )
        assert changed.status == 200, changed.body
        await until(partial(_shows_everything, harness.shard))
        report = await harness.shard.get("/runtime")
        document = await harness.shard.get("/openapi.json")
    assert _faults(document, report) == []
    known = _read(MEMBERS)
    found = dict(_members(report, "report"))
    assert found.keys() == known.keys()
    # A member that is null, now or when the file was written, says nothing of its kind.
    told = {path for path, kind in found.items() if "null" not in (kind, known[path])}
    assert {path: found[path] for path in told} == {path: known[path] for path in told}


def _faults(document: Mapping[str, Any], report: Any) -> list[str]:
    """Return where the report is not as described, with members that are not described."""
    schemas = {
        name: {"additionalProperties": False, **schema}
        for name, schema in document["components"]["schemas"].items()
        if schema.get("type") == "object"
    }
    whole = {"$ref": "#/components/schemas/RuntimeAnswer", "components": {"schemas": schemas}}
    found = Draft202012Validator(whole).iter_errors(report)
    return [f"{fault.json_path}: {fault.message}" for fault in found]


def _read(file: Path) -> dict[str, str]:
    return dict(line.split() for line in file.read_text().splitlines())


async def _shows_everything(shard: Shard) -> bool:
    """Return whether both workspaces have collected, and a heartbeat has told so."""
    report = await shard.get("/runtime")
    workspaces = report["process"]["shard"]["owned"]["workspaces"].values()
    vital = report["shards"][0]["statistics"]
    return (
        vital.get("workspaces") == 2
        and all(workspace["outcomes"] for workspace in workspaces)
        and any(workspace["cutover"] for workspace in workspaces)
        and any(
            stream["frames"]["merged"]
            for workspace in workspaces
            for stream in workspace["streams"].values()
        )
        and report["process"]["ingest"]["by_resource"].keys()
        == {"workspace:harbour", "workspace:westgate"}
    )


def _members(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield path and kind of every member.

    An object named by data stands as `*`. Counts named by data are left out: they come and go.
    """
    match value:
        case dict():
            yield path, "object"
            by_data = _is_keyed_by_data(path)
            for name, member in value.items():
                if not by_data:
                    yield from _members(member, f"{path}.{name}")
                elif isinstance(member, dict):
                    yield from _members(member, f"{path}.*")
        case list():
            yield path, "array"
            for item in value:
                yield from _members(item, f"{path}[]")
        case None:
            yield path, "null"
        case bool() | str():
            yield path, type(value).__name__
        case _:
            yield path, "number"


def _is_keyed_by_data(path: str) -> bool:
    return path.rpartition(".")[2] in KEYED_BY_DATA or path.endswith("by_resource.*")
