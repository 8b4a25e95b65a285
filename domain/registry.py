"""The rules of configuration: the answers to commands, and which commands are refused.

The database's constraints are a second guard. The rules for devices are in `device_changes`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from domain.asking import LEGACY_COLLECTS, under_flags
from domain.changes import LEGACY_SYNC
from domain.cutover import RegistrySource
from domain.model import Policy, PolicyOverride, Workspace
from domain.start_offsets import ExplicitPlace, Synchronized, check_offset, refuse_synchronized
from domain.thresholds import check_override, check_policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from domain.changes import Author
    from domain.cutover import Cutover
    from domain.model import Device, ProviderConnection
    from domain.start_offsets import OtherStarts
    from domain.thresholds import ThresholdFault

MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 2, 3600
DEFAULT_INTERVAL_SECONDS: Final = 300


# The revision of a thing that does not exist.
ABSENT: Final = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """A command was carried out; `created` tells a new thing from a changed one.

    `swapped` says that an active device got another unit or vehicle. `revision` is that of the
    thing after the command.
    """

    created: bool
    swapped: bool = False
    revision: int = field(default=1, compare=False)


class NotFound(NamedTuple):
    """A thing that the command names does not exist, or the key may not know of it."""

    what: str


class Conflict(NamedTuple):
    """The command contradicts a rule or what is stored. `field` names the field at fault."""

    detail: str
    field: str


class Moved(NamedTuple):
    """The thing does not have the revision that the command expects. Nothing was stored."""

    revision: int


class RegistryIsLegacy(NamedTuple):
    """Devices are synchronised from the legacy system, so only that changes them."""

    workspace_id: str


class Archived(NamedTuple):
    """The command names a workspace or a connection that was archived. Nothing was stored."""

    what: str


Answer = Stored | NotFound | Conflict | Moved
# `Moved` is none: the command is judged again.
Refusal = NotFound | Conflict | Archived | Synchronized | RegistryIsLegacy


class DeviceDraft(NamedTuple):
    """A device as a client configures it.

    The database sets activated_at unless it is given. `expected` is the revision that the client
    has seen, ABSENT for a device that must not exist yet; None expects any. `tags=None` leaves them
    as they are, or gives a new device none.
    """

    device_id: str
    provider_id: str
    external_id: str
    vehicle_id: str
    vehicle_name: str
    delayed_after_seconds: float | None = None
    stale_after_seconds: float | None = None
    grace_seconds: float | None = None
    activated_at: datetime | None = None
    effective_at: datetime | None = None  # of a swap
    expected: int | None = None
    tags: tuple[str, ...] | None = None

    @property
    def override(self) -> PolicyOverride:
        return PolicyOverride(
            self.delayed_after_seconds, self.stale_after_seconds, self.grace_seconds
        )


class WorkspaceDraft(NamedTuple):
    """A workspace as a client configures it. None leaves a part as it is, or gives the default."""

    name: str
    active: bool | None = None
    poll_interval_seconds: int | None = None
    policy: Policy | None = None
    time_zone: str | None = None
    start_offset_seconds: int | None = None

    def apply(self, stored: Workspace) -> Workspace:
        """Return the workspace as the draft makes it."""
        given = {name: value for name, value in self._asdict().items() if value is not None}
        return replace(stored, **given)


def make_workspace(workspace_id: str, draft: WorkspaceDraft) -> Workspace:
    """Return a new workspace: active, with the default policy, unless the draft says otherwise."""
    plain = Workspace(workspace_id, draft.name, True, None, DEFAULT_INTERVAL_SECONDS, Policy())
    return draft.apply(plain)


class Swap(NamedTuple):
    """Another unit or vehicle for an active device. None leaves a part as it is.

    `effective_at` is when the swap happened: now, if it is not given.
    """

    provider_id: str | None = None
    external_id: str | None = None
    vehicle_id: str | None = None
    vehicle_name: str | None = None
    effective_at: datetime | None = None


def check_workspace(workspace: Workspace) -> Conflict | None:
    """Return the refusal that the table's constraints would make, with the field, or None."""
    interval = workspace.poll_interval_seconds
    if not MIN_INTERVAL_SECONDS <= interval <= MAX_INTERVAL_SECONDS:
        limits = f"from {MIN_INTERVAL_SECONDS} to {MAX_INTERVAL_SECONDS} seconds"
        return Conflict(f"must be {limits}", "poll_interval_seconds")
    return refuse_faults(
        check_offset(workspace.start_offset_seconds, interval) + check_policy(workspace.policy)
    )


def place_to_judge(stored: Workspace | None, wanted: Workspace) -> ExplicitPlace | None:
    """Return the explicit place that the workspace would move to; None if it moves to none.

    A workspace that stays at its place is not judged again, even if the limit has become lower.
    """
    offset = wanted.start_offset_seconds
    if not wanted.active or offset is None:
        return None
    if stored is not None and keeps_place(stored, wanted):
        return None
    return ExplicitPlace(wanted.poll_interval_seconds, offset)


def refuse_place(
    stored: Workspace | None, wanted: Workspace, others: OtherStarts
) -> Synchronized | None:
    """Return why the workspace cannot move to its explicit place beside the others."""
    place = place_to_judge(stored, wanted)
    if place is None:
        return None
    is_activation = stored is not None and not stored.active
    return refuse_synchronized(
        place, others, field="active" if is_activation else "start_offset_seconds"
    )


def revision_of(stored: Workspace | ProviderConnection | Device | None) -> int:
    return ABSENT if stored is None else stored.revision


def find_move(revision: int, expected: int | None) -> Moved | None:
    """Return the refusal of a command that expects another revision. None expects any."""
    return None if expected in {None, revision} else Moved(revision)


def count_changes(stored: Workspace, wanted: Workspace) -> Workspace:
    """Return the wanted workspace with its revisions: one more for each part that changes."""
    return replace(
        wanted,
        revision=stored.revision + (_itself(stored) != _itself(wanted)),
        policy_revision=stored.policy_revision + (policy_of(stored) != policy_of(wanted)),
    )


def _itself(workspace: Workspace) -> tuple[str, bool, str]:
    """Return all that may be changed of the workspace and belongs to no policy."""
    return workspace.name, workspace.active, workspace.time_zone


def policy_of(workspace: Workspace) -> tuple[Policy, int, int | None]:
    """Return all that belongs to the workspace's policy: thresholds, interval and offset."""
    return workspace.policy, workspace.poll_interval_seconds, workspace.start_offset_seconds


def refuse_active(workspace: Workspace) -> Conflict | None:
    """Return why an active workspace cannot be archived."""
    if not workspace.active:
        return None
    detail = 'The workspace is active. Switch it off first: PATCH it with {"active": false}.'
    return Conflict(detail, "active")


def refuse_in_use(active_devices: int) -> Conflict | None:
    """Return why a connection with active devices cannot be archived."""
    if active_devices == 0:
        return None
    detail = (
        f"Active devices use the connection: {active_devices}. "
        "Retire them first, or swap them to another connection."
    )
    return Conflict(detail, "active")


def refuse_legacy_devices(workspace: Workspace, by: Author) -> RegistryIsLegacy | None:
    """Return why this author may not change the devices: the synchronisation alone may."""
    if workspace.cutover.device_registry_source is not RegistrySource.LEGACY_SYNC:
        return None
    return None if by.who == LEGACY_SYNC.who else RegistryIsLegacy(workspace.workspace_id)


def refuse_legacy_run(workspace: Workspace) -> Conflict | None:
    """Return why a cycle at once would ask nothing: the legacy system alone collects."""
    if workspace.cutover.is_collecting:
        return None
    detail = (
        f"Nothing would be asked: {LEGACY_COLLECTS}. Set poll_owner to both_shadow or core "
        "(…/cutover) to collect here."
    )
    return Conflict(detail, "poll_owner")


def refuse_run(workspace: Workspace) -> Conflict | None:
    """Return why no cycle of an inactive workspace can be asked for."""
    if workspace.active:
        return None
    detail = (
        f"Workspace {workspace.workspace_id} is switched off, so nothing collects its data. "
        'Switch it on first: PATCH it with {"active": true}.'
    )
    return Conflict(detail, "active")


def refuse_idle(connections: Iterable[ProviderConnection], flags: Cutover) -> Conflict | None:
    """Return why no cycle of a workspace with these connections would ask any provider."""
    present = list(connections)
    if any(under_flags(one, flags).is_asked for one in present):
        return None
    if any(one.is_asked for one in present):
        detail = f"provider_mode is {flags.provider_mode}, which leaves out all active connections."
        return Conflict(detail, "provider_mode")
    if not present:
        return Conflict("The workspace has no connection, so nothing would be asked. Add one.", "")
    if all(one.transport == "push" for one in present):
        detail = "Clients send over the connections of this workspace, so nothing would be asked."
        return Conflict(detail, "transport")
    detail = (
        "All connections that a cycle would ask are switched off. "
        'Switch one on first: PATCH it with {"active": true}.'
    )
    return Conflict(detail, "active")


def keeps_ordinal(stored: Workspace, *, active: bool, poll_interval_seconds: int) -> bool:
    """Return whether the workspace's ordinal stays as it is; an inactive one goes on without one.

    A workspace needs another ordinal when it becomes active, and when it moves to the series of
    another interval.
    """
    if not active:
        return not stored.active
    return stored.active and stored.poll_interval_seconds == poll_interval_seconds


def keeps_place(stored: Workspace, wanted: Workspace) -> bool:
    """Return whether the workspace stays where it is in the schedule, active or not.

    Another offset is another place, though the ordinal stays.
    """
    return keeps_ordinal(
        stored, active=wanted.active, poll_interval_seconds=wanted.poll_interval_seconds
    ) and (not wanted.active or stored.start_offset_seconds == wanted.start_offset_seconds)


class PolicyDraft(NamedTuple):
    """The whole policy of a workspace, as a client configures it."""

    policy: Policy
    poll_interval_seconds: int
    start_offset_seconds: int | None = None

    def apply(self, stored: Workspace) -> Workspace:
        """Return the workspace as the draft makes it."""
        return replace(stored, **self._asdict())


def with_policy(
    stored: Workspace, draft: PolicyDraft, *, free_ordinal: int | None, at: datetime
) -> Workspace:
    """Return the workspace as it would be if the policy were stored at this instant.

    `free_ordinal` is the one that it would take, if it does not keep its own.
    """
    wanted = draft.apply(stored)
    if keeps_place(stored, wanted):
        return wanted
    interval = wanted.poll_interval_seconds
    keeps = keeps_ordinal(stored, active=wanted.active, poll_interval_seconds=interval)
    ordinal = stored.ordinal if keeps else free_ordinal
    return replace(wanted, ordinal=ordinal, scheduled_since=at)


def check_provider(connection: ProviderConnection) -> Conflict | None:
    expected = connection.expected_update_seconds
    if expected is not None and not expected > 0:
        return Conflict("must be above 0", "expected_update_seconds")
    return refuse_faults(check_override(connection.override))


def refuse_faults(faults: Sequence[ThresholdFault]) -> Conflict | None:
    """Return the refusal for the first fault, or None if there is none."""
    return Conflict(faults[0].detail, faults[0].field) if faults else None
