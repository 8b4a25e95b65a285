"""Commands and queries of the configuration: workspaces, connections, devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.model import Device, Policy, ProviderConnection, Workspace
    from domain.registry import Conflict, DeviceDraft, NotFound, Stored
    from runtime.scrubbing import Scrubber


class Registry(Protocol):
    """Commands and queries on what is configured.

    They go to the database, never to process memory (FR-013).

    Lists are in key order after `after`, at most `limit`; `workspaces=None` means all.
    """

    async def put_workspace(
        self,
        workspace_id: str,
        *,
        name: str,
        active: bool,
        poll_interval_seconds: int,
        policy: Policy,
    ) -> Stored | Conflict: ...
    async def get_workspace(self, workspace_id: str) -> Workspace | None: ...
    async def list_workspaces(
        self, *, workspaces: frozenset[str] | None, after: str | None, limit: int
    ) -> list[Workspace]: ...

    async def put_provider(
        self, connection: ProviderConnection
    ) -> Stored | NotFound | Conflict: ...
    async def get_provider(
        self, workspace_id: str, provider_id: str
    ) -> ProviderConnection | None: ...
    async def list_providers(
        self, workspace_id: str, *, after: str | None, limit: int | None
    ) -> list[ProviderConnection]:
        """`limit=None` means all."""

    async def put_devices(
        self, workspace_id: str, drafts: Sequence[DeviceDraft]
    ) -> list[Stored | NotFound | Conflict] | NotFound:
        """Store all drafts, or none if one is refused.

        A retired device is activated anew.
        """

    async def retire_device(self, workspace_id: str, device_id: str) -> Device | NotFound:
        """Idempotent: a retired device stays retired at its first instant."""

    async def get_device(self, workspace_id: str, device_id: str) -> Device | None: ...
    async def list_devices(
        self, workspace_id: str, *, include_retired: bool, after: str | None, limit: int
    ) -> list[Device]: ...

    async def request_cycle(self, workspace_id: str, trace_id: str) -> str | NotFound:
        """Request a run now; return the cycle_id.

        A request that still waits is answered again, not doubled.
        """


class Credentials(Protocol):
    """The secrets that provider connections may refer to. Never blocks, never returns a secret."""

    def is_of_workspace(self, reference: str, workspace_id: str) -> bool:
        """Return whether the reference is to a file in the workspace's folder, by text alone."""
        ...

    async def explain_unavailable(self, reference: str) -> str | None:
        """Return why the reference cannot be used now, or None when it can.

        Raises SecretForbidden if it never can.
        """
        ...

    async def scrubber_of(self, reference: str | None) -> Scrubber | None:
        """Return what takes this secret out of a sample, or None when the secret cannot be read."""
        ...
