"""The steps of the cutover actor, in their order: the one list of what is done after a cycle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.cutover import CutoverActor
from actors.guardrails import GuardrailStep
from actors.parity import CompareStep
from actors.registry_sync import RegistrySync, SyncStep
from actors.sides import SidesReader

if TYPE_CHECKING:
    from actors.fleet import FleetView
    from actors.tools import ActorTools
    from domain.model import SessionRef
    from ports.cutovers import CutoverStores


def make_cutover_actor(
    view: FleetView, session: SessionRef, tools: ActorTools, stores: CutoverStores
) -> CutoverActor:
    """Return the cutover actor of a workspace that this session owns."""
    return CutoverActor(
        view,
        session,
        stores.watch,
        SidesReader(view, tools.legacy, stores.parity),
        (
            CompareStep(session, stores.parity, tools.clock),
            GuardrailStep(view.ownership, stores.guardrails, tools.clock),
            SyncStep(view.workspace_id, session, RegistrySync(tools.legacy, stores.syncs)),
        ),
    )
