"""The model of what a process reports about itself, for the API's description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from actors.statistics import IngestStatistics, RollupStatistics, ShardStatistics, UpkeepStatistics
from api.jwt_access import JwtStatistics
from api.pages.live_board import LiveStatistics
from api.record_models import RecordModels
from api.traffic import HttpStatistics
from domain.coalesce import BufferStatistics
from domain.refusals import RefusalStatistics
from domain.resource import Resource
from lastheard.process_statistics import ProcessStatistics
from legacy.client import LegacyStatistics
from providers.http import HttpPoolStatistics
from runtime.assignment import RoundsStatistics
from runtime.child_statistics import SupervisorStatistics
from runtime.clock import ClockStatistics
from runtime.dialling import DiallerStatistics
from runtime.mailbox import MailboxStatistics
from runtime.spans import TraceStatistics
from storage.pool_statistics import PoolsStatistics

if TYPE_CHECKING:
    from pydantic import BaseModel

_PARTS: Final[tuple[type, ...]] = (
    BufferStatistics,
    ClockStatistics,
    DiallerStatistics,
    HttpPoolStatistics,
    HttpStatistics,
    IngestStatistics,
    JwtStatistics,
    LegacyStatistics,
    LiveStatistics,
    MailboxStatistics,
    PoolsStatistics,
    RefusalStatistics,
    RollupStatistics,
    RoundsStatistics,
    ShardStatistics,
    SupervisorStatistics,
    TraceStatistics,
    UpkeepStatistics,
)
_NAMES: Final[Mapping[str, Any]] = {
    "Mapping": Mapping,
    "Resource": Resource,
    **{part.__name__: part for part in _PARTS},
}
PROCESS_MODEL: Final[type[BaseModel]] = RecordModels(_NAMES).of(ProcessStatistics)
