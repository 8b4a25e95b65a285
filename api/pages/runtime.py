"""The runtime: are we behind, which shards are there, and how the one that answered does.

A key that is limited to workspaces does not see it: the API refuses, in words.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from api.pages.behind import answer_are_we_behind, is_alive
from api.pages.contract import Question
from api.pages.times import parse_instant
from api.pages.viewer import current_viewer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from api.pages.page import Pages, Values

MOST_ROWS: Final = 100  # of actors and streams in trouble
_RECENT: Final = timedelta(days=1)
_SHORTEST_PLAN: Final = 10  # the page shows how starts went, not the plan itself


class ShownShard(NamedTuple):
    """A shard with what it is in a word: alive, draining, silent, ended or dead."""

    shard: Mapping[str, Any]
    word: str
    statistics: Mapping[str, Any]


class ShownActor(NamedTuple):
    """An actor, and its supervisor's name. `workspace_id` is of an actor that serves one."""

    name: str
    supervisor: str
    child: Mapping[str, Any]
    workspace_id: str | None


def declare_runtime_page(pages: Pages) -> None:
    @pages.page("/runtime", "runtime.html")
    async def show_runtime() -> Values:
        viewer = current_viewer()
        # First alone: a viewer who may not see it costs no plan.
        found = await pages.ask.get(viewer, "/runtime")
        plan = await pages.ask.demand(viewer, Question("/plan", {"seconds": _SHORTEST_PLAN}))
        now = pages.services.clock.now()
        process, shards = found["process"], list_shards(found["shards"], now)
        actors = list(_list_actors(process))
        streams = list(_list_streams(process["shard"]["owned"]["workspaces"]))
        return {
            "answer": answer_are_we_behind(found, plan.json, now),
            "process": process,
            "recent": [one for one in shards if _is_recent(one.shard, now)],
            "former": [one for one in shards if not _is_recent(one.shard, now)],
            "owned": sum(one.statistics.get("workspaces", 0) for one in shards if _counts(one)),
            "active": plan.json["workspaces"],
            "late": plan.json["late"][:MOST_ROWS],
            "actors": [one for one in actors if one.supervisor == process["actors"]["name"]],
            "troubled": [one for one in actors if _is_troubled(one)][:MOST_ROWS],
            "states": process["shard"]["owned"]["actors"]["states"],
            "streams": len(streams),
            "closed": [one for one in streams if not one[2]["open"]][:MOST_ROWS],
            "open": sum(1 for one in streams if one[2]["open"]),
        }


def list_shards(shards: Sequence[Mapping[str, Any]], now: datetime) -> list[ShownShard]:
    """Return the shards, those that need a look first."""
    shown = [ShownShard(one, _word_of(one, now), one["statistics"] or {}) for one in shards]
    order = ("silent", "draining", "alive", "dead", "ended")
    return sorted(shown, key=lambda one: order.index(one.word))


def _word_of(shard: Mapping[str, Any], now: datetime) -> str:
    if shard["state"] != "live":
        return str(shard["state"])
    if not is_alive(shard, now):
        return "silent"
    return "draining" if shard["draining"] else "alive"


def _counts(shown: ShownShard) -> bool:
    return shown.word in ("alive", "draining")


def _is_recent(shard: Mapping[str, Any], now: datetime) -> bool:
    ended_at = shard["ended_at"]
    return shard["state"] == "live" or (
        ended_at is not None and parse_instant(ended_at) > now - _RECENT
    )


def _list_actors(process: Mapping[str, Any]) -> Iterator[ShownActor]:
    """Yield the actors of the process, and those of the workspaces that it owns."""
    for supervisor in (process["actors"], process["shard"]["owned"]["actors"]):
        for name, child in supervisor["children"].items():
            yield ShownActor(name, supervisor["name"], child, _find_workspace(name))


def _find_workspace(name: str) -> str | None:
    """Return the workspace that an actor serves, by its name: `stream:north/live`."""
    kind, separator, rest = name.partition(":")
    if not separator or kind not in ("workspace", "cutover", "stream"):
        return None
    return rest.partition("/")[0]


def _is_troubled(actor: ShownActor) -> bool:
    child = actor.child
    return bool(child["state"] != "running" or child["restarts"] or child["last_error"])


def _list_streams(
    workspaces: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for workspace_id, workspace in workspaces.items():
        for provider_id, stream in workspace["streams"].items():
            yield workspace_id, provider_id, stream
