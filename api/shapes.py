"""The shapes that several resources share: ids, names, durations, overrides.

A body or an answer of one resource stands beside its handlers; this file has the shared ones only.
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api.bodies import RequestModel
from domain.ids import ID_PATTERN
from domain.model import NO_OVERRIDE, PolicyOverride
from domain.thresholds import OVERRIDABLE, is_in_order

# No control characters: PostgreSQL refuses NUL, and a line break in a name breaks logs and CSV.
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
MAX_OWN_NAME = 128  # of what the provider or the customer calls something

_TRIMMED = StringConstraints(strip_whitespace=True)


def accept_whole(value: object) -> object:
    """Return 300.0 as 300: they are the same to JSON Schema and to clients with one number type."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Identifier = Annotated[
    str, Field(pattern=ID_PATTERN, description="1 to 64 letters, digits and . _ : -")
]
ExternalId = Annotated[
    str,
    _TRIMMED,
    Field(
        max_length=MAX_OWN_NAME,
        pattern=PRINTABLE,
        description="the provider's own name for it; spaces at its ends are removed",
    ),
]
VehicleId = Annotated[
    str,
    _TRIMMED,
    Field(
        max_length=MAX_OWN_NAME,
        pattern=PRINTABLE,
        description="as the customer knows it; spaces at its ends are removed",
    ),
]
Name = Annotated[str, Field(max_length=200, pattern=PRINTABLE)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000)]


class AnswerModel(BaseModel):
    """Base of answers. A value that does not fit its field is a bug of ours, and becomes a 500."""

    # A member with a default is in every answer, too, so the description says that it is required.
    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class Overrides(RequestModel):
    """Thresholds of one provider connection or device, in seconds; null inherits.

    A device is never stale before it is delayed: a longer delayed_after_seconds alone moves both.
    """

    delayed_after_seconds: Seconds | None = None
    stale_after_seconds: Seconds | None = None
    grace_seconds: Seconds | None = None

    @model_validator(mode="after")
    def _refuse_contradiction(self) -> Self:
        if not is_in_order(self.delayed_after_seconds, self.stale_after_seconds):
            raise ValueError("stale_after_seconds must be more than delayed_after_seconds")
        return self

    def to_domain(self) -> PolicyOverride:
        return PolicyOverride(**self.model_dump())

    @staticmethod
    def of(override: PolicyOverride) -> "Overrides":
        # Unchecked, so that any stored value can be shown.
        fields = {name: getattr(override, name) for name in OVERRIDABLE}
        return Overrides.model_construct(**fields)


NO_OVERRIDES = Overrides.of(NO_OVERRIDE)
