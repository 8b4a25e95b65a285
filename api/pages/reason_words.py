"""Every reason as a sentence about one device, and what to do next.

Owns the words only. docs/health.md says when each holds, docs/operations.md what to look at.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from domain.health_reason import HealthReason

if TYPE_CHECKING:
    from collections.abc import Mapping


class ReasonWords(NamedTuple):
    """`why` completes "It is stale because …"; `next_step` is an advice, or empty."""

    why: str
    next_step: str


_WORDS: Final[Mapping[HealthReason, ReasonWords]] = MappingProxyType(
    {
        HealthReason.REPORTING: ReasonWords("it reports in time.", ""),
        HealthReason.PROVIDER_DELAY: ReasonWords(
            "it reports, but its newest data was already old when it came.",
            "Compare when data was observed with when it came; show the provider the difference.",
        ),
        HealthReason.SIGNAL_SILENT: ReasonWords(
            "it reports, but some of its signals have stopped coming.",
            "Look for the values marked old below; their sensor or its cable may have failed.",
        ),
        HealthReason.SWITCHED_OFF: ReasonWords(
            "its workspace or its connection is switched off, so nobody asks for its data.",
            "Switch it on again when the vehicle should be followed.",
        ),
        HealthReason.COLLECTOR_LATE: ReasonWords(
            "our own collecting is late, or has not caught up after a gap.",
            "Nothing can be said about the device yet. Look at the runtime page: a shard may be "
            "missing.",
        ),
        HealthReason.INGEST_BACKLOG: ReasonWords(
            "data waits with us to be stored.",
            "Look at the runtime page: lanes, oldest waiting data, database.",
        ),
        HealthReason.MISCONFIGURED: ReasonWords(
            "address, secret or settings of its connection are wrong.",
            "Correct the connection; `lastheard provider try` shows what it brings.",
        ),
        HealthReason.CREDENTIALS_REJECTED: ReasonWords(
            "the provider refuses the account.",
            "Ask the customer for valid credentials.",
        ),
        HealthReason.QUOTA_EXHAUSTED: ReasonWords(
            "the quota of the account at the provider is used up.",
            "Wait until the provider renews it, poll less often, or ask for a larger one.",
        ),
        HealthReason.PROVIDER_OUTAGE: ReasonWords(
            "the provider does not answer, or not readably.",
            "Other devices of the connection are silent too. Report it to the provider.",
        ),
        HealthReason.STREAM_DISCONNECTED: ReasonWords(
            "the stream of its connection is not open.",
            "It is opened again by itself. If it stays away, report it to the provider.",
        ),
        HealthReason.UPDATES_REJECTED: ReasonWords(
            "it sends, and what it sends is refused.",
            "The refusals below say which value or time cannot be.",
        ),
        HealthReason.OUTDATED_DATA: ReasonWords(
            "it sends, and everything is older than what is stored.",
            "Its clock may be wrong, or it empties an old buffer.",
        ),
        HealthReason.UNKNOWN_TO_PROVIDER: ReasonWords(
            "the provider does not name it, or answers with an error for it.",
            "Check its external id, and whether the vehicle is still in the customer's account.",
        ),
        HealthReason.SENDER_SILENT: ReasonWords(
            "nobody sends over its push connection any more.",
            "Ask the customer why the sender stopped.",
        ),
        HealthReason.AWAITING_FIRST_DATA: ReasonWords(
            "it is new, and its first data may still come.",
            "Nothing has to be done before its grace is over.",
        ),
        HealthReason.NEVER_REPORTED: ReasonWords(
            "the provider answers about it, and it has never sent anything.",
            "Check that the unit is installed and powered, and that its external id is right.",
        ),
        HealthReason.DEVICE_SILENT: ReasonWords(
            "the provider answers about it, and it has stopped sending.",
            "The vehicle may be parked, without power or without a network. Ask the customer.",
        ),
        HealthReason.NO_ANSWER_YET: ReasonWords(
            "no known fact explains the silence.",
            "Wait for the next answer of the provider: it shows whose side it is.",
        ),
    }
)


def reason_words(reason: str) -> ReasonWords:
    return _WORDS[HealthReason(reason)]
