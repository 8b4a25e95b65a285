"""Sessions and ownership: which process may act for a resource, and until when.

Read this before the code of `actors/shard.py` or `storage/leases.py`, which implement it.

**Terms.** A *shard* is one process with a stable name (`shard_id`). Each boot of a shard, and each
return after it was declared dead, is an *epoch*. The pair (shard_id, epoch) is a *session*. A
*heartbeat* keeps a session alive; it is one row per shard, however much the shard owns. A *lease*
says which session owns a *resource* (a workspace: its cycle and its streams). The *token* of a
lease grows by one at each acquisition, and is written into every event that the owner collects. The
*TTL* is how long a heartbeat is valid. An *effective owner* is an owner whose units commit.

**Authority.** The database is authoritative, in its own time (`clock_timestamp()`). A shard's view
of itself is a cache with an end. On its own monotonic clock, the shard trusts its session until
*send time of the last successful renewal + TTL - margin*. The time counts from sending, because the
server may have stamped the renewal at any moment after that. The margin covers clocks that run at
different rates.

**The fence.** The first statement of every unit updates its session's row `WHERE epoch = mine AND
state = 'live'`. Declaring the session dead updates the same row. So a declaration waits for the
unit in flight, and every later unit of that session finds no row and writes nothing. Safety needs
nothing else: not the trust window, not the heartbeat, not the leases. Those decide which shard
*should* work; the fence decides which shard *can* write.

**States of a session.**

    begin ──> live ─────────── end_session ──────────> ended  (planned stop: all is released before)
               │  ╰── heartbeat expired, another shard declares ──> dead
               │                                                     │
               │                              the shard notices and begins the next epoch (rejoin)
               │
               ╰── another boot of the same shard_id takes the row with epoch + 1;
                   the older process finds a greater epoch and ends itself

A heartbeat that has expired does not end a session; only a declaration does. After an outage of the
database, a session that was not declared dead renews with its epoch and keeps its batches.

**Taking over.**

1. Declare expired sessions dead. This waits for their unit in flight, at most the lock timeout.
2. Claim, in one statement, what is free by then, `FOR UPDATE SKIP LOCKED`: two claimers share, and
   neither waits.
3. Read cursors and configuration *after* the claim.
4. Mark the cycles that the former session left running as abandoned. Add an attempt while at least
   30% of the slot is left.
5. Connect the streams, seed them, read.

**Handing over.** Stop reading, hand buffered data to the mailbox, and wait until every receipt of
the resource has resolved. Then release, scoped to epoch and token, and notify. If the flush exceeds
its budget, the lease is kept: a late successor is better than two owners.

**Failures,** and their consequences:

- *A shard is killed.* Its heartbeat expires after the TTL. A round of any other shard (2 s at most)
  declares its session dead and claims.
- *A shard is paused past its TTL.* Its session is declared dead in the same way. When the shard
  wakes, it is past its trust window: it closes its sockets and starts nothing. Its units are
  fenced, its renewal finds the session dead, and it begins the next epoch. Data that it still holds
  under the old epoch is refused as `fenced`, visibly.
- *A shard is paused inside a transaction.* The declaration waits for the lock timeout at most and
  is tried again in each round. PostgreSQL ends the idle transaction after 5 s.
- *Only one shard's way to the database is cut.* Past its trust window the shard pauses; at the TTL
  it is declared dead.
- *The database is away for all.* Every shard pauses past its trust window, and none can declare
  another dead. Batches and buffers are kept. Afterwards, sessions that were not declared dead renew
  with their epoch and go on. The first shard back must not declare the others dead before they
  could renew. Therefore a shard declares no session dead until its own trust has been open for the
  time between two renewals.
- *The database fails over.* Sessions, leases and tokens are data like any other: the fence holds on
  the new primary as far as it has the data.
- *A shard's clock jumps.* No effect: durations are monotonic, and instants are the database's.
- *Two processes run with one shard_id.* The later boot has the greater epoch; the earlier one ends
  itself.
- *A release is lost with its connection.* The lease still names this shard, so the next round
  releases it again.
- *A claim is committed but its answer lost.* The next round sees that the lease is this shard's and
  adopts it with its token.
- *A beginning is committed but its answer lost.* The session has the id of the boot that began it.
  The process therefore recognises it as its own and begins the one after it.
- *The offset to the database's clock is uncertain.* Every receipt would be a guess. The shard no
  longer trusts its session, and pauses until a renewal is answered fast enough.
"""

from __future__ import annotations

import trio

from runtime.flag import Flag

MARGIN_SHARE = 0.1


class TrustWindow:
    """The time until which a shard may trust its own session.

    Times are monotonic seconds (trio.current_time).
    """

    def __init__(self, ttl_seconds: float) -> None:
        self._good_for_seconds = ttl_seconds * (1 - MARGIN_SHARE)
        self._until = float("-inf")
        self._opened_at = float("-inf")
        self._changed = Flag()

    def renewed(self, sent_at: float) -> None:
        """Extend the trust, because a renewal that was sent at `sent_at` succeeded."""
        if not self.is_open:
            self._opened_at = trio.current_time()
        self._until = max(self._until, sent_at + self._good_for_seconds)
        self._changed.wake()

    def end(self) -> None:
        """Trust nothing until another renewal succeeds, because the session is known to be over."""
        self._until = float("-inf")
        self._changed.wake()

    @property
    def is_open(self) -> bool:
        return trio.current_time() < self._until

    @property
    def open_for_seconds(self) -> float:
        """Return how long the window has been open without a break; zero while it is closed."""
        return trio.current_time() - self._opened_at if self.is_open else 0.0

    @property
    def seconds_left(self) -> float:
        """Return the seconds left: negative when over, minus infinity before the first renewal."""
        return self._until - trio.current_time()

    async def wait_closed(self) -> None:
        """Return when the window has closed.

        Bounded by the window itself, which every renewal extends.
        """
        while self.is_open:
            with trio.move_on_after(self.seconds_left):
                await self._changed.wait()

    async def wait_open(self) -> None:
        """Return when the window is open, after the next renewal if it is closed.

        No deadline: without the database there is nothing to do.
        """
        while not self.is_open:
            await self._changed.wait()
