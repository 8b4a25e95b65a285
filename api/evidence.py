"""The shapes of what the API shows as stored: the evidence of a verdict, the summary of a cycle.

The values pass through as plain dicts, because a page of health has hundreds of them. The models
here describe them in the OpenAPI document, and tests hold real answers against them. Later
releases may add members.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import definition_reference_schema, definitions_schema

from api.bodies import Instant
from api.shapes import AnswerModel
from domain.cycles import CycleOutcome
from domain.health_reason import HealthReason, Party
from domain.model import FaultClass, StatementKind


class DescribedAs:
    """Describe a member of type `dict[str, Any]` as a model, without a check of its values."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        model = self._model
        schema = model.__pydantic_core_schema__
        if schema["type"] == "model":  # alone it would be described in place, without a name
            schema = definitions_schema(definition_reference_schema(schema["ref"]), [schema])
        return handler(schema)


class CauseAnswer(AnswerModel):
    """A reason that holds now, with its party, and the instant from which it is known to hold."""

    reason: HealthReason
    party: Party
    since: Instant | None = Field(description="null: not known")
    detail: str | None


class FaultAnswer(AnswerModel):
    """The last failure of a connection's calls, or of its stream."""

    fault: FaultClass | None = Field(alias="class")
    detail: str | None
    at: Instant
    failing_since: Instant | None


class StatementAnswer(AnswerModel):
    """What the provider said about the device in its newest answer."""

    kind: StatementKind
    asked_at: Instant | None
    at: Instant | None
    detail: str | None


class Evidence(AnswerModel):
    """The facts behind a verdict, for a person who checks it. Null: it never happened."""

    causes: list[CauseAnswer] = Field(
        description="every reason that holds now. The verdict has the first, but not a trouble of "
        "the connection when a recent answer says more about the device"
    )
    last_good_cycle_at: Instant | None
    last_cycle_started_at: Instant | None
    last_cycle_outcome: CycleOutcome | None
    owner: str | None = Field(description="the shard that collects the workspace; null: none")
    owner_expires_at: Instant | None
    collecting_paused: bool = Field(
        description="every process that runs was started with `--paused`"
    )
    oldest_waiting_seconds: float | None = Field(
        description="for how long the oldest data of the workspace has waited to be stored"
    )
    next_poll_at: Instant | None
    due_seconds: float = Field(description="for how long an answer counts as recent")
    last_roster_at: Instant | None = Field(
        description="when the provider last named every vehicle of the account"
    )
    connection_active: bool
    stream_status: Literal["open", "closed"] | None
    stream_down_since: Instant | None
    last_sender_at: Instant | None = Field(description="of a push connection: the last request")
    last_error: FaultAnswer | None
    last_stream_error: FaultAnswer | None
    provider_answered_at: Instant | None = Field(
        description="when the provider last answered about the device, with or without new data"
    )
    statement: StatementAnswer | None
    last_update_received_at: Instant | None
    last_observed_at: Instant | None
    away_for_seconds: float | None
    held_back_seconds: float | None = Field(
        description="for how long the provider had the newest data before we got it"
    )
    look_alike_ids: list[str] = Field(
        description="ids that arrive without a device and are nearly this device's external_id"
    )
    last_rejected_at: Instant | None
    last_rejection_reason: str | None
    last_outdated_at: Instant | None
    refused_signals: dict[str, int] = Field(description="refused readings, by signal")


class CollectedAnswer(AnswerModel):
    """What one connection brought in a cycle, summed up over its pages."""

    provider_type: str
    received_at: Instant | None = Field(description="when the first page came; null: none did")
    payload_prepared_at: Instant | None = Field(description="when the last page was handed over")
    committed_at: Instant | None = Field(description="the last commit; null: none was awaited")
    frames: int = Field(description="records in the provider's answers")
    updates: int = Field(description="updates made of them")
    devices_answered: int = Field(description="configured devices named by the pages, page by page")
    malformed: int = Field(description="records that could not be read")
    ignored: int = Field(description="records without news for us")
    accepted: int = Field(description="updates that changed a snapshot")
    reasons: dict[str, int] = Field(
        description="updates that were not accepted, by reason, or by outcome where there is none"
    )
    rejected_records: dict[str, int] = Field(
        description="records that gave no update, or not all of it, by reason"
    )


class CycleSummary(AnswerModel):
    """What a poll cycle brought. Empty until the cycle has ended."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    connections: dict[str, str] = Field(
        {}, description="by provider_id: `ok`, or why the connection did not answer"
    )
    records: int = Field(0, description="records of all answers")
    updates: int = Field(0, description="updates made of them")
    outcomes: dict[str, int] = Field({}, description="committed updates, by outcome")
    unconfirmed: int = Field(0, description="updates whose commit was not awaited")
    malformed: int = Field(0, description="records that could not be read")
    superseded: int = Field(0, description="readings that a later record of the answer replaced")
    unknown_dropped: int = Field(0, description="updates of ids without a device, beyond a limit")
    device_errors: int = Field(0, description="vehicles that the provider answered with an error")
    refused_signals: dict[str, dict[str, int]] = Field(
        {}, description="refused readings, by signal and reason"
    )
    collected: dict[str, CollectedAnswer] = Field(
        {}, description="by provider_id; connections that were not called are not in it"
    )
    rosters: dict[str, str] | None = Field(
        None, description="by provider_id: the result of asking for every vehicle; often absent"
    )
    streams: dict[str, int] | None = Field(
        None,
        description="`frames` that the workspace's streams received since the cycle before, and "
        "`updates` made of them; absent without frames",
    )
    switched_off: list[str] | None = Field(
        None, description="connections that are inactive, so that they were not called; or absent"
    )
    left_out: dict[str, str] | None = Field(
        None, description="by provider_id: why the provider mode left it out; or absent"
    )
    skipped: str | None = Field(
        None, description="why the whole cycle was skipped, if it was for the cutover; or absent"
    )


EvidenceDict = Annotated[dict[str, Any], DescribedAs(Evidence)]
SummaryDict = Annotated[dict[str, Any], DescribedAs(CycleSummary)]
