"""The first page of a worklist, from keys that were found a moment ago.

Owns which worklists are kept, and how each device is looked at again: its facts are those of now,
and it is shown only if it is late now. To find the late ones of a fleet takes a scan of all its
devices; to look at a hundred again takes a look-up of each.

Nothing is missing either. What gets late by time alone is among the keys before its time comes.
Data only makes a device less late, and worklists of other states are not kept. After a change of
configuration no kept key is used.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from domain.health import Judge
from domain.health_state import State
from ports.reads import MAX_COUNTS_AGE_SECONDS, HealthQuery
from runtime.kept_answers import KeptAnswers
from storage.health import ReadPage, configuration_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.health_facts import HealthFacts
    from storage.health import HealthStatements, ReadWorklist

MAX_KEYS: Final = 1_000  # of one worklist
SPARE_KEYS: Final = 10  # looked at beside those of a page: some are not late yet, or no more
MAX_KEPT: Final = 64  # worklists; those that were made longest ago are dropped
LATE: Final = frozenset({State.STALE, State.CONFIGURED_NO_DATA})
_AHEAD: Final = timedelta(seconds=MAX_COUNTS_AGE_SECONDS + 1)


class KeptWorklists:
    """Reads first pages of worklists without filters."""

    def __init__(self, health: HealthStatements) -> None:
        self._health = health
        self._kept: KeptAnswers[ReadWorklist] = KeptAnswers(MAX_KEPT)

    async def load_page(
        self, allowed: Sequence[str] | None, query: HealthQuery, max_age: float
    ) -> ReadPage | None:
        """Return the page, from keys that are at most so many seconds old.

        None if it cannot be had from keys: then it has to be read from all devices.
        """
        if not _is_first_page(query):
            return None
        found, read = await self._read(allowed, query, max_age)
        if read.changes != found.changes:  # the keys are dropped now
            found, read = await self._read(allowed, query, max_age)
        wanted = query.limit + SPARE_KEYS
        at = read.page.evaluated_at
        if read.changes != found.changes or at - found.read_at > _AHEAD:
            return None
        find_state = Judge(at).find_state
        late = [facts for facts in read.page.rows if find_state(facts) in (query.states or ())]
        seen_all = len(found.keys) <= wanted and len(found.keys) < MAX_KEYS
        if len(late) < query.limit and not seen_all:
            return None
        since = {(key.workspace_id, key.device_id): key.since for key in found.keys[:wanted]}
        if any(facts.away_since != since[_id(facts)] for facts in late):
            return None  # out of order
        return read._replace(page=read.page._replace(rows=late[: query.limit]))

    async def _read(
        self, allowed: Sequence[str] | None, query: HealthQuery, max_age: float
    ) -> tuple[ReadWorklist, ReadPage]:
        """Return the keys, and the devices of the first of them.

        Keys that are not of the devices' configuration are dropped.
        """
        question = configuration_key(allowed, query), query.states
        whole = query._replace(limit=MAX_KEYS)
        find_keys = partial(self._health.list_worklist, allowed, whole, _AHEAD)
        found = await self._kept.find(question, max_age, find_keys)
        first = found.keys[: query.limit + SPARE_KEYS]
        read = await self._health.load_devices(allowed, query, first)
        if read.changes != found.changes:
            self._kept.drop(question, found)
        return found, read


def _id(facts: HealthFacts) -> tuple[str, str]:
    return facts.device.workspace_id, facts.device.device_id


def _is_first_page(query: HealthQuery) -> bool:
    """Return whether the query is for the beginning of a worklist, as far as keys are kept."""
    plain = HealthQuery(
        states=query.states,
        order="silence",
        limit=query.limit,
        with_inactive=query.with_inactive,
        by_read_owner=query.by_read_owner,
        with_counts=query.with_counts,
        counts_max_age=query.counts_max_age,
    )
    return (
        query == plain
        and query.states is not None
        and query.states <= LATE
        and query.limit + SPARE_KEYS <= MAX_KEYS
    )
