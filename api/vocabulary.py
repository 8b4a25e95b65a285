"""The meaning of each word that an answer may hold, for the API's description.

Owns the short words for clients; docs/health.md has the whole rule. A test names a word without a
meaning here.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATES: Final = {
    "healthy": "the last update is not older than `delayed_after_seconds`",
    "delayed": "it is older than that, but not older than `stale_after_seconds`",
    "stale": "the last update is older than `stale_after_seconds`",
    "configured-no-data": "it was activated, has not reported since, and its grace is over",
    "awaiting-first-data": "it has not reported since it was activated, and its grace lasts",
}
_REASONS: Final = {
    "reporting": "it reports",
    "provider_delay": "it reports, but its newest data was already old when it came",
    "signal_silent": "it reports, but `old_signals` do not come any more",
    "switched_off": "the workspace or its connection is switched off",
    "collector_late": "our collection is late, or had a gap that has not ended",
    "ingest_backlog": "data waits with us to be stored",
    "misconfigured": "address, secret or settings of the connection are wrong",
    "credentials_rejected": "the provider refuses the account",
    "quota_exhausted": "the quota of the account is used up",
    "provider_outage": "the provider does not answer, or not readably",
    "stream_disconnected": "the provider's stream is not connected",
    "updates_rejected": "it sends, and what it sends is refused: see `last_rejection_reason`",
    "outdated_data": "it sends, and everything is older than what we have",
    "unknown_to_provider": "the provider does not name it, or answers with an error for it",
    "sender_silent": "clients have stopped sending over this push connection",
    "awaiting_first_data": "it is new; there is nothing to explain yet",
    "never_reported": "the provider answered about it, and it has never sent",
    "device_silent": "the provider answered about it, and it has stopped sending",
    "no_answer_yet": "no known fact explains the silence",
}
MEANINGS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "State": _STATES,
        "IssueState": {name: _STATES[name] for name in ("stale", "configured-no-data")},
        "HealthReason": _REASONS,
        "Party": {
            "ours": "the operator of this service",
            "provider": "the provider of the data",
            "customer": "the fleet: its account, its configuration, its senders",
            "device": "the unit in the vehicle",
            "unknown": "it cannot be known",
            "none": "no side: it reports",
        },
        "Outcome": {
            "accepted": "stored; it changed the snapshot",
            "duplicate": "it was accepted before",
            "stale": "older than what is stored",
            "conflict": "another value for an instant that has one; the first one stays",
            "rejected": "not taken: see `reason`",
            "quarantined": "not taken, because storing it failed; set aside for the operator",
        },
        "Reason": {
            "unknown_device": "no such device, or not for this key",
            "identity_conflict": "its ids belong to different devices or vehicles",
            "invalid": "a value or its form is not allowed",
            "future_timestamp": "observed more than 5 minutes after it came",
            "malformed": "it could not be read",
            "outside_assignment": "observed while the unit was in another vehicle",
            "not_available": 'the value says "not available"',
            "fenced": "the process that held it was replaced; another one collects it again",
            "data_error": "the database refused it",
            "judge_error": "our rules failed on it",
        },
        "CycleOutcome": {
            "running": "it has begun",
            "completed": "every connection answered, and its data is stored",
            "partial": "some connections answered",
            "failed": "no connection answered",
            "timed_out": "its deadline ended it; what had come is stored",
            "skipped": "there was nothing to collect",
            "missed": "no process started it in its slot",
            "abandoned": "its process ended before it did",
        },
        "ChangeKind": {
            "workspace": "its name, or whether it is active or archived",
            "policy": "thresholds or poll interval of a workspace",
            "provider": "a connection",
            "device": "a device: configured, swapped, activated or retired",
            "import": "many devices at once",
            "key": "a key: made or revoked",
            "cycle": "a run that was asked for at once",
            "replay": "an update of quarantine that was replayed; `after` has its outcome",
            "cutover": "flags, legacy system, gate or guardrails of a workspace; `after` has "
            "`rollback` or `force` where there was one",
            "sync": "many devices at once, by a synchronisation with the legacy registry; `after` "
            "has the counts, and `force` where there was one",
        },
        "SyncOutcome": {
            "synced": "the answer was applied",
            "incomplete": "items of the answer do not fit the shape; the others were applied, and "
            "no device was retired",
            "doubted": "the answer left out too many devices; it was applied, and no device was "
            "retired",
            "unreachable": "the legacy system did not answer; nothing was changed",
            "unfit": "the answer as a whole does not fit the shape; nothing was changed",
        },
        "HeldBackWhy": {
            "left_out_once": "the complete answer before this one named it",
            "too_many_left_out": "this answer is doubted",
            "too_many_left_out_before": "the complete answer before this one was doubted",
            "incomplete_answer": "its item may be one of those that do not fit",
        },
        "RegistrySource": {
            "legacy_sync": "the legacy system: its devices are synchronised each cycle, and "
            "changes of devices are refused here",
            "core": "this service",
        },
        "PollOwner": {
            "legacy": "the legacy system alone: cycles are skipped, streams closed, and what "
            "clients send is accepted",
            "both_shadow": "both, so that their values can be compared",
            "core": "this service alone",
        },
        "ReadOwner": {
            "legacy": "the legacy system: its values, with states and reasons judged on its times",
            "core": "this service",
        },
        "ParityVerdict": {
            "equal": "both systems show the same, as far as it can be compared",
            "missing_here": "the legacy system has heard the device, and core has not",
            "missing_there": "core has heard the device, and the legacy system has not",
            "older": "core's newest data is older by more than an interval and 60 s",
            "different": "a value differs by more than its tolerance",
            "incomparable": "nothing of the device can be compared",
        },
        "ProviderMode": {
            "legacy_provider": "the real connections",
            "depot_sim": "the connections that are marked `simulated`",
            "mixed": "both",
        },
        "CycleTrigger": {
            "schedule": "its regular start",
            "late": "it makes up for a start that was missed",
            "manual": "a client asked for it",
        },
        "StartState": {
            "overdue": "its slot began more than 5 s ago, and no start is recorded",
            "missed": "no process started it in its slot",
            "late": "it started a second late or later, or made up for a missed start",
            "on_time": "it started in its second",
            "awaited": "it has had no start to judge yet",
        },
        "StatementKind": {
            "named": "a record of the answer names the device",
            "left_out": "an answer that names every vehicle does not name it",
            "error": "the answer has an error in place of its data, or data that cannot be read",
        },
        "AgeGroup": {
            "under_1_day": "away for less than a day",
            "days_1_to_3": "away for one day or more",
            "days_3_to_7": "away for three days or more",
            "days_7_to_30": "away for seven days or more",
            "over_30_days": "away for thirty days or more",
            "never": "never heard since its activation",
        },
        "UnavailableReason": {
            "legacy-unreachable": "its legacy system did not answer, or not in time",
            "legacy-unfit": "the legacy system's answer does not fit its configured shape",
            "source-changed": "core has begun to serve it; the next request has it",
        },
        "FaultClass": {
            "credentials": "the provider refuses the account",
            "quota": "the quota of the account is used up",
            "outage": "the provider does not answer, or not in time",
            "protocol": "the answer cannot be read: something else may answer at this address",
            "configuration": "address, secret or settings of the connection are wrong",
        },
        "KeyState": {
            "active": "it opens its scopes",
            "expired": "its `expires_at` has passed",
            "revoked": "it was revoked, which is for ever",
        },
        "Scope": {
            "read": "opens reads, except for keys, quarantine and the audit",
            "ingest": "opens the two ways to send data",
            "follow_up": "opens nothing yet: it is for what people note on issues",
            "control": "opens changes of workspaces, policies, connections and devices, runs, "
            "and the audit of a workspace",
            "admin": "opens keys, quarantine and the audit of everything",
        },
    }
)


def add_meanings(schemas: Mapping[str, dict[str, Any]]) -> None:
    """Add the meaning of each word to the descriptions of the schemas, in place."""
    for name, meanings in MEANINGS.items():
        if name not in schemas:
            continue
        lines = [f"- `{word}`: {meaning}" for word, meaning in meanings.items()]
        parts = [schemas[name].get("description", ""), "\n".join(lines)]
        schemas[name]["description"] = "\n\n".join(filter(None, parts))
