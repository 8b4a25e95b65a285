"""What the pages of one run say about devices and about the connection, as statements and facts.

Owns what a run that ended proves: which devices it named, which it left out, whether everything was
read. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from domain.model import ConnectionFact, ConnectionFactKind, ProviderStatement, StatementKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from domain.model import Device
    from ports.providers import Page


class _Saying(NamedTuple):
    kind: StatementKind
    detail: str | None
    begun_at: datetime


class RunStatements:
    """The statements of one run about the devices that were configured when it began.

    Call `read` for each page in order, then `end` and `facts` with the last one. Nothing is said
    before that: while newer pages wait, a page of old records does not answer about its vehicles.
    """

    def __init__(
        self, connection: tuple[str, str], devices: Mapping[str, Device], begun_at: datetime
    ) -> None:
        self._connection = connection
        self._devices = devices
        self._begun_at = begun_at
        self._said: dict[str, _Saying] = {}  # by external id; the last page that mentions it
        self._is_readable = False  # something was read, or the device of an unreadable record
        self._nameless = False  # a record could not be read, nor its device be told

    def read(self, page: Page, begun_at: datetime) -> None:
        """Note whom a page names, or has an error for. `begun_at` is when its call was begun."""
        self._is_readable |= bool(page.samples or page.answered or page.errors)
        self._nameless |= _has_nameless(page)
        named = _Saying(StatementKind.NAMED, None, begun_at)
        self._said.update(dict.fromkeys(page.answered, named))
        for external_id, detail in page.errors.items():
            self._said[external_id] = _Saying(StatementKind.ERROR, detail, begun_at)

    def end(self, last: Page, at: datetime) -> tuple[ProviderStatement, ...]:
        """Return the statements of the run, which ended at `at`.

        A roster answer leaves out the devices that it does not mention. It leaves out none if a
        record could not be read, nor its device be told: it may be of one of them.
        """
        by_saying: defaultdict[_Saying, list[str]] = defaultdict(list)
        for external_id, saying in sorted(self._said.items()):
            if external_id in self._devices:
                by_saying[saying].append(external_id)
        if last.is_roster and not self._nameless:
            saying = _Saying(StatementKind.LEFT_OUT, None, self._begun_at)
            if missing := self._devices.keys() - self._said.keys():
                by_saying[saying] += sorted(missing)
        return tuple(
            self._statement(saying, external_ids, at) for saying, external_ids in by_saying.items()
        )

    def facts(self, last: Page, at: datetime) -> tuple[ConnectionFact, ...]:
        """Return the facts of a run that has come to its end.

        A run of which nothing could be read answers about no device.
        """
        kinds = [ConnectionFactKind.CALL_SUCCEEDED]
        if self._nameless and not self._is_readable:
            kinds.append(ConnectionFactKind.UNREADABLE)
        else:
            kinds.append(ConnectionFactKind.READABLE)
            if last.is_complete or last.is_roster:
                kinds.append(ConnectionFactKind.COMPLETE)
            if last.is_roster:
                kinds.append(ConnectionFactKind.ROSTER)
        return tuple(
            ConnectionFact(*self._connection, kind, at, begun_at=self._begun_at) for kind in kinds
        )

    def _statement(
        self, saying: _Saying, external_ids: Iterable[str], at: datetime
    ) -> ProviderStatement:
        kind, detail, begun_at = saying
        device_ids = tuple(sorted(self._devices[each].device_id for each in external_ids))
        return ProviderStatement(self._connection[0], kind, device_ids, begun_at, at, detail)


def _has_nameless(page: Page) -> bool:
    if any(record.external_id is None for record in page.malformed):
        return True
    return page.malformed_count > 0 and not page.malformed
