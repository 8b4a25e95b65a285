"""The scenarios of quarantine: its list, and the replay of an entry."""

from __future__ import annotations

from typing import Any

from domain.changes import Author
from domain.model import Outcome, Result
from tests.isolation.fleets import OUR_ENTRY, OURS, THEIR_ENTRY, Harness
from tests.isolation.scenario import drives


@drives("list_quarantine")
async def read_quarantine(harness: Harness) -> Any:
    return await harness.stores.quarantine.list_quarantine(OURS, before=None, limit=9)


@drives("find_quarantined_update", "note_replay", "append_changes")
async def replay_what_was_set_aside(harness: Harness) -> Any:
    """Ask for entries of both workspaces, and mark them as replayed."""
    quarantine = harness.stores.quarantine
    numbers, result = (OUR_ENTRY, THEIR_ENTRY), Result(Outcome.DUPLICATE, None, "bus-1", 1)
    found = [await quarantine.find_update(OURS, number) for number in numbers]
    for number in numbers:
        await quarantine.note_replay(OURS, number, result, by=Author("key-1"))
    return found
