"""The parts of a shard that its actors share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actors.rosters import DEFAULT_ROSTERS, RosterPolicy
from actors.waits import ProviderWaits
from runtime.measures import UNMEASURED, Measures

if TYPE_CHECKING:
    from random import Random

    from actors.connections import Connector
    from actors.ingest import IngestActor
    from ports.legacy import LegacySystems
    from runtime.clock import SharedClock


@dataclass(frozen=True, slots=True)
class ActorTools:
    """The shared parts, passed on from the shard to each workspace, cycle, stream and collection.

    They are made once for each process and outlive every actor.
    """

    connector: Connector  # opens pollers and streamers
    ingest: IngestActor  # takes what was collected
    clock: SharedClock  # database time
    random: Random  # jitter
    legacy: LegacySystems  # the systems that workspaces are moved from
    rosters: RosterPolicy = DEFAULT_ROSTERS  # when providers are asked for every vehicle
    waits: ProviderWaits = field(default_factory=ProviderWaits)  # which providers wait to be called
    measures: Measures = UNMEASURED
