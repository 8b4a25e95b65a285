"""The one exception family for failures of the world around this process.

This module owns `EnvironmentFault`, the base of every failure of network, database, provider, file
system or configuration. It must never stand for an expected outcome, which is a returned value, or
for a bug, which is an ordinary exception that crashes the actor and is left to the supervisor.
"""

from __future__ import annotations


class EnvironmentFault(Exception):
    """Something outside this process failed; the caller backs off and tries again.

    It is raised where the foreign exception is caught, with `raise … from error`, so that
    `__cause__` keeps the original. Subclasses are named for what happened (`DatabaseAway`,
    `ProviderRefused`) and may set `permanent` as a class attribute.
    """

    permanent: bool = False
    """True if a retry is useless without a change outside (wrong credentials, unknown schema)."""

    retry_after: float | None = None
    """Seconds that the other side asked us to wait, or None if it did not say."""

    def __init__(
        self, message: str = "", *, permanent: bool | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        if permanent is not None:
            self.permanent = permanent
        if retry_after is not None:
            self.retry_after = retry_after
