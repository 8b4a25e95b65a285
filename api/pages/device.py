"""The page of one device: its day as a picture, why it is what it is, its values and its history.

Each part is a question of its own. A part that cannot be read says so, and the rest stands.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from quart import g, request

from api.keys import Scope
from api.pages.contract import ContractRefused, Question, path_of
from api.pages.day_picture import MAX_HAPPENINGS, AgeLimits, DayPicture
from api.pages.evidence_words import Teller, tell_causes, tell_evidence
from api.pages.reason_words import reason_words
from api.pages.signal_pictures import draw_signals, show_value
from api.pages.time_window import DAY, LENGTHS, TimeSpan, find_neighbours, find_ticks, read_window
from api.pages.times import parse_instant
from api.pages.viewer import current_viewer
from domain.ids import is_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from api.pages.contract import ContractAnswer
    from api.pages.page import Pages, Values

PATH: Final = "/workspaces/<workspace_id>/devices/<device_id>"
BUCKETS: Final = 288
LISTED_CHANGES: Final = 20

Answers = dict[str, "ContractAnswer"]


def declare_device(pages: Pages) -> None:
    @pages.page(PATH, "device.html")
    async def show_device(workspace_id: str, device_id: str) -> Values:
        now: datetime = g.now if "now" in g else pages.services.clock.now()
        viewer, who = current_viewer(), _ask_who(workspace_id, device_id)
        answers = await pages.ask.get_each(viewer, who)
        _require(answers["device"])
        wanted = read_window(request.args.get("from"), request.args.get("to"), now)
        window = wanted or TimeSpan(now - DAY, now)
        if not window.is_given:
            window = window._replace(begins_at=_find_beginning(answers["assignments"], now))
        answers |= await pages.ask.get_each(viewer, _ask_about(workspace_id, device_id, window))
        return {
            "is_other_window": wanted is None,
            "is_whole_day": window.length == DAY,
            "signal": request.args.get("signal", ""),
            **_gather(answers, window, now),
        }


def _ask_who(workspace_id: str, device_id: str) -> dict[str, Question]:
    device = path_of("workspaces", workspace_id, "devices", device_id)
    return {"device": Question(device), "assignments": Question(f"{device}/assignments")}


def _require(device: ContractAnswer) -> None:
    """Raise ContractRefused if there is no such device."""
    if device.is_refused:
        raise ContractRefused(device.status, device.json, device.headers)


def _find_beginning(assignments: ContractAnswer, now: datetime) -> datetime:
    """Return when the last day of the device began: not before the device was configured."""
    day_ago = now - DAY
    if assignments.is_refused:
        return day_ago
    first_at = parse_instant(assignments.json["items"][-1]["effective_at"])
    return max(day_ago, min(first_at, now - LENGTHS[-1]))


def _ask_about(workspace_id: str, device_id: str, window: TimeSpan) -> dict[str, Question]:
    """Return the questions of the page, by part. History is for those who may change things."""
    workspace = path_of("workspaces", workspace_id)
    device = workspace + path_of("devices", device_id)
    snapshot = workspace + path_of("snapshots", device_id)
    span = {"from": window.begins_at.isoformat(), "to": window.ends_at.isoformat()}
    questions = {
        "health": Question(f"{workspace}/health", {"device_id": device_id, "limit": 1}),
        "day": Question(f"{device}/day", {**span, "buckets": BUCKETS}),
        "snapshot": Question(snapshot),
        "signals": Question("/signals"),
    }
    signal = request.args.get("signal", "")
    if is_id(signal):
        questions["event"] = Question(f"{snapshot}{path_of(signal)}/event")
    if current_viewer().may(Scope.CONTROL):
        query = {"kind": "device", "subject": device_id, "limit": LISTED_CHANGES}
        questions["changes"] = Question(f"{workspace}/audit", query)
        policies = {"kind": "policy", "limit": LISTED_CHANGES}
        questions["policies"] = Question(f"{workspace}/audit", policies)
    return questions


def _gather(answers: Answers, window: TimeSpan, now: datetime) -> dict[str, Any]:
    """Return the values of the template."""
    found = {name: None if one.is_refused else one.json for name, one in answers.items()}
    health = found["health"]
    zone = health["time_zone"] if health else "UTC"
    verdict = health["items"][0] if health and health["items"] else None
    return {
        "device": found["device"],
        "zone": zone,
        "health": health,
        "verdict": verdict,
        "why": None if verdict is None else _explain(verdict, Teller(now, zone)),
        "refusals": {name: one.json for name, one in answers.items() if one.is_refused},
        "snapshot": found["snapshot"],
        "descriptions": _describe_signals(found["signals"]),
        "show_value": show_value,
        "assignments": found["assignments"],
        "event": found.get("event"),
        "history": _join_history(found),
        "picture": _draw(found, verdict, window, zone, now),
    }


def _describe_signals(catalogue: Mapping[str, Any] | None) -> dict[str, str]:
    """Return what each signal of the catalogue means, by name; nothing if it cannot be read."""
    return {one["signal"]: one["description"] for one in (catalogue or {"items": []})["items"]}


def _explain(verdict: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    evidence = verdict["evidence"]
    return {
        "words": reason_words(verdict["reason"]),
        "causes": tell_causes(evidence, teller),
        "sides": tell_evidence(evidence, teller),
    }


def _join_history(found: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Return what was changed of the device and of the policy, newest first; None: not to see."""
    lists = [found.get(name) for name in ("changes", "policies")]
    entries = [entry for one in lists if one is not None for entry in one["items"]]
    if all(one is None for one in lists):
        return None
    return sorted(entries, key=lambda one: one["at"], reverse=True)[:LISTED_CHANGES]


def _draw(
    found: Mapping[str, Any],
    verdict: Mapping[str, Any] | None,
    window: TimeSpan,
    zone: str,
    now: datetime,
) -> dict[str, Any] | None:
    """Return the picture of the day; None if the day cannot be read."""
    day = found["day"]
    if day is None:
        return None
    picture = DayPicture(day, window, _limits_of(verdict), zone)
    happenings = picture.happenings()
    return {
        "window": window,
        "neighbours": find_neighbours(window, now),
        "ticks": find_ticks(window, zone),
        "lanes": picture.lanes(),
        "happenings": happenings[:MAX_HAPPENINGS],
        "left_out": max(0, len(happenings) - MAX_HAPPENINGS),
        "is_quiet": not (day["receipts"] or happenings or day["cycles"]),
        "signals": draw_signals(day, (found["signals"] or {"items": []})["items"], window),
    }


def _limits_of(verdict: Mapping[str, Any] | None) -> AgeLimits:
    if verdict is None:
        return AgeLimits()
    seconds = verdict["thresholds"]
    return AgeLimits(
        timedelta(seconds=seconds["delayed_after_seconds"]),
        timedelta(seconds=seconds["stale_after_seconds"]),
    )
