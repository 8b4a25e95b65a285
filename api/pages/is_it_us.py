"""The answer to "is it us?", in one line, from facts of the API.

Owns the words. Whose fault a silent device is was decided by the verdicts; how a shard does, by the
shards themselves.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from api.pages.behind import list_alive, list_silent
from api.pages.times import parse_instant
from api.pages.words import party_name
from domain.health_causes import MAX_WAITING_SECONDS
from domain.health_reason import Party

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

_ORDER: Final = (Party.OURS, Party.PROVIDER, Party.CUSTOMER, Party.DEVICE, Party.UNKNOWN)


class IsItUs(NamedTuple):
    """`word` is Yes, Partly or No. `facts` are sentences. `kind` is the colour of the note."""

    word: str
    kind: str
    facts: Sequence[str]


def answer_is_it_us(fleet: Mapping[str, Any], shards: Sequence[Mapping[str, Any]] | None) -> IsItUs:
    """Return the answer for the workspaces of a page. `shards=None`: the viewer may not see them.

    Yes: most of the devices that are not healthy are so because of us, or no shard collects.
    Partly: some of them, or a part of the service is in trouble.
    """
    parties = count_parties(fleet["items"])
    late, ours = parties.total(), parties[Party.OURS]
    now = parse_instant(fleet["evaluated_at"])
    troubles, is_stopped = ([], False) if shards is None else find_troubles(shards, now)
    facts = [_say_parties(parties, fleet), *troubles]
    if is_stopped or (ours and 2 * ours >= late):
        return IsItUs("Yes", "bad", facts)
    if ours or troubles:
        return IsItUs("Partly", "warn", facts)
    if shards is not None:
        facts.append("Every shard is alive, and nothing waits to be stored.")
    return IsItUs("No", "good" if not late else "plain", facts)


def count_parties(items: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Return the devices that are not healthy, by party."""
    parties: Counter[str] = Counter()
    for item in items:
        parties.update(item["parties"] or {})
    return parties


def find_troubles(shards: Sequence[Mapping[str, Any]], now: datetime) -> tuple[list[str], bool]:
    """Return sentences about troubles of our own, and whether nothing is collected at all."""
    alive, silent = list_alive(shards, now), list_silent(shards, now)
    paused = [one for one in alive if one.get("paused")]
    troubles = []
    if not alive:
        troubles.append("No shard is alive.")
    elif silent:
        troubles.append(f"{len(silent)} of {len(alive) + len(silent)} shards are silent.")
    if paused:
        troubles.append(f"{len(paused)} of {len(alive)} shards are paused and collect nothing.")
    waiting = max((one.get("oldest_waiting_seconds") or 0.0 for one in alive), default=0.0)
    if waiting > MAX_WAITING_SECONDS:
        troubles.append(f"The oldest data has waited for {waiting:.0f} s to be stored.")
    if any(one.get("failing") for one in alive):
        troubles.append("The last commit to the database failed.")
    return troubles, not alive or len(paused) == len(alive)


def _say_parties(parties: Counter[str], fleet: Mapping[str, Any]) -> str:
    counted = [item["counts"] for item in fleet["items"] if item["counts"] is not None]
    total = sum(sum(counts.values()) for counts in counted)
    late = sum(sum(counts.values()) - counts["healthy"] for counts in counted)
    if not total:
        return "There is no device yet."
    if not late:
        return f"All {total} devices are healthy."
    shares = [f"{party_name(party)} {parties[party]}" for party in _ORDER if parties[party]]
    unjudged = late - parties.total()
    if unjudged > 0:
        shares.append(f"not looked at {unjudged}")
    return f"{late} of {total} devices are not healthy: {', '.join(shares)}."
