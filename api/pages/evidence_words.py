"""The evidence of a verdict in sentences: what was checked, in what order, and what was found.

Owns the sentence of every member of `evidence` (api/evidence.py). It decides nothing: the verdict
comes from domain/health.py. docs/health.md has the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from markupsafe import Markup

from api.pages.times import parse_instant, show_age, show_instant, show_since
from api.pages.words import meaning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

GOOD, BAD, PLAIN = "good", "bad", "plain"
Facts = Mapping[str, Any]


class Finding(NamedTuple):
    """One thing that was checked. `mark`: nothing wrong, something wrong, or neither."""

    mark: str
    text: str


class Teller(NamedTuple):
    """Writes times in the zone of the page, with how long ago they were."""

    now: datetime
    zone: str

    def at(self, value: Any) -> str:
        ago = show_since(value, self.now)
        return Markup("{} ({} ago)").format(show_instant(value, self.zone), ago)

    def until(self, value: Any) -> str:
        return show_instant(value, self.zone)


Tell = Callable[[Facts, Teller], Finding | None]


def tell_evidence(evidence: Facts, teller: Teller) -> list[tuple[str, list[Finding]]]:
    """Return what was checked, by side: ours first, the device last."""
    return [(side, list(_tell(makers, evidence, teller))) for side, makers in SIDES.items()]


def _tell(makers: Mapping[str, Tell], evidence: Facts, teller: Teller) -> Iterator[Finding]:
    for tell in dict.fromkeys(makers.values()):  # one sentence may tell of two members
        found = tell(evidence, teller)
        if found is not None:
            yield found


def tell_causes(evidence: Facts, teller: Teller) -> list[Finding]:
    """Return every cause that holds now, in the order of the rule."""
    return [_tell_cause(each, teller) for each in evidence["causes"]]


def _tell_cause(cause: Facts, teller: Teller) -> Finding:
    text = Markup("{}").format(_sentence(meaning("HealthReason", cause["reason"])))
    if cause["since"] is not None:
        text += Markup(" Since {}.").format(teller.at(cause["since"]))
    if cause["detail"]:
        text += Markup(" In detail: {}.").format(cause["detail"])
    return Finding(BAD, text)


def _sentence(text: str) -> str:
    words = text.replace("`", "")
    return f"{words[:1].upper()}{words[1:]}."


# --- our side


def _tell_owner(evidence: Facts, teller: Teller) -> Finding:
    owner, expires_at = evidence["owner"], evidence["owner_expires_at"]
    if evidence["collecting_paused"]:
        return Finding(BAD, "Collecting is paused: every running shard was started with --paused.")
    if owner is None:
        return Finding(BAD, "No shard owns the workspace, so nobody collects it.")
    if expires_at is None:
        return Finding(PLAIN, Markup("Shard {} owns the workspace.").format(owner))
    mark = GOOD if _is_after(expires_at, teller.now) else BAD
    text = Markup("Shard {} owns the workspace; its session is valid until {}.")
    return Finding(mark, text.format(owner, teller.until(expires_at)))


def _tell_cycle(evidence: Facts, teller: Teller) -> Finding:
    started_at, outcome = evidence["last_cycle_started_at"], evidence["last_cycle_outcome"]
    if started_at is None:
        return Finding(PLAIN, "No poll cycle has started yet.")
    mark = BAD if outcome in {"failed", "timed_out", "abandoned", "missed"} else GOOD
    text = Markup("The newest poll cycle started at {}: {}.")
    said = "its outcome is not known" if outcome is None else meaning("CycleOutcome", outcome)
    return Finding(mark, text.format(teller.at(started_at), said))


def _tell_good_cycle(evidence: Facts, teller: Teller) -> Finding | None:
    if evidence["last_good_cycle_at"] is None:
        return None
    text = Markup("The last cycle that brought answers ended at {}.")
    return Finding(GOOD, text.format(teller.at(evidence["last_good_cycle_at"])))


def _tell_next_poll(evidence: Facts, teller: Teller) -> Finding:
    if evidence["next_poll_at"] is None:
        return Finding(PLAIN, "No poll is planned.")
    text = Markup("The next poll is planned for {}.")
    return Finding(PLAIN, text.format(teller.until(evidence["next_poll_at"])))


def _tell_waiting(evidence: Facts, _: Teller) -> Finding:
    waiting = evidence["oldest_waiting_seconds"]
    if not waiting or waiting < 1:
        return Finding(GOOD, "No data of the workspace waits to be stored.")
    text = f"The oldest data of the workspace has waited for {show_age(waiting)} to be stored."
    return Finding(BAD if waiting > 30 else PLAIN, text)


# --- the connection


def _tell_active(evidence: Facts, _: Teller) -> Finding:
    if evidence["connection_active"]:
        return Finding(GOOD, "The connection is switched on.")
    return Finding(BAD, "The connection is switched off.")


def _tell_calls(evidence: Facts, teller: Teller) -> Finding:
    return _tell_fault(evidence["last_error"], "call to the provider", teller)


def _tell_stream(evidence: Facts, teller: Teller) -> Finding | None:
    status, down_since = evidence["stream_status"], evidence["stream_down_since"]
    if status is None:
        return None
    text = Markup("The stream is {}.").format(status)
    if down_since is not None:
        text += Markup(" It has not been steady since {}.").format(teller.at(down_since))
    return Finding(GOOD if status == "open" and down_since is None else BAD, text)


def _tell_stream_fault(evidence: Facts, teller: Teller) -> Finding | None:
    if evidence["last_stream_error"] is None:
        return None
    return _tell_fault(evidence["last_stream_error"], "opening of the stream", teller)


def _tell_fault(fault: Facts | None, what: str, teller: Teller) -> Finding:
    if fault is None:
        return Finding(GOOD, f"No {what} has failed.")
    why = meaning("FaultClass", fault["class"]) if fault["class"] else "the reason is not known"
    text = Markup("The last {} that failed was at {}: {}.").format(
        what, teller.at(fault["at"]), why
    )
    if fault["detail"]:
        text += Markup(" In detail: {}.").format(fault["detail"])
    if fault["failing_since"] is None:
        return Finding(GOOD, text + Markup(" Later ones succeeded."))
    text += Markup(" It has failed since {}.").format(teller.at(fault["failing_since"]))
    return Finding(BAD, text)


def _tell_sender(evidence: Facts, teller: Teller) -> Finding | None:
    if evidence["last_sender_at"] is None:
        return None
    text = Markup("Somebody last sent data over the connection at {}.")
    return Finding(PLAIN, text.format(teller.at(evidence["last_sender_at"])))


def _tell_roster(evidence: Facts, teller: Teller) -> Finding | None:
    if evidence["last_roster_at"] is None:
        return None
    text = Markup("The provider last named every vehicle of the account at {}.")
    return Finding(PLAIN, text.format(teller.at(evidence["last_roster_at"])))


# --- what the provider says about the device


def _tell_answer(evidence: Facts, teller: Teller) -> Finding:
    due = show_age(evidence["due_seconds"])
    if evidence["provider_answered_at"] is None:
        text = f"The provider has not answered about the device. (An answer is recent for {due}.)"
        return Finding(PLAIN, text)
    text = Markup("The provider last answered about the device at {}; that is recent for {}.")
    return Finding(GOOD, text.format(teller.at(evidence["provider_answered_at"]), due))


def _tell_statement(evidence: Facts, teller: Teller) -> Finding | None:
    statement = evidence["statement"]
    if statement is None:
        return None
    said = _sentence(meaning("StatementKind", statement["kind"])).rstrip(".")
    text = Markup("What it said: {}.").format(said)
    if statement["at"] is not None:
        text += Markup(" Answered at {}.").format(teller.at(statement["at"]))
    if statement["detail"]:
        text += Markup(" In detail: {}.").format(statement["detail"])
    return Finding(GOOD if statement["kind"] == "named" else BAD, text)


def _tell_look_alikes(evidence: Facts, _: Teller) -> Finding | None:
    ids = evidence["look_alike_ids"]
    if not ids:
        return None
    text = Markup("Data comes for ids without a device that look almost like this one's: {}.")
    return Finding(BAD, text.format(", ".join(ids)))


# --- the device


def _tell_received(evidence: Facts, teller: Teller) -> Finding:
    if evidence["last_update_received_at"] is None:
        return Finding(BAD, "No update of the device has been accepted since it was configured.")
    text = Markup("The newest accepted update came at {}.")
    return Finding(PLAIN, text.format(teller.at(evidence["last_update_received_at"])))


def _tell_observed(evidence: Facts, teller: Teller) -> Finding | None:
    if evidence["last_observed_at"] is None:
        return None
    text = Markup("By its own clock its newest data is of {}.").format(
        teller.at(evidence["last_observed_at"])
    )
    if evidence["away_for_seconds"] is not None:
        text += f" So it has been away for {show_age(evidence['away_for_seconds'])}."
    return Finding(PLAIN, text)


def _tell_held_back(evidence: Facts, _: Teller) -> Finding | None:
    held = evidence["held_back_seconds"]
    if held is None:
        return None
    text = f"The provider had that data for {show_age(held)} before we got it."
    return Finding(PLAIN if held < 60 else BAD, text)


def _tell_rejected(evidence: Facts, teller: Teller) -> Finding | None:
    at, reason = evidence["last_rejected_at"], evidence["last_rejection_reason"]
    if at is None:
        return None
    why = "the reason was not kept" if reason is None else meaning("Reason", reason) or reason
    text = Markup("Data of it was last refused whole at {}: {}.")
    return Finding(BAD, text.format(teller.at(at), why.replace("`", "")))


def _tell_outdated(evidence: Facts, teller: Teller) -> Finding | None:
    if evidence["last_outdated_at"] is None:
        return None
    text = Markup("Data in which everything was older than what is stored last came at {}.")
    return Finding(BAD, text.format(teller.at(evidence["last_outdated_at"])))


def _tell_refused_signals(evidence: Facts, _: Teller) -> Finding | None:
    refused = evidence["refused_signals"]
    if not refused:
        return None
    listed = ", ".join(f"{signal} ({count} times)" for signal, count in sorted(refused.items()))
    return Finding(BAD, Markup("Refused in the last hours: {}.").format(listed))


def _is_after(value: Any, now: datetime) -> bool:
    return parse_instant(value) > now


# Every member of `evidence` but `causes`, by side, in the order of the rule.
SIDES: Final[Mapping[str, Mapping[str, Tell]]] = MappingProxyType(
    {
        "Our side": {
            "collecting_paused": _tell_owner,
            "owner": _tell_owner,
            "owner_expires_at": _tell_owner,
            "last_cycle_started_at": _tell_cycle,
            "last_cycle_outcome": _tell_cycle,
            "last_good_cycle_at": _tell_good_cycle,
            "next_poll_at": _tell_next_poll,
            "oldest_waiting_seconds": _tell_waiting,
        },
        "The connection": {
            "connection_active": _tell_active,
            "last_error": _tell_calls,
            "stream_status": _tell_stream,
            "stream_down_since": _tell_stream,
            "last_stream_error": _tell_stream_fault,
            "last_sender_at": _tell_sender,
            "last_roster_at": _tell_roster,
        },
        "What the provider says about the device": {
            "provider_answered_at": _tell_answer,
            "due_seconds": _tell_answer,
            "statement": _tell_statement,
            "look_alike_ids": _tell_look_alikes,
        },
        "The device": {
            "last_update_received_at": _tell_received,
            "last_observed_at": _tell_observed,
            "away_for_seconds": _tell_observed,
            "held_back_seconds": _tell_held_back,
            "last_rejected_at": _tell_rejected,
            "last_rejection_reason": _tell_rejected,
            "last_outdated_at": _tell_outdated,
            "refused_signals": _tell_refused_signals,
        },
    }
)
