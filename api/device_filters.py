"""The filters that lists of health share: which devices of a fleet a list shows.

Some hold for stored facts, so the store applies them. Reason and party are known of a verdict only,
so devices are judged until a page is full.
"""

import hashlib
from collections.abc import Callable
from typing import Annotated

from pydantic import Field, StringConstraints

from api.csv_answers import CsvQuery
from api.shapes import PRINTABLE, Identifier
from api.tags import TagFilter
from domain.ageing import AgeGroup
from domain.health import Verdict
from domain.health_reason import HealthReason, Party
from ports.reads import EXACT_DEVICES, MAX_COUNTS_AGE_SECONDS, DeviceFilter

MAX_SEARCH = 100
# A hundred workspace ids or many words would not fit into a cursor.
_DIGEST_CHARACTERS = 32

Search = Annotated[
    str, StringConstraints(strip_whitespace=True), Field(max_length=MAX_SEARCH, pattern=PRINTABLE)
]


class DeviceFilterQuery(CsvQuery):
    """The filters of a list of devices with their health. All of those given must hold.

    They do not hold for the counts beside the list.
    """

    counts_max_age: float | None = Field(
        None,
        ge=0,
        le=MAX_COUNTS_AGE_SECONDS,
        description="how many seconds old `counts` may be; 0: none. Unless given: 0 for up to "
        f"{EXACT_DEVICES:,} devices, {MAX_COUNTS_AGE_SECONDS:g} for more. `items` are never old",
    )
    tag: TagFilter = None
    provider_id: Identifier | None = Field(None, description="only devices of this connection")
    search: Search | None = Field(
        None,
        description="only devices with this text in their vehicle's id or name, in their own id or "
        "their external id; small and capital letters are the same",
    )
    age: AgeGroup | None = Field(
        None, description="only devices that have been away for so long, by the worklist's order"
    )
    reason: tuple[HealthReason, ...] = Field(
        (), description="only devices with one of these reasons; repeat it for more"
    )
    party: tuple[Party, ...] = Field(
        (), description="only devices whose reason is one of these parties'; repeat it for more"
    )

    @property
    def devices(self) -> DeviceFilter:
        """Return what the store is asked for."""
        search = None if self.search is None else self.search.lower()
        return DeviceFilter(self.tag, self.provider_id, search, self.age)

    @property
    def accepts(self) -> Callable[[Verdict], bool] | None:
        """Return the condition on a verdict; None if every verdict is wanted."""
        reasons, parties = frozenset(self.reason), frozenset(self.party)
        if not reasons and not parties:
            return None
        return lambda verdict: (
            (not reasons or verdict.reason in reasons) and (not parties or verdict.party in parties)
        )

    @property
    def digest(self) -> str:
        """Return what cursors say of these filters; the same text for the same filters."""
        asked = (*self.devices, sorted(self.reason), sorted(self.party))
        return digest(*asked)


def digest(*parts: object) -> str:
    """Return a short text that stands for these parts in a cursor."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:_DIGEST_CHARACTERS]
