"""The form of a workspace's policy: its fields, what was typed, and what is wrong with it.

Owns how typed text becomes the body of a request. What is allowed is decided by the API, whose
refusals name the field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from api.policy import default_interval
from domain.model import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DEFAULTS: Final = Policy()


class Field(NamedTuple):
    """One member of a policy. `meaning` says what the number does; `default` 0: none."""

    name: str
    label: str
    meaning: str
    default: float | None


class FilledField(NamedTuple):
    """A field with what is in it. `faults`: why the API refuses that."""

    field: Field
    text: str
    stored: float | None
    faults: Sequence[str]

    @property
    def is_changed(self) -> bool:
        return bool(read_number(self.text) != self.stored)

    @property
    def origin(self) -> str:
        """Where the stored value comes from, in words."""
        return "default" if self.stored == self.field.default else "set here"


def list_fields(min_poll_interval_seconds: int) -> tuple[Field, ...]:
    """Return the fields in the order of the form."""
    return (
        Field(
            "freshness_target_seconds",
            "Freshness target",
            "Up to this age a device counts as fresh in the indicators.",
            _DEFAULTS.freshness_target_seconds,
        ),
        Field(
            "delayed_after_seconds",
            "Delayed after",
            "Above this age a device is delayed. At least the target.",
            _DEFAULTS.delayed_after_seconds,
        ),
        Field(
            "stale_after_seconds",
            "Stale after",
            "Above this age a device is stale, and on the worklist. More than delayed.",
            _DEFAULTS.stale_after_seconds,
        ),
        Field(
            "grace_seconds",
            "Grace for new devices",
            "So long the first report of a new device is awaited; then it is “no data”.",
            _DEFAULTS.grace_seconds,
        ),
        Field(
            "poll_interval_seconds",
            "Poll interval",
            "How often the connections of this workspace are polled. Whole seconds.",
            default_interval(min_poll_interval_seconds),
        ),
        Field(
            "start_offset_seconds",
            "Start offset",
            "When in the interval polls begin. Empty: the service spreads the starts.",
            None,
        ),
    )


def read_number(text: str) -> Any:
    """Return the number that was typed, None for nothing, and the text itself if it is neither."""
    text = text.strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number


def show_number(value: float | None) -> str:
    """Return a stored number as the form has it: `300`, `0.5`, or nothing."""
    return "" if value is None else f"{value:.15g}"


def read_texts(given: Mapping[str, str], fields: Sequence[Field]) -> dict[str, str]:
    """Return what was typed, by field; fields that were not sent are left out."""
    return {field.name: given[field.name] for field in fields if field.name in given}


def make_patch(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of a PATCH. An empty field means the default (RFC 7396: null)."""
    return {name: read_number(text) for name, text in texts.items()}


def fill(
    fields: Sequence[Field],
    stored: Mapping[str, Any],
    texts: Mapping[str, str],
    problem: Mapping[str, Any] | None = None,
) -> list[FilledField]:
    """Return the fields as they are shown: what was typed, else what is stored."""
    faults = faults_by_field(problem, fields)
    return [
        FilledField(
            field,
            texts.get(field.name, show_number(stored[field.name])),
            stored[field.name],
            faults.get(field.name, ()),
        )
        for field in fields
    ]


def faults_by_field(
    problem: Mapping[str, Any] | None, fields: Sequence[Field]
) -> dict[str, list[str]]:
    """Return the faults of a refusal by the field that each pointer names; "" for the others.

    Fields that a fault names are called as in the form.
    """
    found: dict[str, list[str]] = {}
    for error in (problem or {}).get("errors", ()):
        name = str(error.get("pointer") or "").strip("/")
        detail = str(error["detail"])
        for field in fields:
            detail = detail.replace(field.name, f"“{field.label}”")
        found.setdefault(name, []).append(detail)
    return found
