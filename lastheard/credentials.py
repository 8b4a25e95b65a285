"""Which secrets a provider connection may refer to.

Owns the fence. Whoever may configure a connection names both a reference and the address the secret is sent to, so a
reference to anything this process can read would give that away: the database's password, another service's key. Only
variables named for the purpose, and files in one folder, can be referred to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.settings import FREE_NAMES, SecretReference, SecretUnavailable

if TYPE_CHECKING:
    from pathlib import Path

ALLOWED_VARIABLES = f"LASTHEARD_{FREE_NAMES}"


class Credentials:
    """Resolves references of provider connections: `env:LASTHEARD_SECRET_…`, or `file:` inside `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def resolve(self, reference: str) -> str:
        """The secret, read anew each time (it may rotate). Blocks for a file's read; raises SecretUnavailable."""
        secret = SecretReference(reference)
        if secret.kind == "env" and not secret.target.startswith(ALLOWED_VARIABLES):
            raise SecretUnavailable(
                f"{secret} is out of bounds: a connection may refer to variables named {ALLOWED_VARIABLES}…",
                permanent=True,
            )
        # Resolved on both sides: neither .. nor a link leads out.
        if secret.kind == "file" and not self._folder.joinpath(secret.target).resolve().is_relative_to(
            self._folder.resolve()
        ):
            raise SecretUnavailable(
                f"{secret} is out of bounds: a connection may refer to files in {self._folder} "
                "(LASTHEARD_CREDENTIALS_DIR)",
                permanent=True,
            )
        return secret.resolve()
