"""`POST /provider-ingest`: a provider's raw message, forwarded to us and read like our own polls.

The customer defined the envelope, hence camelCase. This file joins two things: the provider's pure
function interprets the message, and the result takes the one acceptance path of all updates
(FR-010, FR-011).
"""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import trio
from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel
from quart import Response, request

from api.auth import current_access, no_such_workspace
from api.bodies import Instant, RequestModel, in_thread, json_response, parse_body, read_body
from api.keys import Scope
from api.operations import Operations
from api.problem_types import INVALID_BODY, MALFORMED_JSON, NOT_FOUND, OUTCOME_UNKNOWN
from api.problems import FaultyPart, Problem
from api.services import ApiServices
from api.shapes import Identifier
from api.submitting import IngestAnswer, ResultDocument, commit, present_result
from api.traces import current_trace_id
from domain.lifecycle import MESSAGE_RECEIVED, PAYLOAD_PREPARED
from domain.model import (
    MAX_SAMPLE_BYTES,
    MAX_UPDATES_PER_SUBMISSION,
    CanonicalUpdate,
    ConnectionFact,
    InvalidItem,
    Outcome,
    ProviderConnection,
    Reason,
    Result,
    Submission,
)
from ports.providers import BadRecord, Page, Provider, ProviderFault
from runtime.damaged_json import cut_member, to_bytes

MAX_ON_LOOP = 65_536  # bytes of a message; a longer one is read in a thread
_WITHHELD = (
    b"withheld: the connection's secret cannot be read, so it cannot be taken out of the sample"
)


class ProviderEnvelope(RequestModel):
    """A provider's raw message and its origin. `receivedAt` is when it came to the forwarder.

    It is only logged: freshness age counts from the arrival here.
    """

    model_config = ConfigDict(alias_generator=to_camel)

    workspace_id: Identifier
    provider_type: Annotated[str, Field(max_length=64)]
    provider_id: Identifier
    received_at: Instant
    raw_message: dict[str, Any] | list[Any] | str


class EnvelopeAnswer(IngestAnswer):
    """One result per sample, in order, and then one per record that could not be read.

    A sample is a device's readings of one time. `records` counts the message's records; `ignored`
    counts those with nothing that is collected (echoes, other labels).
    """

    records: int
    ignored: int


def declare_provider_ingest(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "POST",
        "/provider-ingest",
        scope=Scope.INGEST,
        request=ProviderEnvelope,
        response=EnvelopeAnswer,
        problems=(NOT_FOUND, OUTCOME_UNKNOWN),
        tag="ingest",
    )
    async def ingest_envelope() -> Response:
        """Submit a provider's raw message. Answers after the commit of its samples.

        A message with more than 500 samples is committed in parts. After a 503 some parts may be
        stored, and a retry is safe. An unknown workspace or provider connection is 404. A
        providerType other than the connection's is 422.
        """
        envelope = await _read_envelope()
        connection = await _find_connection(services, envelope)
        return json_response(await _ingest(services, envelope, connection))


async def _read_envelope() -> ProviderEnvelope:
    """Return the request's envelope. Raises Problem as api.bodies.read_json does.

    If the body is no strict JSON because of its raw message, that message is cut out of it: what is
    damaged in it costs a record or a vehicle, as in an answer that we receive.
    """
    raw = await read_body(request)
    try:
        return parse_body(raw, ProviderEnvelope)
    except Problem as problem:
        if problem.kind is not MALFORMED_JSON:
            raise
        try:
            around, message = await in_thread(_cut_message, raw)
        except (ValueError, RecursionError):
            raise problem from None
    text = message.decode("utf-8", "surrogateescape")
    return parse_body(around, ProviderEnvelope).model_copy(update={"raw_message": text})


def _cut_message(raw: bytes) -> tuple[bytes, bytes]:
    return cut_member(raw, "rawMessage")


async def _find_connection(services: ApiServices, envelope: ProviderEnvelope) -> ProviderConnection:
    seen = current_access().sees(envelope.workspace_id)
    workspace = await services.registry.get_workspace(envelope.workspace_id) if seen else None
    if workspace is None or workspace.archived_at is not None:
        raise no_such_workspace(envelope.workspace_id)
    connection = await services.registry.get_provider(envelope.workspace_id, envelope.provider_id)
    if connection is None or connection.archived_at is not None:
        raise Problem(NOT_FOUND, f"There is no provider connection {envelope.provider_id}.")
    if connection.provider_type != envelope.provider_type:
        detail = f"The connection {envelope.provider_id} is of the type {connection.provider_type}."
        raise Problem(INVALID_BODY, errors=[FaultyPart(pointer="/providerType", detail=detail)])
    return connection


async def _ingest(
    services: ApiServices, envelope: ProviderEnvelope, connection: ProviderConnection
) -> dict[str, Any]:
    """Return the answer as EnvelopeAnswer describes it."""
    provider = services.providers.get(connection.provider_type)
    if provider is None:
        detail = f"This version does not know the provider type {connection.provider_type}."
        raise Problem(INVALID_BODY, errors=[FaultyPart(pointer="/providerType", detail=detail)])
    received_at = services.clock.now()
    raw = _raw_bytes(envelope)
    interpret = partial(_interpret, provider, connection)
    page = interpret(raw) if len(raw) <= MAX_ON_LOOP else await in_thread(interpret, raw)
    page = page._replace(malformed=await _scrubbed(services, connection, page.malformed))
    _log_received(services, envelope, page)
    updates = _to_updates(connection, page, received_at)
    invalid = _to_invalid(connection, page, received_at)
    results: list[ResultDocument] = []
    for part in _to_submissions(updates, invalid):
        if _is_unreadable(page):
            part.facts = _unreadable(services, connection, page, received_at)
        results += await commit(services, part, taken=len(results))
    results += [
        present_result(Result(Outcome.REJECTED, Reason.MALFORMED, detail=record.detail))
        for record in page.malformed
        for _ in range(record.occurrences)
    ]
    return {"results": results, "records": page.records, "ignored": page.ignored}


def _raw_bytes(envelope: ProviderEnvelope) -> bytes:
    message = envelope.raw_message
    return to_bytes(message) if isinstance(message, str) else _dump(message)


def _dump(message: dict[str, Any] | list[Any]) -> bytes:
    # Not orjson, which refuses a number of more than 64 bits.
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _interpret(provider: Provider, connection: ProviderConnection, raw: bytes) -> Page:
    """Return the message's page. A message that is not of this provider is a malformed record."""
    try:
        return provider.interpret(connection, raw)
    except ProviderFault as fault:
        record = BadRecord(None, f"{fault.fault}: {fault}", raw)
        return Page((), frozenset(), records=1, malformed=(record,), malformed_count=1)


def _is_unreadable(page: Page) -> bool:
    """Return whether nothing of the message could be read, nor a device of it be told."""
    is_read = page.samples or page.answered or page.errors or page.ignored
    named = any(record.external_id is not None for record in page.malformed)
    return bool(page.malformed) and not is_read and not named


def _unreadable(
    services: ApiServices, connection: ProviderConnection, page: Page, now: datetime
) -> tuple[ConnectionFact, ...]:
    """Return the fact that nothing can be read: the silence of the devices is not theirs then."""
    key = (connection.workspace_id, connection.provider_id)
    return services.senders.unreadable(key, page.malformed[0].detail, now)


async def _scrubbed(
    services: ApiServices, connection: ProviderConnection, records: Sequence[BadRecord]
) -> tuple[BadRecord, ...]:
    """Return the records with samples as the ledger keeps them: without the secret, then cut.

    In this order, since a cut through the secret would hide it from the removal. If the secret
    cannot be read, each sample is `_WITHHELD`.
    """
    if not records:
        return ()
    scrubber = await services.credentials.scrubber_of(connection.credential)
    if scrubber is None:
        return tuple(record._replace(sample=_WITHHELD) for record in records)
    scrubbed = []
    for record in records:
        await trio.lowlevel.checkpoint()  # one record can take some milliseconds
        sample = scrubber.sample(record.sample, MAX_SAMPLE_BYTES)
        scrubbed.append(record._replace(sample=sample))
    return tuple(scrubbed)


def _to_updates(
    connection: ProviderConnection, page: Page, received_at: datetime
) -> Sequence[CanonicalUpdate]:
    trace_id = current_trace_id() or ""
    return [
        CanonicalUpdate(
            connection.workspace_id,
            connection.provider_id,
            None,
            sample.external_id.strip(),
            None,
            sample.readings,
            received_at,
            trace_id,
            sample.reception_at,
        )
        for sample in page.samples
    ]


def _to_submissions(
    updates: Sequence[CanonicalUpdate], invalid: tuple[InvalidItem, ...]
) -> Sequence[Submission]:
    """Return submissions of at most MAX_UPDATES_PER_SUBMISSION updates each, in order.

    Invalid items go with the last one. Empty when there are neither updates nor invalid items.
    """
    cuts = range(0, len(updates) or len(invalid[:1]), MAX_UPDATES_PER_SUBMISSION)
    return [
        Submission(
            origin="envelope",
            trace_id=current_trace_id() or "",
            updates=tuple(updates[cut : cut + MAX_UPDATES_PER_SUBMISSION]),
            invalid=invalid if cut == cuts[-1] else (),
        )
        for cut in cuts
    ]


def _to_invalid(
    connection: ProviderConnection, page: Page, received_at: datetime
) -> tuple[InvalidItem, ...]:
    """Return a ledger item for each device and wrong field of the page's malformed records."""
    return tuple(
        InvalidItem(
            connection.workspace_id,
            connection.provider_id,
            record.external_id and record.external_id.strip(),
            Reason.MALFORMED,
            record.detail,
            record.sample,
            record.occurrences,
            received_at=received_at,
            signal=signal,
            refused_whole=record.refused_whole,
        )
        for record in page.malformed
        for signal in record.signals or (None,)
    )


def _log_received(services: ApiServices, envelope: ProviderEnvelope, page: Page) -> None:
    services.log.info(
        MESSAGE_RECEIVED,
        workspace_id=envelope.workspace_id,
        provider_type=envelope.provider_type,
        provider_id=envelope.provider_id,
        received_at=envelope.received_at,
        frames=page.records,
    )
    services.log.info(
        PAYLOAD_PREPARED,
        workspace_id=envelope.workspace_id,
        provider_id=envelope.provider_id,
        devices=len({sample.external_id for sample in page.samples}),
        updates=len(page.samples),
        malformed=page.malformed_count,
        payload_prepared_at=services.clock.now(),
    )
