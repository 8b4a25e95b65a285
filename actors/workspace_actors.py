"""The actors of one owned workspace, and what they say of themselves together.

Owns their names under the supervisor. runner.py starts and stops them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from actors.statistics import RunningWorkspaceStatistics
from domain.resource import workspace_resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.cutover import CutoverActor
    from actors.fleet import FleetView
    from actors.stream import StreamActor
    from actors.workspace import WorkspaceActor
    from domain.model import ProviderConnection

FRAME_COUNTS: Final = ("received", "merged", "ignored", "malformed", "pending")
UNCHANGED: Final = 1  # the revision of a cutover that was never set


class WorkspaceActors:
    """One workspace with its actors, which keep counters and buffers while they are paused.

    `changing` is held while the workspace's actors are started or stopped for good. Otherwise a
    stream made for a newer configuration during a hand-over would run on without an owner.
    `make_cutover` is None in a process that follows no cutovers.
    """

    __slots__ = ("changing", "cutover", "make_cutover", "streams", "view", "workspace")

    def __init__(
        self,
        view: FleetView,
        workspace: WorkspaceActor,
        make_cutover: Callable[[], CutoverActor] | None,
    ) -> None:
        self.view = view
        self.changing = trio.Lock()
        self.workspace = workspace
        self.make_cutover = make_cutover
        self.cutover: CutoverActor | None = None
        self.streams: dict[str, tuple[ProviderConnection, StreamActor]] = {}

    @property
    def has_had_cutover(self) -> bool:
        """Return whether the workspace's cutover was ever set. Most are ours from the start."""
        return self.view.workspace.cutover_revision > UNCHANGED

    @property
    def workspace_child(self) -> str:
        return workspace_resource(self.view.workspace_id)

    @property
    def cutover_child(self) -> str:
        return f"cutover:{self.view.workspace_id}"

    def stream_child(self, provider_id: str) -> str:
        return f"stream:{self.view.workspace_id}/{provider_id}"

    def statistics(self) -> RunningWorkspaceStatistics:
        workspace = self.workspace.statistics()
        return RunningWorkspaceStatistics(
            outcomes=workspace.outcomes,
            next_start_at=workspace.next_start_at,
            config_version=workspace.config_version,
            token=self.view.ownership.token,
            cutover=None if self.cutover is None else self.cutover.statistics(),
            streams={
                provider_id: actor.statistics() for provider_id, (_, actor) in self.streams.items()
            },
        )


def count_frames(actor: StreamActor) -> Mapping[str, int]:
    """Return the frame counts of one stream: received is the sum of the others."""
    taken = actor.intake
    counts = (taken.received, taken.merged, taken.ignored.total(), taken.malformed, taken.in_hand)
    return dict(zip(FRAME_COUNTS, counts, strict=True))
