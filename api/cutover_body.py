"""The cutover of a workspace as a request has it, and its faults.

Owns which members a client may set, and the rule for the credential of a legacy system. It must
never ask the legacy system.
"""

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from api.bodies import MAX_FAULTY_PARTS, RequestModel
from api.problem_types import INVALID_BODY
from api.problems import FaultyPart, Problem
from api.provider_body import BASE_URL, CredentialReference, faults_of_address
from api.provider_credentials import CredentialChange, judge_credential
from api.services import ApiServices
from api.shapes import PRINTABLE, Seconds, accept_whole
from domain.cutover import Cutover, PollOwner, ProviderMode, ReadOwner, RegistrySource
from domain.guardrails import GuardrailSettings
from domain.parity_gate import GateSettings
from ports.cutovers import CutoverDraft, Force
from ports.legacy import LegacyConfiguration

MAX_CYCLES: Final = 288  # a day of five-minute cycles
LEGACY: Final = "/legacy"
_GATE, _GUARDRAILS = GateSettings(), GuardrailSettings()

Cycles = Annotated[int, Field(ge=1, le=MAX_CYCLES), BeforeValidator(accept_whole)]
Share = Annotated[float, Field(ge=0, le=1)]
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=PRINTABLE)]


class LegacyBody(RequestModel):
    """The legacy system of a workspace: where it answers, and the shape of its answers."""

    base_url: str = Field(
        max_length=2000,
        description="http(s) address without user, password or query",
        json_schema_extra={"pattern": BASE_URL},
    )
    credential: CredentialReference | None = Field(
        None,
        description="where the service finds the secret: env:NAME or file:PATH, never the secret "
        "itself. A key that is limited to workspaces may name file:WORKSPACE_ID/NAME",
    )
    shape: dict[str, Any] = Field(
        description="paths, and the JMESPath expressions that say where the answers have what. It "
        "is compiled when it is stored, and a mistake names the expression and the place"
    )

    def to_configuration(self) -> LegacyConfiguration:
        return LegacyConfiguration(self.base_url, self.credential, self.shape)


class GateBody(RequestModel):
    """What parity must have shown before core is read."""

    cycles: Cycles = Field(_GATE.cycles, description="how many of the newest cycles are judged")
    max_mismatch_share: Share = Field(
        _GATE.max_mismatch_share,
        description="of the devices that could be compared, in all of these cycles together",
    )
    min_comparable_share: Share = Field(
        _GATE.min_comparable_share,
        description="of the devices that could be compared, in each of these cycles",
    )

    def to_settings(self) -> GateSettings:
        return GateSettings(**self.model_dump())


class GuardrailsBody(RequestModel):
    """The limits beyond which core's reads and polls go back to the legacy system."""

    cycles: Cycles = Field(_GUARDRAILS.cycles, description="how many of the newest are judged")
    min_completed_cycles: float = Field(
        _GUARDRAILS.min_completed_cycles,
        ge=0,
        le=MAX_CYCLES,
        description="of those; a partial cycle counts by its share",
    )
    max_age_seconds: Seconds = Field(
        _GUARDRAILS.max_age_seconds,
        description="of the 95th percentile of freshness age, or the delayed threshold if longer",
    )
    max_age_above_legacy_seconds: Seconds = Field(
        _GUARDRAILS.max_age_above_legacy_seconds,
        description="by how much core's percentile must be above legacy's as well",
    )
    max_mismatch_share: Share = Field(
        _GUARDRAILS.max_mismatch_share, description="judged while both systems collect"
    )
    legacy_answered_within_seconds: float = Field(
        _GUARDRAILS.legacy_answered_within_seconds,
        ge=20,
        le=3600,
        description="if the legacy system did not answer within this, a guardrail only alerts",
    )
    quiet_after_rollback_seconds: float = Field(
        _GUARDRAILS.quiet_after_rollback_seconds,
        ge=60,
        le=604_800,
        description="after a rollback by a guardrail, the next one only alerts for this long",
    )

    @model_validator(mode="after")
    def _refuse_contradiction(self) -> Self:
        if self.min_completed_cycles > self.cycles:
            raise ValueError("min_completed_cycles must not be more than cycles")
        return self

    def to_settings(self) -> GuardrailSettings:
        return GuardrailSettings(**self.model_dump())


class ForceBody(RequestModel):
    """A person's decision to pass the shut gate."""

    reason: Reason = Field(description="kept in the audit")

    def to_force(self) -> Force:
        return Force(self.reason)


class RollbackBody(RequestModel):
    """Why a person rolls back."""

    reason: Reason = Field(description="kept in the audit")


class CutoverBody(RequestModel):
    """The cutover of a workspace. A PUT replaces all of it: what is left out gets its default."""

    device_registry_source: RegistrySource = RegistrySource.CORE
    poll_owner: PollOwner = PollOwner.CORE
    read_owner: ReadOwner = ReadOwner.CORE
    provider_mode: ProviderMode = ProviderMode.LEGACY_PROVIDER
    legacy: LegacyBody | None = Field(None, description="null: there is no legacy system")
    gate: GateBody = GateBody()
    guardrails: GuardrailsBody = GuardrailsBody()
    force: ForceBody | None = Field(
        None, description="passes the gate to core reads though it is shut. It is not stored"
    )

    def to_draft(self) -> CutoverDraft:
        return CutoverDraft(
            Cutover(
                self.device_registry_source, self.poll_owner, self.read_owner, self.provider_mode
            ),
            None if self.legacy is None else self.legacy.to_configuration(),
            self.gate.to_settings(),
            self.guardrails.to_settings(),
        )


def refuse_legacy(
    wanted: LegacyConfiguration | None,
    present: LegacyConfiguration | None,
    services: ApiServices,
    workspace_id: str,
    *,
    names_credential: bool,
) -> None:
    """Raise Problem unless the request may configure this legacy system.

    422 with the first faults of address and shape. The credential is judged as a connection's:
    whoever moves the legacy system must name the credential again, and must be allowed to.
    """
    if wanted is None or wanted == present:
        return
    found = chain(
        faults_of_address(wanted.base_url, services.outbound, f"{LEGACY}/base_url"),
        _faults_of_texts(wanted.shape, f"{LEGACY}/shape"),
        (
            FaultyPart(pointer=f"{LEGACY}/shape{fault.pointer}", detail=fault.detail)
            for fault in services.legacy.check(wanted)
        ),
    )
    if faults := list(islice(found, MAX_FAULTY_PARTS)):
        raise Problem(INVALID_BODY, errors=faults)
    change = CredentialChange(
        wanted.credential,
        None if present is None else present.credential,
        [] if present is None else _list_moves(present, wanted),
        is_named=names_credential,
    )
    judge_credential(change, workspace_id, services.credentials, within=LEGACY)


def _list_moves(present: LegacyConfiguration, wanted: LegacyConfiguration) -> list[str]:
    """Return the pointers of the changed members that send the secret to another place."""
    moved = [f"{LEGACY}/base_url"] if present.base_url != wanted.base_url else []
    if _destination(present.shape) != _destination(wanted.shape):
        moved.append(f"{LEGACY}/shape")
    return moved


def _destination(shape: Mapping[str, Any]) -> list[Any]:
    """Return the members of a checked shape that choose where, and in which header, the secret is.

    The links to further pages stay on the origin of the address.
    """
    paths = [shape[name].get("path") for name in ("registry", "values") if shape.get(name)]
    return [*paths, shape.get("credential_header")]


def _faults_of_texts(value: object, pointer: str) -> Iterator[FaultyPart]:
    """Yield the places with NUL, which the database cannot keep in the audit."""
    match value:
        case dict():
            for name, item in value.items():
                place = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
                yield from _faults_of_texts(name, place)
                yield from _faults_of_texts(item, place)
        case list():
            for index, item in enumerate(value):
                yield from _faults_of_texts(item, f"{pointer}/{index}")
        case str() if "\0" in value:
            yield FaultyPart(pointer=pointer, detail="It must not contain the character NUL.")
