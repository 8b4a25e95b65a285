"""What a workspace knows of its polled connections from one cycle to the next.

Owns the cache, not the truth: cursors and rosters are stored with the data that they cover.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.rosters import DEFAULT_ROSTERS, Rosters
from runtime.logs import EdgeLog, get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.model import ProviderConnection
    from ports.providers import ProviderFault


class PollState:
    """Cache of what a workspace knows of its connections from one cycle to the next.

    `silent` are the connections with a device that is stale or was never heard.
    """

    def __init__(self, cursors: Mapping[str, str], rosters: Rosters | None = None) -> None:
        self.cursors = dict(cursors)
        self.rosters = rosters or Rosters({}, DEFAULT_ROSTERS)
        self.silent: frozenset[str] = frozenset()
        self._edges: dict[str, EdgeLog] = {}

    def edge_of(self, connection: ProviderConnection) -> EdgeLog:
        """Return the log of this connection's troubles, kept over many cycles.

        It writes one line when a trouble begins and one when it ends.
        """
        if connection.provider_id not in self._edges:
            log = get_logger("cycle").bind(
                workspace_id=connection.workspace_id, provider_id=connection.provider_id
            )
            self._edges[connection.provider_id] = EdgeLog(log, "provider_call")
        return self._edges[connection.provider_id]

    def note_fault(self, connection: ProviderConnection, fault: ProviderFault) -> None:
        """Log the fault if it is the first of a trouble."""
        self.edge_of(connection).failed(fault, fault=str(fault.fault))
