"""Settings of a ViriCiti connection. They are checked before they are stored with it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from providers.viriciti.wire import LABELS, Rules


class ViriCitiSettings(BaseModel):
    """Settings with their defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: tuple[str, ...] = Field(
        tuple(LABELS),
        description="subscribed to and asked for; a label that no vehicle has costs nothing",
    )
    state_chunk_size: int = Field(100, ge=1, le=1000, description="vehicles in one state call")
    # Whether a second message adds to the first or replaces it is not documented. So the default
    # puts any real fleet into one message, whose echo stays under the largest frame we take.
    subscription_chunk_size: int = Field(
        5000,
        ge=1,
        le=5000,
        description="vehicles in one subscription message; lower it only for a server that is "
        "known to add a second message to the first",
    )
    charging_power_threshold_kw: float | None = Field(
        -1.0,
        le=0.0,
        allow_inf_nan=False,
        description="a power below it means charging; null: there is no signal charging",
    )
    power_sign: Literal["negative_into_battery", "positive_into_battery"] = Field(
        "negative_into_battery", description="the sign of the label power while charging"
    )
    request_deadline_seconds: float = Field(
        30.0, gt=0, le=300, description="for one state call and its answer"
    )
    connect_timeout_seconds: float = Field(10.0, gt=0, le=60, description="to open the stream")
    disconnect_timeout_seconds: float = Field(3.0, gt=0, le=30, description="to close the stream")
    send_timeout_seconds: float = Field(10.0, gt=0, le=60, description="to send a subscription")
    ping_timeout_seconds: float = Field(10.0, gt=0, le=60, description="for the answer to a ping")

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
