"""The one exception family for failures of the world around this process.

Owns `EnvironmentFault`, the base of every failure of network, database, provider, file system or configuration
in the house. It must never stand for an expected outcome (those are returned values) or for a bug (those are
ordinary exceptions, which crash the actor and are decided by the supervisor).
"""

from __future__ import annotations


class EnvironmentFault(Exception):
    """Something outside this process failed; the caller backs off and tries again.

    Made at the border where the foreign exception is caught, with `raise … from error`, so that `__cause__` keeps
    the original. Subclasses are named for what happened (`DatabaseAway`, `ProviderRefused`) and may set `permanent`
    as a class attribute.
    """

    permanent: bool = False
    """True when trying again without a change from outside is pointless (wrong credentials, an unknown schema)."""

    retry_after: float | None = None
    """Seconds that the other side asked us to wait, or None when it said nothing."""

    def __init__(self, message: str = "", *, permanent: bool | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        if permanent is not None:
            self.permanent = permanent
        if retry_after is not None:
            self.retry_after = retry_after
