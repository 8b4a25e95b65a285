"""Every reason and every member of the evidence has its sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pytest
from markupsafe import Markup, escape

from api.evidence import Evidence
from api.pages.evidence_words import BAD, GOOD, SIDES, Teller, tell_causes, tell_evidence
from api.pages.reason_words import reason_words
from domain.health_reason import HealthReason

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
TELLER: Final = Teller(NOW, "UTC")
EARLIER: Final = "2026-03-01T11:00:00Z"
FAULT: Final = {"class": "outage", "detail": "HTTP 503", "at": EARLIER, "failing_since": EARLIER}
MEMBERS: Final = {name for makers in SIDES.values() for name in makers}
QUIET: Final[dict[str, Any]] = {
    "causes": [],
    **dict.fromkeys(MEMBERS),
    "collecting_paused": False,
    "owner": "shard-1",
    "due_seconds": 660.0,
    "connection_active": True,
    "look_alike_ids": [],
    "refused_signals": {},
}
# Another value of each member, and what the page then says.
SAID: Final = {
    "collecting_paused": (True, "Collecting is paused"),
    "owner": (None, "No shard owns the workspace"),
    "owner_expires_at": (EARLIER, "its session is valid until"),
    "last_cycle_started_at": (EARLIER, "The newest poll cycle started"),
    "last_good_cycle_at": (EARLIER, "The last cycle that brought answers"),
    "next_poll_at": (EARLIER, "The next poll is planned for"),
    "oldest_waiting_seconds": (61.0, "has waited for 1 min 1 s"),
    "connection_active": (False, "The connection is switched off"),
    "last_error": (FAULT, "HTTP 503"),
    "stream_status": ("closed", "The stream is closed"),
    "last_stream_error": (FAULT, "The last opening of the stream that failed"),
    "last_sender_at": (EARLIER, "Somebody last sent data"),
    "last_roster_at": (EARLIER, "last named every vehicle"),
    "provider_answered_at": (EARLIER, "The provider last answered about the device"),
    "due_seconds": (120.0, "recent for 2 min"),
    "statement": ({"kind": "left_out", "asked_at": None, "at": EARLIER, "detail": None}, "What it"),
    "look_alike_ids": (["X-BUS1"], "X-BUS1"),
    "last_update_received_at": (EARLIER, "The newest accepted update came"),
    "last_observed_at": (EARLIER, "By its own clock"),
    "held_back_seconds": (600.0, "had that data for 10 min"),
    "last_rejected_at": (EARLIER, "refused whole"),
    "last_outdated_at": (EARLIER, "older than what is stored"),
    "refused_signals": ({"soc_percent": 3}, "soc_percent (3 times)"),
}
# Members that say more about another one.
BESIDE: Final = {
    "last_cycle_outcome": ("last_cycle_started_at", EARLIER, "failed", "no connection answered"),
    "stream_down_since": ("stream_status", "open", EARLIER, "has not been steady since"),
    "away_for_seconds": ("last_observed_at", EARLIER, 7200.0, "away for 2 h"),
    "last_rejection_reason": ("last_rejected_at", EARLIER, "invalid", "is not allowed"),
}


def say(**changes: Any) -> str:
    told = tell_evidence({**QUIET, **changes}, TELLER)
    return Markup(" ").join(finding.text for _, findings in told for finding in findings)


def test_every_member_of_the_evidence_has_a_sentence() -> None:
    assert set(Evidence.model_fields) - {"causes"} == MEMBERS
    assert set(SAID) | set(BESIDE) == MEMBERS


@pytest.mark.parametrize("member", SAID)
def test_a_member_is_told(member: str) -> None:
    value, expected = SAID[member]
    assert expected not in say()
    assert expected in say(**{member: value})


@pytest.mark.parametrize("member", BESIDE)
def test_a_member_says_more_about_another(member: str) -> None:
    other, its_value, value, expected = BESIDE[member]
    assert expected not in say(**{other: its_value})
    assert expected in say(**{other: its_value, member: value})


def test_a_lease_that_is_over_is_marked() -> None:
    (owner, *_) = tell_evidence({**QUIET, "owner_expires_at": EARLIER}, TELLER)[0][1]
    assert owner.mark == BAD


def test_calls_that_succeed_again_are_good() -> None:
    told = tell_evidence({**QUIET, "last_error": {**FAULT, "failing_since": None}}, TELLER)
    assert [f.mark for f in told[1][1] if "HTTP 503" in f.text] == [GOOD]


@pytest.mark.parametrize("reason", HealthReason)
def test_every_reason_has_words_and_is_told_as_a_cause(reason: HealthReason) -> None:
    why, next_step = reason_words(reason)
    assert why.endswith(".")
    assert next_step or reason is HealthReason.REPORTING
    cause = {"reason": reason, "party": "ours", "since": EARLIER, "detail": None}
    (told,) = tell_causes({"causes": [cause]}, TELLER)
    assert "Since " in told.text


def test_words_from_outside_are_escaped() -> None:
    hostile = "<script>alert(1)</script>"
    statement = {"kind": "error", "asked_at": None, "at": None, "detail": hostile}
    text = say(
        owner=hostile,
        last_error={**FAULT, "detail": hostile},
        statement=statement,
        look_alike_ids=[hostile],
        last_rejected_at=EARLIER,
        last_rejection_reason=hostile,
        refused_signals={hostile: 1},
    )
    assert "<script" not in escape(text)
    assert text.count("&lt;script") == 6
