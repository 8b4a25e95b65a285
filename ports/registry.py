"""Commands and queries of the configuration: workspaces, connections, devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from domain.changes import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.assignments import DeviceAssignment
    from domain.changes import Author
    from domain.model import Device, Policy, ProviderConnection, Workspace
    from domain.registry import (
        Answer,
        Archived,
        Conflict,
        DeviceDraft,
        Moved,
        NotFound,
        PolicyDraft,
        RegistryIsLegacy,
        Stored,
        Swap,
    )
    from domain.start_offsets import Synchronized
    from ports.reads import EventRow
    from runtime.scrubbing import Scrubber

MAX_SWAP_EVENTS: Final = 10_000  # counting stops there
MAX_LISTED_EVENTS: Final = 100


class Swapped(NamedTuple):
    """A device after a swap, and what was accepted under its former assignment after its end.

    `event_count` is exact below MAX_SWAP_EVENTS. `events` has the newest MAX_LISTED_EVENTS.
    `former` is None if the device has had one assignment only.
    """

    device: Device
    assignment: DeviceAssignment
    former: DeviceAssignment | None
    event_count: int = 0
    events: tuple[EventRow, ...] = ()


class Registry(Protocol):
    """Commands and queries on what is configured.

    They go to the database, never to process memory (FR-013).

    A command that changes something writes what it changed, and `by` whom, into the history of
    changes (ports/changes.py), in the same transaction. It also raises the revision of what it
    changed, by one. A command may say which revision it expects, ABSENT for a thing that must not
    exist yet; for another one it is refused with `Moved`. None expects any.

    What was archived stays readable and is never changed: a command is refused with `Archived`.
    Devices that are synchronised from the legacy system are changed by nobody else: a command on
    them is refused with `RegistryIsLegacy`.

    Lists are in key order after `after`, at most `limit`; `workspaces=None` means all. `archived`
    asks for archived ones instead of those in use.
    """

    async def put_workspace(
        self,
        workspace_id: str,
        *,
        name: str,
        active: bool | None = None,
        poll_interval_seconds: int | None = None,
        policy: Policy | None = None,
        time_zone: str | None = None,
        start_offset_seconds: int | None = None,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> Stored | Conflict | Moved | Archived | Synchronized:
        """None leaves a part as it is, or gives a new workspace the default."""

    async def put_policy(
        self,
        workspace_id: str,
        *,
        draft: PolicyDraft,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> Stored | NotFound | Conflict | Moved | Archived | Synchronized:
        """Store the whole policy. `expected` is a revision of its own, which is counted apart."""

    async def archive_workspace(
        self, workspace_id: str, *, expected: int | None = None, by: Author = SYSTEM
    ) -> Workspace | NotFound | Conflict | Moved:
        """Archive an inactive workspace, and retire its devices. Idempotent."""

    async def find_free_ordinal(self, poll_interval_seconds: int) -> int:
        """Return the ordinal that a workspace would take now if it moved to this interval."""

    async def find_synchronized(
        self, stored: Workspace | None, wanted: Workspace
    ) -> Synchronized | None:
        """Return why `wanted` would be refused now for the starts of others, or None.

        `stored` is what the workspace is at present.
        """

    async def get_workspace(self, workspace_id: str) -> Workspace | None: ...
    async def list_workspaces(
        self,
        *,
        workspaces: frozenset[str] | None,
        after: str | None,
        limit: int,
        archived: bool = False,
    ) -> list[Workspace]: ...

    async def put_provider(
        self,
        connection: ProviderConnection,
        *,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> Stored | NotFound | Conflict | Moved | Archived: ...
    async def archive_provider(
        self,
        workspace_id: str,
        provider_id: str,
        *,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> ProviderConnection | NotFound | Conflict | Moved | Archived:
        """Archive a connection without active devices, and switch it off. Idempotent."""

    async def get_provider(
        self, workspace_id: str, provider_id: str
    ) -> ProviderConnection | None: ...
    async def list_providers(
        self, workspace_id: str, *, after: str | None, limit: int | None, archived: bool = False
    ) -> list[ProviderConnection]:
        """`limit=None` means all."""

    async def put_devices(
        self,
        workspace_id: str,
        drafts: Sequence[DeviceDraft],
        *,
        may_swap: bool = False,
        digest: str | None = None,
        by: Author = SYSTEM,
    ) -> list[Answer] | NotFound | Archived | RegistryIsLegacy:
        """Store all drafts, or none if one is refused.

        `digest` makes them an import: one entry of the history with this SHA-256 stands for all.

        A retired device is activated anew: that begins another assignment. An active device gets
        another unit or vehicle only if the caller `may_swap`; otherwise its draft is a Conflict.
        Each draft says itself which revision it expects.
        """

    async def swap_device(
        self,
        workspace_id: str,
        device_id: str,
        swap: Swap,
        *,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> Swapped | NotFound | Conflict | Moved | Archived | RegistryIsLegacy:
        """Give an active device another unit or vehicle under the same device_id.

        May be sent again: a swap to what the device has already changes nothing.
        """

    async def retire_device(
        self,
        workspace_id: str,
        device_id: str,
        *,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> Device | NotFound | Moved | RegistryIsLegacy:
        """Idempotent: a retired device stays retired at its first instant."""

    async def get_device(self, workspace_id: str, device_id: str) -> Device | None: ...
    async def list_devices(
        self,
        workspace_id: str,
        *,
        include_retired: bool,
        after: str | None,
        limit: int,
        tag: str | None = None,
    ) -> list[Device]:
        """`tag=None` means all; otherwise only devices that have this tag."""
        ...

    async def request_cycle(
        self, workspace_id: str, trace_id: str, *, by: Author = SYSTEM
    ) -> str | NotFound | Conflict | Archived:
        """Request a run now; return the cycle_id.

        A request that still waits is answered again, not doubled. An inactive workspace runs none,
        nor does one without a connection that a cycle would ask.
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
