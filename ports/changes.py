"""The history of what people changed, as it was at a past instant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from domain.changes import ChangeKind, StoredChange


class ChangeHistory(Protocol):
    async def find_as_of(
        self, workspace_id: str, kind: ChangeKind, at: datetime
    ) -> list[StoredChange]:
        """Return the newest entry at or before the instant of each subject, by subject.

        Its `after` is how the subject was configured then. A subject without an entry was not
        configured yet, or its history begins later: release 0.1.0 kept none.
        """
