"""Settings of an rFMS connection. They are checked before they are stored with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from providers.loose_types import parse_zone

if TYPE_CHECKING:
    from datetime import tzinfo

TWO_WEEKS_SECONDS = 14 * 86_400.0  # the standard makes every maker keep this much


class RfmsSettings(BaseModel):
    """The defaults are the standard's (rFMS 4.0.0); makers differ in some of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    auth: Literal["bearer", "basic"] = Field(
        "bearer", description="how the credential is sent; basic: it reads user:password"
    )
    accept: str = Field(
        "application/json; rfms=vehiclestatuses.v4.0",
        min_length=1,
        pattern=r"^[\x20-\x7e]+$",
        description="the Accept header; a maker answers 406 to a wrong one",
    )
    statuses_path: str = Field(
        "/vehiclestatuses", pattern=r"^/[^?#\s]+$", description="what follows base_url"
    )
    content_filter: str | None = Field(
        None, pattern=r"^[A-Z,]+$", description="contentFilter, such as SNAPSHOT; null: all"
    )
    max_cursor_age_seconds: float = Field(
        TWO_WEEKS_SECONDS,
        gt=0,
        allow_inf_nan=False,
        description="an older cursor may lie before the oldest record that the maker keeps, so the "
        "run begins again with the latest status of every vehicle",
    )
    max_pages: int = Field(
        200,
        ge=1,
        le=10_000,
        description="pages of one run; after that many since a cursor the next run goes on from "
        "there, and more pages of latest statuses are a fault",
    )
    time_zone: str | None = Field(
        None,
        max_length=64,
        description="the zone of times that state none: UTC, an offset such as +02:00, or a name "
        "such as Europe/Stockholm; without it, a record whose time has no zone is malformed",
    )
    request_deadline_seconds: float = Field(
        60.0, gt=0, le=300, description="for one call and its answer"
    )

    @field_validator("time_zone")
    @classmethod
    def _check_time_zone(cls, value: str | None) -> str | None:
        if value is not None:
            parse_zone(value)
        return value

    @property
    def zone(self) -> tzinfo | None:
        return None if self.time_zone is None else parse_zone(self.time_zone)
