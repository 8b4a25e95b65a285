"""A trial of a provider connection: one live call, shown and not stored.

Owns the form of the answer and the advice for an answer that came but helps nobody. The call itself
is made by `services.trials`. It must never change a connection, nor store what came.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from quart import Response, request

from api.auth import current_workspace
from api.bodies import RequestModel, json_response, read_json
from api.keys import Scope
from api.operations import Operations
from api.problem_types import CONFLICT, NOT_FOUND, RATE_LIMITED
from api.problems import Problem
from api.services import ApiServices
from api.shapes import AnswerModel, ExternalId
from api.traces import current_trace_id
from domain.model import Device, FaultClass, ProviderConnection
from ports.trials import (
    TrialRefused,
    TrialReport,
    TrialVehicle,
    TrialWay,
    TrialWish,
)
from runtime.tracing import calls_of_trace

_PATH = "/workspaces/{workspace_id}/providers/{provider_id}/test"
_MAX_ASKED = 100
_MAX_SECONDS = 15.0
_MAX_DEVICES = 10_000


class TrialBody(RequestModel):
    external_ids: list[ExternalId] | None = Field(
        None,
        min_length=1,
        max_length=_MAX_ASKED,
        description="the vehicles to ask for; null: the first 100 configured devices. A provider "
        "that is asked for a whole account, like rFMS, names all of them anyway",
    )
    way: TrialWay | None = Field(
        None,
        description="`call` makes one call, `stream` reads the stream for some seconds; null: a "
        "call, or the stream where there is no vehicle to ask for",
    )
    seconds: float = Field(10.0, ge=1, le=_MAX_SECONDS, description="how long a stream is read")


class TrialFaultAnswer(AnswerModel):
    """The fault that ended the trial."""

    fault: FaultClass
    detail: str
    remedy: str = Field(description="what to do about it")


class TrialReading(AnswerModel):
    signal: str
    value: Any
    observed_at: datetime


class TrialVehicleAnswer(AnswerModel):
    external_id: str
    device_id: str | None = Field(description="null: not configured as a device")
    vehicle_id: str | None
    vehicle_name: str | None
    readings: list[TrialReading] = Field(description="the newest good one of each signal")


class TrialRefusalAnswer(AnswerModel):
    """A value or a record that would be refused."""

    external_id: str | None = Field(description="null: the vehicle could not be told")
    signal: str | None
    reason: str
    detail: str
    occurrences: int


class TrialAnswer(AnswerModel):
    """What would be read. Lists have at most 50 entries; the counts are of everything."""

    workspace_id: str
    provider_id: str
    provider_type: str
    outcome: Literal["answered", "failed"]
    advice: list[str] = Field(description="what to do next; empty if all is well")
    fault: TrialFaultAnswer | None
    way: TrialWay
    begun_at: datetime
    seconds: float
    vehicles: list[TrialVehicleAnswer]
    vehicle_count: int
    unconfigured_count: int = Field(description="vehicles of the answer that are no devices")
    refusals: list[TrialRefusalAnswer]
    refusal_count: int
    errors: dict[str, str] = Field(description="the provider's error for a vehicle, by external_id")
    asked_count: int
    left_out: list[str] = Field(
        description="external ids that were asked for and that the answer does not name"
    )
    left_out_count: int
    records: int = Field(description="records of the answer, or frames of the stream")
    ignored: int = Field(description="those of them that say nothing to us, such as an echo")
    has_more: bool = Field(description="the answer has further pages, which were not asked for")


def declare_provider_trial(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "POST",
        _PATH,
        scope=Scope.CONTROL,
        request=TrialBody,
        request_required=False,
        response=TrialAnswer,
        problems=(CONFLICT, RATE_LIMITED),
        tag="providers",
    )
    async def try_provider(workspace_id: str, provider_id: str) -> Response:
        """Make one live call over a connection, and show what would be read. Stores nothing.

        A provider that fails is no error of this request: the answer is 200 with `outcome` failed,
        its `fault` and the remedy. An inactive connection can be tried, too. The call counts
        against the account's quota at the provider. The same connection can be tried again after
        5 s, or when the provider allows it (429 until then). A push connection has nothing to call
        (409).
        """
        wish = await _read_wish()
        connection = await services.registry.get_provider(workspace_id, provider_id)
        if connection is None:
            raise Problem(NOT_FOUND, f"There is no provider connection {provider_id}.")
        devices = await _load_devices(services, workspace_id, provider_id)
        try:
            with calls_of_trace(current_trace_id()):
                report = await services.trials.run(connection, devices, wish)
        except TrialRefused as refusal:
            if refusal.retry_after is None:
                raise Problem(CONFLICT, str(refusal)) from None
            wait = refusal.retry_after
            raise Problem(RATE_LIMITED, str(refusal), retry_after_seconds=wait) from None
        head = {"workspace_id": workspace_id, "provider_id": provider_id}
        answer = _present(report, **head, provider_type=connection.provider_type)
        answer.advice.extend(_advise_switching_on(connection))
        services.log.info("provider_tried", **head, way=report.way, outcome=answer.outcome)
        return json_response(answer)


async def _read_wish() -> TrialWish:
    body = await read_json(request, TrialBody) if await request.get_data() else TrialBody()
    asked = None if body.external_ids is None else tuple(dict.fromkeys(body.external_ids))
    return TrialWish(asked, body.way, body.seconds)


async def _load_devices(services: ApiServices, workspace_id: str, provider_id: str) -> list[Device]:
    devices = await services.registry.list_devices(
        workspace_id, include_retired=False, after=None, limit=_MAX_DEVICES
    )
    return [device for device in devices if device.provider_id == provider_id]


def _present(report: TrialReport, **head: str) -> TrialAnswer:
    return TrialAnswer(
        **head,
        outcome="answered" if report.fault is None else "failed",
        advice=list(_advise(report)),
        fault=None if report.fault is None else TrialFaultAnswer(**report.fault._asdict()),
        way=report.way,
        begun_at=report.begun_at,
        seconds=round(report.seconds, 3),
        vehicles=[_present_vehicle(vehicle) for vehicle in report.vehicles],
        vehicle_count=report.vehicle_count,
        unconfigured_count=report.unconfigured_count,
        refusals=[TrialRefusalAnswer(**refusal._asdict()) for refusal in report.refusals],
        refusal_count=report.refusal_count,
        errors=dict(report.errors),
        asked_count=report.asked_count,
        left_out=list(report.left_out),
        left_out_count=report.left_out_count,
        records=report.records,
        ignored=report.ignored,
        has_more=report.has_more,
    )


def _present_vehicle(vehicle: TrialVehicle) -> TrialVehicleAnswer:
    device = vehicle.device
    return TrialVehicleAnswer(
        external_id=vehicle.external_id,
        device_id=None if device is None else device.device_id,
        vehicle_id=None if device is None else device.vehicle_id,
        vehicle_name=None if device is None else device.vehicle_name,
        readings=[TrialReading(**reading._asdict()) for reading in vehicle.readings],
    )


def _advise_switching_on(connection: ProviderConnection) -> Iterator[str]:
    """Yield what is switched off: a trial works then, but nothing is collected."""
    switch = 'PATCH it with {"active": true} to collect.'
    if not current_workspace().active:
        yield f"The workspace is switched off: {switch}"
    if not connection.active:
        yield f"The connection is switched off: {switch}"


def _advise(report: TrialReport) -> Iterator[str]:
    """Yield what to do next: about the fault, or about an answer that does not help."""
    if report.fault is not None:
        yield report.fault.remedy
        return
    if not report.asked_count and not report.vehicle_count:
        yield (
            "The provider let us in, and there was no vehicle to ask for: name some in "
            "external_ids, or configure devices first."
        )
    elif not report.records:
        yield (
            "The provider let us in and sent nothing: vehicles that are parked may be silent, so "
            "try again later, or name other external_ids."
        )
    if report.unconfigured_count:
        yield (
            f"Not configured as devices: {report.unconfigured_count} of {report.vehicle_count} "
            "vehicles in the answer. Import those that you want by their external_id (POST "
            "…/devices/import)."
        )
    if report.left_out_count:
        yield (
            f"Not in the answer: {report.left_out_count} of {report.asked_count} vehicles that "
            "were asked for. Check their external_id, and that the account may see them."
        )
    if report.refusal_count:
        yield "Some values would be refused: `refusals` says which and why."
