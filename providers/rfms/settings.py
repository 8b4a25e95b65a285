"""Settings of an rFMS connection. They are checked before they are stored with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from providers.loose_types import parse_zone

if TYPE_CHECKING:
    from datetime import tzinfo

TWO_WEEKS_SECONDS = 14 * 86_400.0  # the standard makes every maker keep this much


class RfmsSettings(BaseModel):
    """The defaults are the standard's (rFMS 4.0.0).

    Makers differ in authentication, paths and Accept.

    `max_cursor_age_seconds`: a cursor older than this may lie before the oldest record that the
    maker keeps, so the run begins again with the latest status of every vehicle.

    `max_pages`: pages of one run. After that many pages since a cursor, the run ends and the next
    one goes on from there. More pages of latest statuses are a fault.

    `time_zone`: the zone of times that state none: UTC, an offset such as +02:00, or a name such as
    Europe/Stockholm. Without it, a record whose time has no zone is malformed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    auth: Literal["bearer", "basic"] = "bearer"
    accept: str = Field(
        "application/json; rfms=vehiclestatuses.v4.0", min_length=1, pattern=r"^[\x20-\x7e]+$"
    )
    statuses_path: str = Field("/vehiclestatuses", pattern=r"^/[^?#\s]+$")
    content_filter: str | None = Field(None, pattern=r"^[A-Z,]+$")
    max_cursor_age_seconds: float = Field(TWO_WEEKS_SECONDS, gt=0, allow_inf_nan=False)
    max_pages: int = Field(200, ge=1, le=10_000)
    time_zone: str | None = Field(None, max_length=64)
    request_deadline_seconds: float = Field(60.0, gt=0, le=300)

    @field_validator("time_zone")
    @classmethod
    def _check_time_zone(cls, value: str | None) -> str | None:
        if value is not None:
            parse_zone(value)
        return value

    @property
    def zone(self) -> tzinfo | None:
        return None if self.time_zone is None else parse_zone(self.time_zone)
