"""Sessions and ownership: who may act for a resource, and until when.

Read this before the code of `actors/shard.py` or `storage/leases.py`; both only do what is said here.

**Terms.** A *shard* is one process with a stable name (`shard_id`). Each of its boots, and each return after it was
declared dead, is an *epoch*; (shard_id, epoch) is a *session*. A session is kept alive by a *heartbeat*, one row per
shard however much it owns. A *lease* says which session owns a *resource* (a workspace: its cycle and its streams);
its *token* grows by one at each acquisition and is written into every event the owner collects. *TTL* is how long a
heartbeat is good for. An *effective owner* is one whose units commit.

**Who is authoritative.** The database, in its own time (`clock_timestamp()`). A shard's view of itself is a cache with
an end: it trusts its session until *send time of the last successful renewal + TTL - margin* on its own monotonic
clock. From the send time, because the server may have stamped the renewal at any moment after it; the margin covers
clocks that run at different rates.

**The fence.** Every unit's first statement updates its session's row `WHERE epoch = mine AND state = 'live'`. Whoever
declares the session dead updates the same row. So a declaration waits for the unit in flight, and every later unit of
that session finds no row and writes nothing. Nothing else is needed for safety: not the trust window, not the
heartbeat, not the leases. They decide who *should* work; the fence decides who *can* write.

**States of a session.**

    begin ──> live ──────────── end_session ───────────> ended      (planned stop: everything released before)
               │  ╰── heartbeat expired, successor declares ──> dead
               │                                                 │
               ╰── another boot of the same shard_id             ╰── it notices and begins the next epoch (rejoin)
                   takes the row: epoch + 1, the older process
                   finds a greater epoch and ends itself

A heartbeat that merely expired is no verdict: when the database was away, a session that nobody declared dead renews
with its epoch and keeps its batches.

**Taking over.** 1. Declare expired sessions dead (waits for their unit in flight, at most the lock timeout). 2. Claim,
in one statement, what is free by then, `FOR UPDATE SKIP LOCKED`: two claimers share, neither waits. 3. Read cursors and
configuration *after* the claim. 4. Abandon the cycles that the former session left running; add an attempt while at
least 30% of the slot is left. 5. Connect the streams, seed them, read.

**Handing over.** Stop reading, hand what is buffered to the mailbox, wait until every receipt of the resource has
resolved, then release, scoped to epoch and token, and notify. A flush that exceeds its budget keeps the lease: better
a late successor than two.

**Failures.** What happens, and what follows:

- *A shard is killed.* Its heartbeat expires after the TTL; a round of any other shard (2 s at most) declares its
  session dead and claims.
- *It is paused past its TTL.* The same. When it wakes it is past its trust window: it closes its sockets and starts
  nothing. Its units are fenced, its renewal finds the session dead, it begins the next epoch; what it still holds
  under the old one is refused as `fenced`, visibly.
- *It is paused inside a transaction.* The declaration waits for the lock timeout at most and is tried again in each
  round; PostgreSQL ends the idle transaction after 5 s.
- *Only its own way to the database is cut.* Past its trust window it pauses; at the TTL it is declared dead.
- *The database is away for all.* Everybody pauses past the trust window and nobody can declare anybody dead. Batches
  and buffers are kept; afterwards sessions that nobody declared dead renew with their epoch and go on. Lest the first
  one back buries the others before they could renew, a shard declares nobody dead until its own trust has been open for
  the time between two renewals.
- *The database fails over.* Sessions, leases and tokens are data like any other: the fence holds on the new primary
  as far as that has the data.
- *A shard's clock jumps.* Nothing: durations are monotonic, instants are the database's.
- *Two processes run with one shard_id.* The later boot has the greater epoch; the earlier one ends itself.
- *A release is lost with its connection.* The lease still names us: the next round releases it again.
- *A claim is committed but its answer lost.* The next round sees the lease as ours and adopts it with its token.
- *A beginning is committed but its answer lost.* The session bears the id of the boot that began it, so the process
  knows it for its own and begins the one after it.
- *The offset to the database's clock is uncertain.* Every receipt would be a guess: the shard trusts its session no
  further, so it pauses, until a renewal is answered fast enough.
"""

from __future__ import annotations

import trio

MARGIN_SHARE = 0.1


class TrustWindow:
    """Until when a shard may believe in its own session. Times are monotonic seconds (trio.current_time)."""

    def __init__(self, ttl_seconds: float) -> None:
        self._good_for_seconds = ttl_seconds * (1 - MARGIN_SHARE)
        self._until = float("-inf")
        self._opened_at = float("-inf")
        self._changed = trio.Event()

    def renewed(self, sent_at: float) -> None:
        """A renewal that was sent at this instant succeeded."""
        if not self.is_open:
            self._opened_at = trio.current_time()
        self._until = max(self._until, sent_at + self._good_for_seconds)
        self._wake()

    def end(self) -> None:
        """The session is known to be over: trust nothing until another renewal succeeds."""
        self._until = float("-inf")
        self._wake()

    @property
    def is_open(self) -> bool:
        return trio.current_time() < self._until

    @property
    def open_for_seconds(self) -> float:
        """For how long it has been open without a break; zero while it is closed."""
        return trio.current_time() - self._opened_at if self.is_open else 0.0

    @property
    def seconds_left(self) -> float:
        """Negative when it is over; minus infinity before the first renewal."""
        return self._until - trio.current_time()

    async def wait_closed(self) -> None:
        """Return when trust has run out. Bounded by the window itself, which every renewal moves on."""
        while self.is_open:
            with trio.move_on_after(self.seconds_left):
                await self._changed.wait()

    async def wait_open(self) -> None:
        """Return after the next renewal. No deadline: without the database there is nothing to do."""
        while not self.is_open:
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
