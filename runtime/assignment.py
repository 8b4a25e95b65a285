"""Assignment: decide what this member should claim and hand over, from one look at the table.

This module owns the rule, which is pure (`decide_assignment`), and what one member has to remember
for it (`Rounds`). It must never act or wait. Every round decides anew from the database's answer. A
round that failed half way is therefore simply followed by another, and what is remembered may be
lost at any time.

The **desired** owner of a resource is the rendezvous choice among the members that are live and not
draining. Resources with one group key stay together.

**Free** resources (never owned, released, or owned by a session that is over) are claimed at once
by their desired owner. Any member may **adopt** a resource that stays free for longer than a TTL,
so that a desired member that cannot claim leaves no orphan.

Owned resources are **sticky**: only the owner hands one over, when another member is desired. It
hands over no more than max(1, 5% of what it owns) a round, so that a join moves its share in steps
and a flapping member moves little. A draining member hands everything over at once.

Nothing is handed over to a member that is late to claim its own: one that left something free for a
third of a TTL, or from which something was adopted within the last ADOPTION_TTLS. Otherwise an
adopted resource would be handed over in the next round, stand free for another TTL, and so on for
ever.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from runtime.rendezvous import desired_owner

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

Name = TypeVar("Name", bound=str)  # of a resource

VOLUNTARY_SHARE = 0.05
LATE_SHARE = 1 / 3
ADOPTION_TTLS = 20

NOTHING: Mapping[Any, str] = MappingProxyType({})


class SeenResource(NamedTuple, Generic[Name]):
    """One resource as a round sees it.

    `owner` is the member whose live session holds its lease, or None if it is free. `free_seconds`
    is the time for which the desired owner could have claimed it.
    """

    name: Name
    group: str
    owner: str | None
    free_seconds: float = 0.0


class Assignment(NamedTuple, Generic[Name]):
    """The resources that one member should claim and hand over now, names in order.

    `adopt` maps those names of `claim` that another member should have had to that member.
    """

    claim: tuple[Name, ...]
    hand_over: tuple[Name, ...]
    adopt: Mapping[Name, str] = NOTHING


def decide_assignment(
    me: str,
    members: Collection[str],
    resources: Sequence[SeenResource[Name]],
    *,
    ttl_seconds: float,
    draining: bool = False,
    adopted: Mapping[Name, str] = NOTHING,
) -> Assignment[Name]:
    """Return what `me` should claim and hand over now.

    `members` are the live members that are not draining; `me` counts among them only while it is
    one. `resources` are at least all that are free or mine. `adopted` maps what this member adopted
    within the last ADOPTION_TTLS to the member that should have had it.
    """
    mine = sorted(resource.name for resource in resources if resource.owner == me)
    if draining or me not in members:
        return Assignment((), tuple(mine) if draining else ())
    wanted = {resource.name: desired_owner(resource.group, members) or me for resource in resources}
    free = {
        resource.name: resource.free_seconds for resource in resources if resource.owner is None
    }
    claim = sorted(
        name for name, seconds in free.items() if wanted[name] == me or seconds > ttl_seconds
    )
    late = {wanted[name] for name, seconds in free.items() if seconds > ttl_seconds * LATE_SHARE}
    late |= {adopted[name] for name in mine if name in adopted}
    misplaced = [name for name in mine if wanted[name] != me and wanted[name] not in late]
    return Assignment(
        claim=tuple(claim),
        hand_over=tuple(misplaced[: max_voluntary_moves(len(mine))]),
        adopt={name: wanted[name] for name in claim if wanted[name] != me},
    )


@dataclass(frozen=True, slots=True)
class RoundsStatistics:
    """Memory of one member's rounds."""

    seen_free: int  # free resources in the latest round
    adopted: tuple[str, ...]  # names of resources that are still held for another member


class Rounds(Generic[Name]):
    """One member's rounds: its decisions, and what it remembers from one round to the next.

    A resource counts as free from the first round that saw it free, even if the database has it
    free for longer. When a cluster boots, everything has been free for long, and the first member
    to look should not take it all. Times are monotonic seconds.
    """

    def __init__(self, me: str, ttl_seconds: float) -> None:
        self._me = me
        self._ttl_seconds = ttl_seconds
        self._free_since: dict[Name, float] = {}
        # from which member, and until when it counts
        self._adopted: dict[Name, tuple[str, float]] = {}

    def decide(
        self,
        now: float,
        members: Collection[str],
        mine: Collection[Name],
        free: Mapping[Name, float],
        groups: Mapping[Name, str],
        *,
        draining: bool = False,
    ) -> Assignment[Name]:
        """Return what to do now, decided from one look at the table.

        `mine` are the names that this member owns. `free` maps each free name to how many seconds
        it has been free, as the database counts. A resource that `groups` does not name is a group
        of its own.
        """
        self._free_since = {name: self._free_since.get(name, now) for name in free}
        self._adopted = {
            name: entry for name, entry in self._adopted.items() if name in mine and now < entry[1]
        }
        resources = [SeenResource(name, groups.get(name) or alone(name), self._me) for name in mine]
        resources += [
            SeenResource(
                name,
                groups.get(name) or alone(name),
                None,
                min(seconds, now - self._free_since[name]),
            )
            for name, seconds in free.items()
        ]
        assignment = decide_assignment(
            self._me,
            members,
            resources,
            ttl_seconds=self._ttl_seconds,
            draining=draining,
            adopted={name: member for name, (member, _) in self._adopted.items()},
        )
        until = now + ADOPTION_TTLS * self._ttl_seconds
        self._adopted |= {name: (member, until) for name, member in assignment.adopt.items()}
        return assignment

    def statistics(self) -> RoundsStatistics:
        return RoundsStatistics(len(self._free_since), tuple(sorted(self._adopted)))


def max_voluntary_moves(owned: int) -> int:
    """Return how many resources a member may hand over voluntarily in one round."""
    return max(1, math.floor(owned * VOLUNTARY_SHARE))


def alone(name: str) -> str:
    """Return the group of a resource that shares nothing."""
    return f"resource:{name}"


def group_by_shared(keys_of: Mapping[Name, Collection[str]]) -> dict[Name, str]:
    """Return a group for every resource; resources that share a key get the same one.

    Sharing through other resources counts, too. A resource that stands alone is its own group. Any
    other group is named after the first of the keys that two or more of its resources have. So it
    keeps its name when a resource joins or leaves, whatever other keys that resource has.
    """
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    users = Counter(key for keys in keys_of.values() for key in set(keys))
    shared = {name: {key for key in keys if users[key] > 1} for name, keys in keys_of.items()}
    for name, keys in shared.items():
        for key in keys:
            low, high = sorted((root(f"key:{key}"), root(alone(name))))
            # "key:" sorts before "resource:", so the root is a key if there is one
            parent[high] = low
    return {name: root(alone(name)) for name in keys_of}
