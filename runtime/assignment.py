"""Assignment: which leases this member should claim and which it should give up, decided from one look at the table.

Owns the rule, pure. It must never act, wait or remember: every round decides anew from what the database said, so a
round that failed half way is simply followed by another.

**Desired** owner of a resource is the rendezvous choice among the members that are live and not draining; resources
with one group key stay together. **Free** resources (never owned, released, or owned by a session that is over) are
claimed at once by their desired owner; one that stays free for longer than a TTL may be taken by anybody, so that a
member which is desired but cannot claim leaves no orphan. What is owned is **sticky**: only its owner gives it up, when
another member is desired, and no more than max(1, 5% of what it owns) a round, so that a join moves its share in steps
and a flapping member moves little. A draining member gives everything up at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from runtime.rendezvous import desired_owner

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

VOLUNTARY_SHARE = 0.05


class Resource(NamedTuple):
    """One resource as a round sees it. `owner` is the member whose live session holds its lease, None when free.

    `free_seconds` says for how long it has been free: since its release, its owner's end, or its making.
    """

    name: str
    group: str
    owner: str | None
    free_seconds: float = 0.0


class Assignment(NamedTuple):
    """What one member should do now; names in order."""

    claim: tuple[str, ...]
    release: tuple[str, ...]


def decide_assignment(
    me: str, members: Collection[str], resources: Sequence[Resource], *, ttl_seconds: float, draining: bool = False
) -> Assignment:
    """`members` are the live members that are not draining; `me` counts among them only while it is one."""
    mine = sorted(resource.name for resource in resources if resource.owner == me)
    if draining or me not in members:
        return Assignment((), tuple(mine) if draining else ())
    wanted = {resource.name: desired_owner(resource.group, members) for resource in resources}
    claim = [
        resource.name
        for resource in resources
        if resource.owner is None and (wanted[resource.name] == me or resource.free_seconds > ttl_seconds)
    ]
    misplaced = [name for name in mine if wanted[name] != me]
    return Assignment(tuple(sorted(claim)), tuple(misplaced[: max_voluntary_moves(len(mine))]))


def max_voluntary_moves(owned: int) -> int:
    """How many leases a member may give up in one round of its own will."""
    return max(1, math.floor(owned * VOLUNTARY_SHARE))


def group_by_shared(keys_of: dict[str, Collection[str]]) -> dict[str, str]:
    """A group for every resource: resources that share a key, directly or through others, get the same one.

    A group is named after its first resource by name when it stands alone, and after its first shared key otherwise, so
    that it keeps its name when a resource joins or leaves.
    """
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for name, keys in keys_of.items():
        for key in keys:
            low, high = sorted((root(f"key:{key}"), root(f"resource:{name}")))
            parent[high] = low  # "key:" sorts before "resource:", so a root is a key wherever there is one
    users: dict[str, int] = {}
    for name in keys_of:
        users[root(f"resource:{name}")] = users.get(root(f"resource:{name}"), 0) + 1
    groups = {name: root(f"resource:{name}") for name in keys_of}
    return {name: group if users[group] > 1 else f"resource:{name}" for name, group in groups.items()}
