"""The secrets that a provider connection may refer to, and the only way to read them.

Owns the rule which references are allowed. A connection names a secret and the address that the
secret is sent to. If it could name anything that this process can read, it could send away the
database's password or another service's key. So it may refer only to variables named for the
purpose, and to files in one folder.

Reading never blocks the loop: a file is read in one of READERS threads, within a deadline. A thread
that hangs for good in a dead mount keeps its place. When all places are taken, no file can be read,
and everything else goes on.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import trio

from runtime.scrubbing import Scrubber
from runtime.settings import FREE_NAMES, SecretForbidden, SecretReference, SecretUnavailable

if TYPE_CHECKING:
    from pathlib import Path

ALLOWED_VARIABLES: Final = f"LASTHEARD_{FREE_NAMES}"
READERS: Final = 4
READ_SECONDS: Final = 3.0
CHECK_SECONDS: Final = 1.0  # for a read within a request, which must not wait longer


class CredentialReader:
    """Resolves references of connections: `env:LASTHEARD_SECRET_…`, or `file:` in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readers = trio.CapacityLimiter(READERS)

    async def resolve(self, reference: str, *, seconds: float = READ_SECONDS) -> str:
        """Return the secret, read again each time (it may rotate), within so many seconds.

        Raises SecretForbidden for a reference that no connection may have, and SecretUnavailable
        for a secret that cannot be read now.
        """
        secret = SecretReference(reference)
        if secret.kind == "env":
            if not secret.target.startswith(ALLOWED_VARIABLES):
                raise self._forbidden(secret)
            return secret.resolve()
        try:
            return await self._read(secret, seconds)
        except SecretForbidden as refusal:
            raise self._forbidden(secret) from refusal

    async def explain_unavailable(self, reference: str) -> str | None:
        """Return why the reference cannot be used now, or None when it can.

        Raises SecretForbidden for a reference that no connection may have. Waits CHECK_SECONDS at
        most.
        """
        try:
            await self.resolve(reference, seconds=CHECK_SECONDS)
        except SecretForbidden:
            raise
        except SecretUnavailable as fault:
            return str(fault)
        return None

    async def scrubber_of(self, reference: str | None) -> Scrubber | None:
        """Return a scrubber that removes this secret from samples; None if it is not readable."""
        if reference is None:
            return Scrubber()
        try:
            return Scrubber(await self.resolve(reference, seconds=CHECK_SECONDS))
        except SecretUnavailable:
            return None

    def is_of_workspace(self, reference: str, workspace_id: str) -> bool:
        """Return whether the text of `reference` names a file in the workspace's folder."""
        secret = SecretReference(reference)
        parts = self._parts_within(secret) if secret.kind == "file" else ()
        return len(parts) > 1 and parts[0] == workspace_id

    async def _read(self, secret: SecretReference, seconds: float) -> str:
        read = partial(secret.resolve, folder=self._folder)
        with trio.move_on_after(seconds):
            return await trio.to_thread.run_sync(
                read, limiter=self._readers, abandon_on_cancel=True
            )
        if not self._parts_within(secret):  # not read, but its text shows that it is forbidden
            raise self._forbidden(secret)
        raise SecretUnavailable(
            f"the secret {secret} cannot be read now: no answer within {seconds:g} s"
        )

    def _parts_within(self, secret: SecretReference) -> tuple[str, ...]:
        """Return the path from the folder to the file; () if it leads elsewhere or has a `..`."""
        base = PurePosixPath(os.path.abspath(self._folder))
        path = base / secret.target
        return (
            path.relative_to(base).parts if ".." not in path.parts and base in path.parents else ()
        )

    def _forbidden(self, secret: SecretReference) -> SecretForbidden:
        return SecretForbidden(
            f"{secret} is out of bounds: a connection may refer to variables named "
            f"{ALLOWED_VARIABLES}…, and to files in {self._folder} (LASTHEARD_CREDENTIALS_DIR), "
            "by their path within it: file:NAME"
        )
