"""What the verdict run knows while it goes on: every verdict, and the faults of our own side.

Owns the samples and the causes that the run itself made. The simulator knows the rest.
"""

from __future__ import annotations

from datetime import datetime
from time import time
from typing import TYPE_CHECKING, Any, Final

from benchmarks.confusion import Sample
from benchmarks.progress import Progress
from benchmarks.truth import OURS, UNKNOWN, Cause, Limits, Truth, read_story

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.confusion import Device

# The sides of the reasons, for a service whose verdicts do not name one.
PARTIES: Final[Mapping[str, str]] = {
    "switched_off": "customer",
    "collector_late": "ours",
    "ingest_backlog": "ours",
    "misconfigured": "ours",
    "credentials_rejected": "customer",
    "quota_exhausted": "provider",
    "provider_outage": "provider",
    "stream_disconnected": "provider",
    "provider_delay": "provider",
    "updates_rejected": "device",
    "outdated_data": "device",
    "unknown_to_provider": "customer",
    "sender_silent": "customer",
    "awaiting_first_data": "unknown",
    "no_answer_yet": "unknown",
    "never_reported": "device",
    "device_silent": "device",
    "signal_silent": "device",
    "reporting": "none",
}


class Record:
    """What the run knows while it goes on: the samples, and the faults of our own side."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.progress = Progress()
        self.samples: list[Sample] = []
        self.owners: dict[str, str | None] = {}
        self.ours: dict[str, list[Cause]] = {}

    def begin(
        self,
        workspace: str,
        name: str,
        until: float | None,
        hidden: float,
        party: str = OURS,
    ) -> None:
        """Note a cause that begins now. For `hidden` seconds the rule cannot know it."""
        self.progress.begin(name)
        cause = Cause(
            name,
            party,
            time(),
            until,
            is_shared=True,
            also=frozenset({UNKNOWN}),
            also_seconds=hidden,
            after=frozenset({OURS, UNKNOWN}),  # until we have asked again
        )
        self.ours.setdefault(workspace, []).append(cause)

    def note(self, workspace: str, report: Mapping[str, Any]) -> None:
        """Keep the verdicts of a health report, and end a gap of ours when a new cycle began."""
        at = _instant(report["evaluated_at"])
        for item in report["items"]:
            reason = item["reason"]
            self.samples.append(
                Sample(
                    at,
                    (workspace, item["external_id"]),
                    item["state"],
                    reason,
                    item.get("party") or PARTIES[reason],
                    item["thresholds"]["delayed_after_seconds"],
                )
            )
        self.progress.count(f"{len(self.samples)} verdicts")
        evidence = report["items"][0]["evidence"]
        self.owners[workspace] = evidence["owner"]
        started = evidence["last_cycle_started_at"]
        if started is not None:
            self._end_gap(workspace, _instant(started), at)

    def _end_gap(self, workspace: str, started: float, at: float) -> None:
        causes = self.ours.get(workspace, [])
        for number, cause in enumerate(causes):
            if cause.until is None and started > cause.since + 0.5:
                causes[number] = cause._replace(until=at)


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def truths_of(story: Mapping[str, Any], record: Record) -> dict[Device, Truth]:
    truths: dict[Device, Truth] = {}
    for workspace, episodes in story.items():
        causes = read_story(episodes, record.limits)
        shared = [*causes.get(None, ()), *record.ours.get(workspace, ())]
        for device in {sample.device for sample in record.samples if sample.device[0] == workspace}:
            truths[device] = Truth([*causes.get(device[1], ()), *shared], record.limits)
    return truths
