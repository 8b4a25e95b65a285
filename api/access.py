"""What the caller of a request may do, whichever way the caller showed it: by a key or by a JWT."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Access:
    """The scopes and workspaces of one caller. `workspaces` None means all of them.

    `who` is the name of the caller in logs and in the history of changes: the id of a key, or
    `jwt:` and the subject of a JWT. No id of a key has a colon, so neither can pass for the other.
    """

    who: str
    scopes: frozenset[str]
    workspaces: frozenset[str] | None

    def sees(self, workspace_id: str) -> bool:
        return self.workspaces is None or workspace_id in self.workspaces
