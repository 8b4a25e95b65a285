"""Senders that wait in line at a full lane, for the tests of the mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from runtime.mailbox import Mailbox, MailboxClosed
from runtime.mailbox_lane import LaneLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    Park = Callable[[Mailbox[str]], "Parked"]


def one_lane(capacity: int = 10) -> Mailbox[str]:
    return Mailbox({"poll": LaneLimits(capacity=capacity, weight=1)})


class Parked:
    """Senders started one after the other, each of which waits in line."""

    def __init__(self, mailbox: Mailbox[str], nursery: trio.Nursery) -> None:
        self.mailbox = mailbox
        self.nursery = nursery
        self.outcomes: dict[str, str] = {}
        self.scopes: dict[str, trio.CancelScope] = {}

    async def add(self, item: str, size: int) -> None:
        self.nursery.start_soon(self._send, item, size)
        await wait_all_tasks_blocked()

    async def _send(self, item: str, size: int) -> None:
        self.scopes[item] = trio.CancelScope()
        self.outcomes[item] = "cancelled"
        with self.scopes[item]:
            try:
                await self.mailbox.send("poll", item, size)
                self.outcomes[item] = "sent"
            except MailboxClosed:
                self.outcomes[item] = "closed"
