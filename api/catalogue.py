"""The catalogues: the provider types of this installation, and the canonical signals.

Owns nothing of its own: provider types come from the table of providers, signals from the domain.
A new provider or signal appears here by itself.
"""

from typing import Any, Literal

from pydantic import Field
from quart import Response

from api.bodies import json_response
from api.keys import Scope
from api.operations import Operations
from api.preconditions import IF_NONE_MATCH, answer_unchanging
from api.services import ApiServices
from api.shapes import AnswerModel
from domain.not_available import ListedCode, list_codes
from domain.signals import CATALOGUE, Signal
from ports.providers import DocumentedLimit, Provider

_TAG = "catalogues"


class ProviderLimit(AnswerModel):
    """A limit or a promise that the provider's documents state."""

    name: str
    value: float | None = Field(description="null: the documents give no number")
    unit: str
    description: str


class ProviderTypeAnswer(AnswerModel):
    provider_type: str
    title: str
    summary: str
    transports: list[str]
    base_url: str | None = Field(description="which address it takes; null: none")
    credential: str | None = Field(description="which secret it takes; null: none")
    settings: dict[str, Any] = Field(
        description="JSON schema of a connection's `settings`, with defaults"
    )
    destination_settings: list[str] | None = Field(
        description="settings that choose where the secret is sent: changing one requires the "
        "credential to be named again; null: all of them"
    )
    ids_are_vins: bool = Field(description="external ids are VINs, compared without regard to case")
    expected_update_seconds: float | None = Field(
        description="the longest time between two records that its documents promise"
    )
    limits: list[ProviderLimit]


class ProviderTypeList(AnswerModel):
    items: list[ProviderTypeAnswer]


class NotAvailableCode(AnswerModel):
    """A value that means "not available": it is no news, and the last good value stays."""

    lowest: float | None = Field(description="of a range of numbers, both ends inclusive")
    highest: float | None
    word: str | None = Field(description="compared by its letters alone, in any case")
    instants: str | None = Field(description="in words, for a signal whose values are instants")
    provider_type: str | None = Field(description="null: of every provider")
    only_with: str | None = Field(
        description="a signal that must have such a code at the same instant; null: none"
    )


class CatalogueSignal(AnswerModel):
    signal: str
    description: str
    kind: Literal["number", "boolean", "text"]
    unit: str = Field(description="empty without one")
    minimum: float | None = Field(description="the lowest valid value; null: not limited")
    maximum: float | None
    reporting: Literal["periodic", "while"] = Field(
        description="`while`: it is sent only while the boolean signal `while_signal` is true"
    )
    while_signal: str | None
    old_after_seconds: float = Field(
        description="the age from which a value is old, unless the provider reports less often"
    )
    not_available: list[NotAvailableCode]
    vss_path: str | None = Field(description="in the COVESA Vehicle Signal Specification")


class SignalList(AnswerModel):
    items: list[CatalogueSignal]


def declare_catalogues(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET",
        "/provider-types",
        scope=Scope.READ,
        response=ProviderTypeList,
        tagged=True,
        conditions=(IF_NONE_MATCH,),
        tag=_TAG,
    )
    async def list_provider_types() -> Response:
        """List the provider types: settings with defaults, transports, documented limits."""
        items = [_present_type(services.providers[name]) for name in sorted(services.providers)]
        return await answer_unchanging(json_response(ProviderTypeList(items=items)))

    @operations.declare(
        "GET",
        "/signals",
        scope=Scope.READ,
        response=SignalList,
        tagged=True,
        conditions=(IF_NONE_MATCH,),
        tag=_TAG,
    )
    async def list_signals() -> Response:
        """List the signals: unit, valid range, when they age, and codes for "not available"."""
        items = [_present_signal(signal) for signal in CATALOGUE.values()]
        return await answer_unchanging(json_response(SignalList(items=items)))


def _present_type(provider: Provider) -> ProviderTypeAnswer:
    about, chosen = provider.about, provider.destination_settings
    return ProviderTypeAnswer(
        provider_type=provider.provider_type,
        title=about.title,
        summary=about.summary,
        transports=sorted(provider.transports),
        base_url=about.base_url,
        credential=about.credential,
        settings=dict(about.settings),
        destination_settings=None if chosen is None else sorted(chosen),
        ids_are_vins=provider.ids_are_vins,
        expected_update_seconds=about.expected_update_seconds,
        limits=[_present_limit(limit) for limit in about.limits],
    )


def _present_limit(limit: DocumentedLimit) -> ProviderLimit:
    return ProviderLimit(**limit._asdict())


def _present_signal(signal: Signal) -> CatalogueSignal:
    return CatalogueSignal(
        signal=signal.name,
        description=signal.description,
        kind=signal.kind,
        unit=signal.unit,
        minimum=signal.minimum,
        maximum=signal.maximum,
        reporting="periodic" if signal.while_signal is None else "while",
        while_signal=signal.while_signal,
        old_after_seconds=signal.old_after_seconds,
        not_available=[_present_code(code) for code in list_codes(signal.name)],
        vss_path=signal.vss_path,
    )


def _present_code(code: ListedCode) -> NotAvailableCode:
    return NotAvailableCode(**code._asdict())
