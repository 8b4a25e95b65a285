"""The decision of one round of the shard: what was seen, and the plan that follows.

This module owns the decision, which is pure; shard.py carries it out. runtime/assignment.py owns
the rule which resources to claim and to hand over. docs/ownership.md explains the words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.resource import Resource
    from ports.leases import Look
    from runtime.assignment import Assignment

MIN_PAUSE_SECONDS = 0.05  # between two rounds


@dataclass(frozen=True, slots=True)
class Seen:
    """The facts that a round decides from. Times are monotonic seconds.

    `running` are the resources whose actors run here. `leaving` are those that are being handed
    over, and `left` those whose hand-over ended since shortly before the look, which may still show
    their leases as ours. `trusted_seconds` is for how long the session has been trusted without a
    break.

    No voluntary hand-over begins before `next_moves_at`. Every release sends a notice, and every
    notice makes a round. So voluntary hand-overs are bounded by time; by rounds alone, a join would
    move its whole share at once.
    """

    look: Look
    running: frozenset[Resource]
    leaving: frozenset[Resource]
    left: frozenset[Resource]
    draining: bool
    trusted_seconds: float
    now: float
    next_moves_at: float


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two renewals of the session, and between two voluntary hand-overs."""

    beat_seconds: float
    round_seconds: float


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """The actions of one round, in their order.

    `declare_dead`: declare expired sessions dead, look again, and decide anew. `hand_over` and
    `take_up` map resources to the tokens of their leases. `stop` are resources that run here
    without a lease of ours, which happens only when somebody edited the lease by hand. Resources
    that were claimed are taken up, too.
    """

    declare_dead: bool
    hand_over: Mapping[Resource, int]
    stop: frozenset[Resource]
    claim: tuple[Resource, ...]
    take_up: Mapping[Resource, int]
    next_moves_at: float
    moves_later: bool = False  # there is more to hand over, which has to wait

    @property
    def asks_anything(self) -> bool:
        """Return whether there is anything to do, now or later."""
        now = self.declare_dead or self.hand_over or self.stop or self.claim or self.take_up
        return bool(now) or self.moves_later


def decide_round(seen: Seen, assignment: Assignment[Resource], pace: Pace) -> RoundPlan:
    """Return what to do now. `assignment` was decided from the same look."""
    look = seen.look
    is_time_to_move = seen.draining or seen.now >= seen.next_moves_at
    moves = assignment.hand_over if is_time_to_move else ()
    is_paced = bool(moves) and not seen.draining
    over = seen.leaving | seen.left
    hand_over = {name: look.mine[name] for name in moves} | dict(look.retired)
    return RoundPlan(
        declare_dead=_may_declare_dead(seen, pace),
        hand_over={name: token for name, token in hand_over.items() if name not in over},
        stop=seen.running - look.mine.keys() - look.retired.keys(),
        claim=tuple(name for name in assignment.claim if name not in seen.leaving),
        take_up=_to_take_up(seen, over | hand_over.keys()),
        next_moves_at=seen.now + pace.round_seconds if is_paced else seen.next_moves_at,
        moves_later=bool(assignment.hand_over) and not moves,
    )


def _may_declare_dead(seen: Seen, pace: Pace) -> bool:
    """Return whether to declare expired sessions dead.

    Not while this shard drains. Not when its own session has only just become trusted: the others
    may be about to renew, too.
    """
    is_steady = seen.trusted_seconds >= pace.beat_seconds
    return seen.look.expired and is_steady and not seen.draining


def _to_take_up(seen: Seen, over: frozenset[Resource]) -> Mapping[Resource, int]:
    """Return the resources of ours that do not run yet, except for those in `over`."""
    if seen.draining:
        return {}
    idle = seen.look.mine.keys() - seen.running - over
    return {name: seen.look.mine[name] for name in sorted(idle)}


def seconds_until_next(look: Look, pace: Pace) -> float:
    """Return how many seconds to wait before the next round.

    The wait ends at the earliest expiry, so that a takeover costs the TTL and not a round on top of
    it.
    """
    if look.next_expiry_seconds is None:
        return pace.round_seconds
    return max(MIN_PAUSE_SECONDS, min(pace.round_seconds, look.next_expiry_seconds))
