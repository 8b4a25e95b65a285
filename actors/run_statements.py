"""What the pages of one run say about devices and about the connection, as statements and facts.

Owns what a run that ended proves: which devices it named, which it left out, whether everything was
read. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from domain.model import ConnectionFact, ConnectionFactKind, ProviderStatement, StatementKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from domain.model import Device
    from ports.providers import Page


class RunStatements:
    """The statements of one run about the devices that were configured when it began.

    Call `read` for each page in order, then `left_out` and `facts` for the last one.
    """

    def __init__(
        self, connection: tuple[str, str], devices: Mapping[str, Device], begun_at: datetime
    ) -> None:
        self._connection = connection
        self._devices = devices
        self._begun_at = begun_at
        self._mentioned: set[str] = set()  # external ids, named or with an error
        self._is_readable = False  # something was read, or the device of an unreadable record
        self._nameless = False  # a record could not be read, nor its device be told

    def read(self, page: Page, begun_at: datetime, at: datetime) -> tuple[ProviderStatement, ...]:
        """Return the page's statements. `begun_at` is when its own call was begun."""
        self._is_readable |= bool(page.samples or page.answered or page.errors)
        self._nameless |= _has_nameless(page)
        named = self._device_ids(page.answered - page.errors.keys())
        by_detail: defaultdict[str, list[str]] = defaultdict(list)
        for external_id, detail in page.errors.items():
            by_detail[detail].append(external_id)
        self._mentioned |= page.answered | page.errors.keys()
        statements = [self._statement(StatementKind.NAMED, named, begun_at, at)] if named else []
        for detail, external_ids in by_detail.items():
            if failed := self._device_ids(external_ids):
                error = self._statement(StatementKind.ERROR, failed, begun_at, at)
                statements.append(error._replace(detail=detail))
        return tuple(statements)

    def left_out(self, last: Page, at: datetime) -> tuple[ProviderStatement, ...]:
        """Return the statement about the devices that a roster answer does not name.

        There is none if a record could not be read, nor its device be told: it may be of one of
        them.
        """
        missing = self._device_ids(self._devices.keys() - self._mentioned)
        if not last.is_roster or self._nameless or not missing:
            return ()
        return (self._statement(StatementKind.LEFT_OUT, missing, self._begun_at, at),)

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

    def _device_ids(self, external_ids: Iterable[str]) -> tuple[str, ...]:
        known = self._devices.keys() & set(external_ids)
        return tuple(sorted(self._devices[external_id].device_id for external_id in known))

    def _statement(
        self, kind: StatementKind, device_ids: tuple[str, ...], begun_at: datetime, at: datetime
    ) -> ProviderStatement:
        return ProviderStatement(self._connection[0], kind, device_ids, begun_at, at)


def _has_nameless(page: Page) -> bool:
    if any(record.external_id is None for record in page.malformed):
        return True
    return page.malformed_count > 0 and not page.malformed
