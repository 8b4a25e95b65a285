"""Actors that crash as told, for the tests of the supervisor."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    Events = list[MutableMapping[str, Any]]


class Bug(Exception):
    pass


class Actor:
    """A run function. Each run raises the next of `crashes`; after the last it runs for ever."""

    def __init__(self, *crashes: Exception | None, after_seconds: float = 0.0) -> None:
        self.script = list(crashes)
        self.after_seconds = after_seconds
        self.started_at: list[float] = []
        self.was_cancelled = False

    async def __call__(self) -> None:
        self.started_at.append(trio.current_time())
        if self.script:
            await trio.sleep(self.after_seconds)
            crash = self.script.pop(0)
            if crash is None:
                return
            raise crash
        try:
            await trio.sleep_forever()
        finally:
            self.was_cancelled = True


def bugs(count: int) -> list[Exception]:
    return [Bug(f"number {n}") for n in range(count)]


def crashes_logged(events: Events) -> list[str]:
    return [event["child"] for event in events if event["event"] == "actor_crashed"]


class Highest(Random):
    """A source of chance that always draws the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b
