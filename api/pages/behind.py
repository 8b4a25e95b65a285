"""The answer to "are we behind?", from facts of the runtime and of the poll plan.

Owns which facts are looked at, and the words. The limit of waiting is that of health
(domain/health_causes.py); which starts are overdue is judged by the plan.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from api.pages.times import parse_instant, show_age
from domain.health_causes import MAX_WAITING_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

_WAITING: Final = f"at most {MAX_WAITING_SECONDS:.0f} s"


class Weight(StrEnum):
    """How much a fact says about being behind."""

    FINE = "fine"
    LOOK = "look"
    BEHIND = "behind"


class RuntimeFact(NamedTuple):
    """One thing that was looked at: how it is, and how it should be."""

    what: str
    now: str
    should_be: str
    weight: Weight


class BehindAnswer(NamedTuple):
    """`word` is No, Partly or Yes; `kind` is the colour of the note; `because`: what made it so."""

    word: str
    kind: str
    because: Sequence[str]
    facts: Sequence[RuntimeFact]


def answer_are_we_behind(
    found: Mapping[str, Any], plan: Mapping[str, Any], now: datetime
) -> BehindAnswer:
    """Return the answer for the answers of `/runtime` and `/plan`, at this instant."""
    alive = list_alive(found["shards"], now)
    facts = [
        _judge_shards(found["shards"], alive, now),
        _judge_pauses(alive),
        _judge_starts(plan["states"]),
        *_judge_waiting(alive, found["process"]),
        _judge_commits(alive),
        _judge_lanes(found["process"]["ingest"]["mailbox"]["lanes"]),
        _judge_actors(alive),
        _judge_database(found["process"]["database"]),
        _judge_clock(found["process"]["shard"]),
        _judge_rollups(found["process"]["rollups"]),
    ]
    weights = {fact.weight for fact in facts}
    worst = max(weights, key=list(Weight).index)
    word, kind = {
        Weight.FINE: ("No", "good"),
        Weight.LOOK: ("Partly", "warn"),
        Weight.BEHIND: ("Yes", "bad"),
    }[worst]
    because = [f"{fact.what}: {fact.now}" for fact in facts if fact.weight is not Weight.FINE]
    return BehindAnswer(word, kind, because, facts)


def is_alive(shard: Mapping[str, Any], now: datetime) -> bool:
    """Return whether a shard's heartbeat is good now."""
    expires_at = shard["expires_at"]
    return shard["state"] == "live" and expires_at is not None and parse_instant(expires_at) > now


def list_alive(shards: Iterable[Mapping[str, Any]], now: datetime) -> list[Mapping[str, Any]]:
    """Return what the shards with a good heartbeat said of themselves."""
    return [shard["statistics"] or {} for shard in shards if is_alive(shard, now)]


def list_silent(shards: Iterable[Mapping[str, Any]], now: datetime) -> list[str]:
    """Return the ids of shards whose heartbeat is over, and whose work nobody has taken yet.

    A shard that is marked dead is no trouble any more: others have its work.
    """
    return [one["shard_id"] for one in shards if one["state"] == "live" and not is_alive(one, now)]


def _judge_shards(
    shards: Sequence[Mapping[str, Any]], alive: Sequence[Any], now: datetime
) -> RuntimeFact:
    silent = list_silent(shards, now)
    says = f"{len(alive)} alive" + (f", {', '.join(silent)} silent" if silent else "")
    weight = Weight.BEHIND if not alive else Weight.LOOK if silent else Weight.FINE
    return RuntimeFact("Shards", says, "one or more alive, none silent", weight)


def _judge_pauses(alive: Sequence[Mapping[str, Any]]) -> RuntimeFact:
    paused = sum(1 for one in alive if one.get("paused"))
    is_all = bool(alive) and paused == len(alive)
    weight = Weight.BEHIND if is_all else Weight.LOOK if paused else Weight.FINE
    says = f"{paused} of {len(alive)}" if paused else "none"
    return RuntimeFact("Paused shards, which collect nothing", says, "none", weight)


def _judge_starts(states: Mapping[str, int]) -> RuntimeFact:
    overdue, missed, late = (states.get(name, 0) for name in ("overdue", "missed", "late"))
    weight = Weight.BEHIND if overdue else Weight.LOOK if missed or late else Weight.FINE
    says = ", ".join(
        f"{count} {name}"
        for count, name in ((overdue, "overdue"), (missed, "missed"), (late, "late"))
        if count
    )
    return RuntimeFact("Newest start of each workspace", says or "all in time", "in time", weight)


def _judge_waiting(
    alive: Sequence[Mapping[str, Any]], process: Mapping[str, Any]
) -> list[RuntimeFact]:
    mailbox = [one.get("oldest_waiting_seconds", 0.0) for one in alive]
    deferred = [max(one.get("deferred_seconds", {}).values(), default=0.0) for one in alive]
    streams = [
        max((max(by.values(), default=0.0) for by in named.values()), default=0.0)
        for named in (one.get("stream_waiting_seconds", {}) for one in alive)
    ]
    ingest = process["ingest"]
    mailbox.append(ingest["oldest_waiting_seconds"])
    deferred.append(ingest["deferred"]["oldest_seconds"])
    return [
        _judge_oldest("Oldest update that waits to be stored", mailbox),
        _judge_oldest("Oldest update that waits for a locked row", deferred),
        _judge_oldest("Oldest data that waits in a stream", streams),
    ]


def _judge_oldest(what: str, seconds: Sequence[float]) -> RuntimeFact:
    oldest = max(seconds, default=0.0)
    weight = Weight.BEHIND if oldest > MAX_WAITING_SECONDS else Weight.FINE
    return RuntimeFact(what, show_age(oldest) if oldest >= 1 else "less than 1 s", _WAITING, weight)


def _judge_commits(alive: Sequence[Mapping[str, Any]]) -> RuntimeFact:
    failing = sum(1 for one in alive if one.get("failing"))
    says = f"the last one failed on {failing} of {len(alive)} shards" if failing else "they succeed"
    weight = Weight.BEHIND if failing else Weight.FINE
    return RuntimeFact("Commits", says, "they succeed", weight)


def _judge_lanes(lanes: Mapping[str, Mapping[str, Any]]) -> RuntimeFact:
    full = [
        name
        for name, lane in lanes.items()
        if lane["parked_senders"] or lane["waiting_size"] >= lane["capacity"]
    ]
    says = f"full: {', '.join(full)}" if full else "with room"
    weight = Weight.BEHIND if full else Weight.FINE
    return RuntimeFact("Lanes of this shard", says, "with room", weight)


def _judge_actors(alive: Sequence[Mapping[str, Any]]) -> RuntimeFact:
    parked = [name for one in alive for name in one.get("parked", ())]
    restarts = sum(one.get("restarts", 0) for one in alive)
    says = f"{len(parked)} parked" if parked else f"{restarts} restarts" if restarts else "they run"
    # Restarts are counted since the process began: those of last week are no trouble now.
    weight = Weight.BEHIND if parked else Weight.FINE
    return RuntimeFact("Actors", says, "none parked", weight)


def _judge_database(database: Mapping[str, Any]) -> RuntimeFact:
    """A call that waits for a moment is no trouble: many that wait behind few connections are."""
    crowded = [
        f"{pool['waiting']} calls wait for {pool['pool_size']} of {name}"
        for name, pool in database["pools"].items()
        if pool["waiting"] > pool["pool_size"]
    ]
    says = ", ".join(crowded) or f"{database['in_use']} of {database['pool_size']} in use"
    weight = Weight.LOOK if crowded else Weight.FINE
    should_be = "fewer calls that wait than connections"
    return RuntimeFact("Database connections of this shard", says, should_be, weight)


def _judge_clock(shard: Mapping[str, Any]) -> RuntimeFact:
    is_good = shard["trusted"] and shard["clock"]["is_certain"]
    says = (
        "trusted"
        if is_good
        else "the session is not trusted"
        if not shard["trusted"]
        else "the database's time is uncertain"
    )
    weight = Weight.FINE if is_good else Weight.BEHIND if not shard["trusted"] else Weight.LOOK
    return RuntimeFact("Session and clock of this shard", says, "trusted", weight)


def _judge_rollups(rollups: Mapping[str, Any]) -> RuntimeFact:
    says = "more hours wait than one run counts" if rollups["behind"] else "counted"
    weight = Weight.LOOK if rollups["behind"] else Weight.FINE
    return RuntimeFact("Hours of the indicators", says, "counted", weight)
