"""The history of what people changed: as it was at a past instant, and as the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from domain.changes import ChangeKind, StoredChange


class AuditQuery(NamedTuple):
    """Which entries are listed, newest first; None leaves a filter out.

    `within` leaves the entries of these workspaces; `with_keys` asks for those of keys too, if they
    are limited to some of these.
    `since` is included and `until` is not. Devices of an import are listed only if `part_of` names
    its entry. `before` is the id of the last entry of the page before.
    """

    within: frozenset[str] | None
    with_keys: bool = False
    kind: str | None = None
    subject: str | None = None
    who: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    part_of: int | None = None
    before: int | None = None
    most: int = 100


class AuditEntry(NamedTuple):
    """An entry, and the name of the key that gave the command: None if no key of today did."""

    change: StoredChange
    key_name: str | None


class ChangeHistory(Protocol):
    async def find_as_of(
        self, workspace_id: str, kind: ChangeKind, at: datetime
    ) -> list[StoredChange]:
        """Return the newest entry at or before the instant of each subject, by subject.

        Its `after` is how the subject was configured then. A subject without an entry was not
        configured yet, or its history begins later: release 0.1.0 kept none.
        """
        ...

    async def list_changes(self, query: AuditQuery) -> list[AuditEntry]: ...
