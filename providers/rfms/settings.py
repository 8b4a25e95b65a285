"""Settings of an rFMS connection. They are checked before they are stored with it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

TWO_WEEKS_SECONDS = 14 * 86_400.0  # the standard makes every maker keep this much


class RfmsSettings(BaseModel):
    """The defaults are the standard's (rFMS 4.0.0).

    Makers differ in authentication, paths and Accept.

    `max_cursor_age_seconds`: a cursor older than this may lie before the oldest record that the
    maker keeps, so the run begins again with the latest status of every vehicle.

    `max_pages`: pages of one run. After that many pages since a cursor, the run ends and the next
    one goes on from there. More pages of latest statuses, or within one second, are a fault.
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
    request_deadline_seconds: float = Field(60.0, gt=0, le=300)
