"""A provider type for tests. It never connects; a message is lines of `vid label value time`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from domain.model import FaultClass, Reading
from ports.providers import BadRecord, Page, ProviderDescription, ProviderFault, Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.model import ProviderConnection, Transport


class SpokenSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tongue: Literal["plain", "formal"] = "plain"
    loudness: int = 5


class SpokenProvider:
    """A type that may be configured to stream and to poll."""

    provider_type: str = "spoken"
    about: ProviderDescription = ProviderDescription(
        "Spoken", "For tests.", "any", "any", SpokenSettings.model_json_schema()
    )
    transports: frozenset[Transport] = frozenset({"poll", "stream", "push"})
    destination_settings: frozenset[str] | None = frozenset({"tongue"})
    ids_are_vins: bool = False

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        SpokenSettings.model_validate(dict(settings))

    def interpret(self, connection: ProviderConnection, message: bytes) -> Page:
        if not message.startswith(b"say "):
            raise ProviderFault(FaultClass.PROTOCOL, "this is not spoken here")
        samples, malformed = [], []
        for line in message.removeprefix(b"say ").splitlines():
            try:
                vid, label, value, time = line.decode().split()
                samples.append(
                    Sample(vid, (Reading(label, float(value), datetime.fromisoformat(time)),))
                )
            except ValueError:
                malformed.append(BadRecord(None, "not a reading", line))
        return Page(
            samples=tuple(samples),
            answered=frozenset(sample.external_id for sample in samples),
            records=len(samples) + len(malformed),
            malformed=tuple(malformed),
            malformed_count=len(malformed),
        )

    def open_poller(self, connection: ProviderConnection, secret: str | None) -> None:
        return None

    def open_streamer(self, connection: ProviderConnection, secret: str | None) -> None:
        return None


class MurmuredProvider(SpokenProvider):
    """Another type with the same settings, all of which choose where a secret is sent.

    Its documents state how often there is a record.
    """

    provider_type: str = "murmured"
    about: ProviderDescription = SpokenProvider.about._replace(expected_update_seconds=3600.0)
    destination_settings: frozenset[str] | None = None
    ids_are_vins: bool = True
