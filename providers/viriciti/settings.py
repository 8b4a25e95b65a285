"""Settings of a ViriCiti connection. They are checked before they are stored with it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from providers.viriciti.wire import LABELS, Rules


class ViriCitiSettings(BaseModel):
    """Settings with their defaults.

    `labels`: the labels that are subscribed to and asked for. A label that no vehicle of the fleet
    has costs nothing.

    `subscription_chunk_size`: vehicles in one subscription message. Whether a second message adds
    to the first or replaces it is not documented. So the default puts any real fleet into one
    message, whose echo stays under the largest frame we take. Lower it only for a server that is
    known to add.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: tuple[str, ...] = tuple(LABELS)
    state_chunk_size: int = Field(100, ge=1, le=1000)
    subscription_chunk_size: int = Field(5000, ge=1, le=5000)
    charging_power_threshold_kw: float | None = Field(-1.0, le=0.0, allow_inf_nan=False)
    power_sign: Literal["negative_into_battery", "positive_into_battery"] = "negative_into_battery"
    request_deadline_seconds: float = Field(30.0, gt=0, le=300)
    connect_timeout_seconds: float = Field(10.0, gt=0, le=60)
    disconnect_timeout_seconds: float = Field(3.0, gt=0, le=30)
    send_timeout_seconds: float = Field(10.0, gt=0, le=60)
    ping_timeout_seconds: float = Field(10.0, gt=0, le=60)

    @field_validator("labels")
    @classmethod
    def _are_known(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(labels) - LABELS.keys())
        if unknown:
            raise ValueError(f"unknown labels {unknown}: choose from {sorted(LABELS)}")
        if not labels:
            raise ValueError("name at least one label, or leave the setting out to ask for all")
        return tuple(dict.fromkeys(labels))

    @property
    def rules(self) -> Rules:
        return Rules(
            self.charging_power_threshold_kw,
            1 if self.power_sign == "negative_into_battery" else -1,
        )
