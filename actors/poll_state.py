"""What a workspace knows of its polled connections from one cycle to the next.

Owns the cache, not the truth: cursors and rosters are stored with the data that they cover.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.rosters import DEFAULT_ROSTERS, Rosters
from runtime.logs import EdgeLog, get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.model import ProviderConnection
    from ports.providers import ProviderFault


# One object for all workspaces: each empty frozenset takes 216 bytes.
_NO_CONNECTIONS: Final[frozenset[str]] = frozenset()


class PollState:
    """Cache of what a workspace knows of its connections from one cycle to the next.

    `silent` are the connections with a device that is stale or was never heard.
    """

    def __init__(self, cursors: Mapping[str, str], rosters: Rosters | None = None) -> None:
        self.cursors = dict(cursors)
        self.rosters = rosters or Rosters({}, DEFAULT_ROSTERS)
        self.silent = _NO_CONNECTIONS
        self._troubles: dict[str, EdgeLog] = {}  # by connection, while one lasts

    def note_silent(self, found: frozenset[str]) -> None:
        """Note the connections that have a silent device now."""
        self.silent = found or _NO_CONNECTIONS

    def note_fault(self, connection: ProviderConnection, fault: ProviderFault) -> None:
        """Log the fault if it is the first of a trouble."""
        edge = self._troubles.get(connection.provider_id)
        if edge is None:
            log = get_logger("cycle").bind(
                workspace_id=connection.workspace_id, provider_id=connection.provider_id
            )
            edge = self._troubles[connection.provider_id] = EdgeLog(log, "provider_call")
        edge.failed(fault, fault=str(fault.fault))

    def note_success(self, connection: ProviderConnection) -> None:
        """Log the end of a trouble, if there was one."""
        edge = self._troubles.pop(connection.provider_id, None)
        if edge is not None:
            edge.recovered()
