"""The words and shapes of states, parties and reasons on the pages.

Owns how a word of the API is said to a person. What each word means is in api/vocabulary.py.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from api.vocabulary import MEANINGS
from domain.ageing import AgeGroup
from domain.health_reason import HealthReason, Party
from domain.health_state import State
from domain.signals import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Mapping

# The order in which states stand in a bar and in a legend: the worst first.
STATES: Final = (
    State.CONFIGURED_NO_DATA,
    State.STALE,
    State.DELAYED,
    State.AWAITING_FIRST_DATA,
    State.HEALTHY,
)
STATE_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        State.HEALTHY: "healthy",
        State.DELAYED: "delayed",
        State.STALE: "stale",
        State.CONFIGURED_NO_DATA: "no data",
        State.AWAITING_FIRST_DATA: "awaiting first data",
    }
)
PARTY_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        Party.OURS: "us",
        Party.PROVIDER: "provider",
        Party.CUSTOMER: "customer",
        Party.DEVICE: "device",
        Party.UNKNOWN: "not known",
        Party.NONE: "nobody",
    }
)


# Where the limits of a device come from: `source` of its thresholds.
SOURCE_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "workspace": "this policy",
        "provider": "the connection",
        "device": "the device itself",
        "expected_update_seconds": "how often the connection promises to report",
        "poll_interval_seconds": "the poll interval (limits are longer than it)",
    }
)


AGE_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        AgeGroup.UNDER_1_DAY: "less than 1 day",
        AgeGroup.DAYS_1_TO_3: "1 to 3 days",
        AgeGroup.DAYS_3_TO_7: "3 to 7 days",
        AgeGroup.DAYS_7_TO_30: "7 to 30 days",
        AgeGroup.OVER_30_DAYS: "30 days and more",
        AgeGroup.NEVER: "never heard",
    }
)


def age_name(age: str) -> str:
    return AGE_NAMES[age]


def state_name(state: str) -> str:
    return STATE_NAMES[state]


def party_name(party: str) -> str:
    return PARTY_NAMES[party]


def source_name(source: str) -> str:
    """Return where limits come from, in words; a source of a newer release as it is."""
    return SOURCE_NAMES.get(source, source)


def reason_name(reason: str) -> str:
    """Return a reason as words: `device silent`."""
    return HealthReason(reason).value.replace("_", " ")


def signal_name(signal: str) -> str:
    """Return a signal as words, without its unit: `speed` for `speed_kmh`."""
    entry = CATALOGUE.get(signal)
    text = signal.rpartition("_")[0] if entry is not None and entry.unit else signal
    return text.replace("_", " ")


def meaning(kind: str, word: str) -> str:
    """Return what a word of the API means, for a title: `meaning("HealthReason", "reporting")`."""
    return MEANINGS[kind].get(word, "")
