"""A model of shards that share resources and carry out what runtime/assignment.py decides.

The model has the database's table of leases. Claims are served in their order. A session is over
when it ended, when another boot of its shard followed, or when it was declared dead after its
heartbeat expired. There is no clock and no task: a test says what happens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from runtime.assignment import Rounds, alone, max_voluntary_moves
from runtime.rendezvous import desired_owner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runtime.assignment import Assignment

TTL = 15.0
ROUND = 2.0
ROUNDS_PER_TTL = 8  # enough of them to last longer than a TTL


class Session(NamedTuple):
    member: str
    epoch: int


@dataclass
class Member:
    """A process that is up; `runs` is what it believes to own.

    `mute`: it looks and beats, but its claims fail.
    """

    session: Session
    rounds: Rounds[str]
    mute: bool = False
    runs: set[str] = field(default_factory=set)


class Cluster:
    """`voluntary` lists every lease handed over by a member that was not draining, in order."""

    def __init__(self, resources: Sequence[str], groups: Mapping[str, str] | None = None) -> None:
        self.now = 1000.0
        self.groups = dict(groups or {})
        self.leases: dict[str, Session | None] = dict.fromkeys(resources)
        self.free_since = dict.fromkeys(resources, 0.0)
        self.up: dict[str, Member] = {}
        self.expires: dict[Session, float] = {}  # live sessions, also of processes that were killed
        self.epochs: dict[str, int] = {}
        self.voluntary: list[str] = []

    # --- what happens to members

    def join(self, name: str, *, mute: bool = False) -> None:
        """A boot, after whatever end of the last one."""
        self._end(Session(name, self.epochs.get(name, 0)))
        self.epochs[name] = self.epochs.get(name, 0) + 1
        session = Session(name, self.epochs[name])
        self.up[name] = Member(session, Rounds(name, TTL), mute)
        self.expires[session] = self.now + TTL

    def kill(self, name: str) -> None:
        """The process is gone, its session still looks alive."""
        del self.up[name]

    def drain(self, name: str) -> None:
        """A planned stop: everything is handed over in one round, then the session ends."""
        member = self.up[name]
        self.carry_out(member, self.decide(member, draining=True))
        assert not member.runs
        assert not any(owner == member.session for owner in self.leases.values())
        del self.up[name]
        self._end(member.session)

    def _end(self, session: Session) -> None:
        if self.expires.pop(session, None) is not None:
            for resource, owner in self.leases.items():
                if owner == session:
                    self._free(resource)

    def _free(self, resource: str) -> None:
        self.leases[resource] = None
        self.free_since[resource] = self.now

    # --- rounds

    def step(
        self, *, shuffle: Callable[[list[str]], object] = list.sort, at_once: bool = False
    ) -> None:
        """One round of every member, one after the other.

        `at_once`: all have looked before the first one acts.
        """
        self.now += ROUND
        order = list(self.up)
        shuffle(order)
        looked = []
        for name in order:
            member = self.up[name]
            self.expires[member.session] = self.now + TTL
            for session in [
                session for session, expires in self.expires.items() if expires <= self.now
            ]:
                self._end(session)
            decided = self.decide(member)
            if at_once:
                looked.append((member, decided))
            else:
                self.carry_out(member, decided)
        for member, decided in looked:
            self.carry_out(member, decided)

    def decide(self, member: Member, *, draining: bool = False) -> Assignment[str]:
        """Return the member's decision, from one consistent look."""
        name = member.session.member
        mine = {resource for resource, owner in self.leases.items() if owner == member.session}
        assert member.runs == mine, "a lease was lost without anybody's doing"
        free = {
            name: self.now - self.free_since[name]
            for name, owner in self.leases.items()
            if owner is None
        }
        members = self.members() - ({name} if draining else set())
        decided = member.rounds.decide(
            self.now, members, mine, free, self.groups, draining=draining
        )
        assert draining or len(decided.hand_over) <= max_voluntary_moves(len(mine))
        if not draining:
            self.voluntary += decided.hand_over
        return decided

    def carry_out(self, member: Member, decided: Assignment[str]) -> None:
        for resource in decided.hand_over:
            assert self.leases[resource] == member.session
            member.runs.remove(resource)
            self._free(resource)
        for resource in () if member.mute else decided.claim:
            if self.leases[resource] is None:
                self.leases[resource] = member.session
                member.runs.add(resource)
        self.check()

    def check(self) -> None:
        """No two processes run one resource, and a process that runs one holds its lease."""
        running = [resource for member in self.up.values() for resource in member.runs]
        assert len(running) == len(set(running))
        for member in self.up.values():
            assert all(self.leases[resource] == member.session for resource in member.runs)

    # --- looking

    def members(self) -> set[str]:
        return {session.member for session, expires in self.expires.items() if expires > self.now}

    def owners(self) -> dict[str, str | None]:
        return {resource: owner and owner.member for resource, owner in self.leases.items()}

    def desired(self) -> dict[str, str | None]:
        """By the members that are up."""
        return {
            name: desired_owner(self.groups.get(name) or alone(name), self.up)
            for name in self.leases
        }

    def orphans(self) -> set[str]:
        """Resources without an owner, except for those that change hands in this round."""
        return {
            name
            for name, owner in self.leases.items()
            if not owner and self.now - self.free_since[name] > ROUND
        }

    def misplaced(self) -> set[str]:
        owners, desired = self.owners(), self.desired()
        return {resource for resource in owners if owners[resource] != desired[resource]}

    def run_until_stable(self, limit: int = 500) -> None:
        """Rounds until everything is where it should be."""
        for _ in range(limit):
            if not self.misplaced():
                return
            self.step()
        raise AssertionError(f"not stable: {self.misplaced()}")


def stable_cluster(
    members: Sequence[str], resources: Sequence[str], groups: Mapping[str, str] | None = None
) -> Cluster:
    """A cluster at rest."""
    cluster = Cluster(resources, groups)
    for name in members:
        cluster.join(name)
    cluster.run_until_stable()
    cluster.voluntary.clear()
    return cluster
