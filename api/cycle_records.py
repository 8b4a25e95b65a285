"""The lifecycle records of one cycle, as the API shows them.

Owns their shapes. domain/lifecycle.py says which records a cycle has.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from api.bodies import Instant
from api.evidence import SummaryDict
from api.shapes import AnswerModel
from domain.cycles import CycleOutcome, CycleTrigger
from domain.lifecycle import lifecycle_records
from ports.reads import CycleRow


class RecordHead(AnswerModel):
    """What every lifecycle record has. The log has the same record under the same trace id."""

    at: Instant
    trace_id: str
    workspace_id: str
    cycle_id: str


class CycleTriggeredRecord(RecordHead):
    """The cycle was started."""

    name: Literal["workspace_poll_cycle_triggered"]
    slot_at: Instant
    attempt: int
    trigger: CycleTrigger
    cycle_started_at: Instant


class ConnectionRecordHead(RecordHead):
    """What every record of one connection has."""

    provider_type: str
    provider_id: str


class MessageReceivedRecord(ConnectionRecordHead):
    """The connection answered. The log has one record for each page; this one sums them up."""

    name: Literal["telematics_provider_message_received"]
    received_at: Instant = Field(description="when the first page came")
    frames: int = Field(description="records in the provider's answers")


class PayloadPreparedRecord(ConnectionRecordHead):
    """What came was handed over for the commit."""

    name: Literal["telematics_ingress_payload_prepared"]
    payload_prepared_at: Instant = Field(description="when the last page was handed over")
    updates: int = Field(description="updates made of the records")
    devices_answered: int = Field(description="configured devices named by the pages, page by page")
    malformed: int = Field(description="records that could not be read")
    ignored: int = Field(description="records without news for us")


class UpdateAcceptedRecord(ConnectionRecordHead):
    """Updates that changed a snapshot."""

    name: Literal["telematics_update_accepted"]
    committed_at: Instant | None = Field(description="the last commit of the connection")
    updates: int


class UpdateRejectedRecord(ConnectionRecordHead):
    """Updates that were not accepted, and records that gave no update or not all of it."""

    name: Literal["telematics_update_rejected"]
    committed_at: Instant | None = Field(
        description="the last commit of the connection; null: none was awaited"
    )
    updates: int
    reasons: dict[str, int] = Field(
        description="updates by reason, or by outcome where there is no reason"
    )
    records: dict[str, int] = Field(description="records by reason")


class IngestCompletedRecord(RecordHead):
    """The cycle has ended, and its end is committed."""

    name: Literal["workspace_poll_ingest_completed"]
    cycle_ended_at: Instant
    outcome: CycleOutcome
    result_summary: SummaryDict


LifecycleRecordAnswer = (
    CycleTriggeredRecord
    | MessageReceivedRecord
    | PayloadPreparedRecord
    | UpdateAcceptedRecord
    | UpdateRejectedRecord
    | IngestCompletedRecord
)

_SHAPES: Mapping[str, type[RecordHead]] = MappingProxyType(
    {
        "workspace_poll_cycle_triggered": CycleTriggeredRecord,
        "telematics_provider_message_received": MessageReceivedRecord,
        "telematics_ingress_payload_prepared": PayloadPreparedRecord,
        "telematics_update_accepted": UpdateAcceptedRecord,
        "telematics_update_rejected": UpdateRejectedRecord,
        "workspace_poll_ingest_completed": IngestCompletedRecord,
    }
)


def present_records(row: CycleRow) -> list[Any]:
    """Return the records of a stored cycle, as far as they are known."""
    head = {
        "trace_id": row.trace_id,
        "workspace_id": row.key.workspace_id,
        "cycle_id": row.cycle_id,
    }
    return [
        _SHAPES[record.name](name=record.name, at=record.at, **head, **record.fields)
        for record in lifecycle_records(row)
    ]
