"""Which connections the cutover flags of a workspace let us ask.

Owns the one rule behind poll cycles, streams and health, and its words. Pure. What clients send is
accepted under any flags.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from domain.cutover import Cutover
    from domain.model import ProviderConnection

LEGACY_COLLECTS: Final = "the legacy system collects (poll_owner is legacy)"


def why_not_asked(connection: ProviderConnection, flags: Cutover) -> str | None:
    """Return why the flags leave the connection out; None if they do not.

    The provider mode does not concern connections over which clients send.
    """
    if not flags.is_collecting:
        return LEGACY_COLLECTS
    if connection.transport == "push" or flags.asks(simulated=connection.simulated):
        return None
    kind = "simulated" if connection.simulated else "real"
    return f"the connection is {kind}, and provider_mode is {flags.provider_mode}"


def under_flags(connection: ProviderConnection, flags: Cutover) -> ProviderConnection:
    """Return the connection as it is under the flags: inactive if they leave it out."""
    if connection.active and why_not_asked(connection, flags) is not None:
        return replace(connection, active=False)
    return connection
