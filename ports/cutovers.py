"""The cutover of a workspace: flags, legacy system, settings of gate and guardrails."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from domain.changes import SYSTEM
from domain.cutover import NEW_CUTOVER
from domain.guardrails import GuardrailSettings
from domain.parity_gate import GateSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from domain.changes import Author
    from domain.cutover import Cutover, CutoverRefusal
    from domain.model import SessionRef, Workspace
    from domain.parity_gate import GateView, WorstDevice
    from domain.registry import Archived, Moved, NotFound, Stored
    from ports.guardrails import GuardrailStore
    from ports.legacy import LegacyConfiguration
    from ports.legacy_syncs import LegacySyncStore
    from ports.parity import ParityStore


class CutoverDraft(NamedTuple):
    """The whole cutover of a workspace as a client sets it. `legacy` is None if there is none."""

    flags: Cutover
    legacy: LegacyConfiguration | None
    gate: GateSettings
    guardrails: GuardrailSettings


def new_draft(flags: Cutover = NEW_CUTOVER) -> CutoverDraft:
    """Return these flags, without a legacy system and with the default settings."""
    return CutoverDraft(flags, None, GateSettings(), GuardrailSettings())


class Force(NamedTuple):
    """A person's decision to pass a shut gate, with the reason, which the history keeps."""

    reason: str


class UnfitNote(NamedTuple):
    """The first thing in a legacy system's answer that did not fit the shape.

    `items` is how many did not fit; 0: the answer as a whole. `sample` is at most 4 kB, without
    secrets.
    """

    at: datetime
    items: int
    device_id: str | None
    expression: str
    detail: str
    sample: str


class StoredCutover(NamedTuple):
    """The cutover of a workspace as it is, and what was noted since.

    `legacy_answered_at` is when the legacy system last answered any shard; `legacy_failed_at` and
    `legacy_fault` are its newest failure. `rolled_back_at` is the newest rollback by a guardrail.
    `legacy_unfit` is the newest answer that did not fit.
    """

    workspace: Workspace
    draft: CutoverDraft
    legacy_answered_at: datetime | None = None
    legacy_failed_at: datetime | None = None
    legacy_fault: str | None = None
    legacy_unfit: UnfitNote | None = None
    rolled_back_at: datetime | None = None


class ShutGate(NamedTuple):
    """The gate refuses a change to core reads: why, what it saw, and the devices that mismatch."""

    refusal: CutoverRefusal
    view: GateView
    worst_devices: Sequence[WorstDevice]


class CutoverReport(NamedTuple):
    """A cutover with what the gate sees now, and the newest guardrail events, newest first."""

    stored: StoredCutover
    view: GateView
    guardrail_events: Sequence[GuardrailEvent]


class GuardrailEvent(NamedTuple):
    """What guardrails did after a cycle: `kind` is rollback, or alert with `why_not`."""

    event_id: int
    at: datetime
    kind: str
    cycle_id: str
    crossings: Sequence[Mapping[str, Any]]
    why_not: str | None
    trace_id: str


class Cutovers(Protocol):
    """Commands and queries on cutovers. What ports/registry.py says of commands holds here, too.

    `expected` is the cutover's own revision, Workspace.cutover_revision.
    """

    async def get_cutover(self, workspace_id: str) -> StoredCutover | None: ...

    async def describe_cutover(self, workspace_id: str, *, events: int) -> CutoverReport | None:
        """Return the cutover with the gate's view, and at most so many guardrail events."""

    async def put_cutover(
        self,
        workspace_id: str,
        *,
        draft: CutoverDraft,
        force: Force | None = None,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> Stored | NotFound | Moved | Archived | CutoverRefusal | ShutGate:
        """Store the whole cutover, unless its flags contradict each other or the gate is shut.

        The gate is judged in the command's own transaction. `force` passes it.
        """

    async def roll_back(
        self,
        workspace_id: str,
        *,
        reason: str,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> Stored | NotFound | Moved | Archived | CutoverRefusal:
        """Give reads and polls to the legacy system in one transaction. May be sent again."""


class LegacyNotes(Protocol):
    """Notes whether legacy systems answer. A note never waits for a lock longer than a moment."""

    async def note_legacy_answer(
        self, workspace_id: str, at: datetime, fault: str | None = None
    ) -> None:
        """Note an answer of the legacy system at this instant, or, with a fault, a failure."""

    async def note_legacy_unfit(self, workspace_id: str, note: UnfitNote) -> None:
        """Note what did not fit, in place of what was noted before."""


class CutoverWatch(Protocol):
    """What the shard that owns a workspace reads of its cutover. Only its session is answered."""

    async def load_cutover(self, session: SessionRef, workspace_id: str) -> StoredCutover | None:
        """Return the cutover as it is now; None if the session is no longer live."""


class CutoversInBulk(Protocol):
    """The same for many workspaces at once."""

    async def load_cutovers(
        self, session: SessionRef, workspace_ids: Sequence[str]
    ) -> Mapping[str, StoredCutover]:
        """Return the cutovers by workspace; none if the session is no longer live."""


class CutoverStores(NamedTuple):
    """The stores with which a shard follows the cutovers of the workspaces that it owns."""

    watch: CutoverWatch
    parity: ParityStore
    guardrails: GuardrailStore
    syncs: LegacySyncStore
