"""The state of a connection as a sentence, and whether it is trouble.

Owns the words. What a fault class means is in api/vocabulary.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from api.vocabulary import MEANINGS

if TYPE_CHECKING:
    from collections.abc import Mapping


class ConnectionWords(NamedTuple):
    """`word` is the state; `is_trouble` colours it. `since` is an instant of the API, or None."""

    word: str
    is_trouble: bool
    since: str | None = None
    fault: str | None = None


def describe_connection(state: Mapping[str, Any]) -> list[ConnectionWords]:
    """Return the state of the stream and of the calls, as far as the connection has them."""
    if not state["active"]:
        return [ConnectionWords("switched off", is_trouble=False)]
    if state["transport"] == "push":
        return [_of_push(state)]
    found = [each for each in (_of_stream(state), _of_calls(state)) if each is not None]
    return found or [ConnectionWords("nothing has happened yet", is_trouble=False)]


def _of_push(state: Mapping[str, Any]) -> ConnectionWords:
    if state["sender_at"] is None:
        return ConnectionWords("nobody has sent yet", is_trouble=False)
    return ConnectionWords("last sent", is_trouble=False, since=state["sender_at"])


def _of_stream(state: Mapping[str, Any]) -> ConnectionWords | None:
    status = state["stream_status"]
    if status is None:
        return None
    if status == "open":
        return ConnectionWords("stream open", is_trouble=False, since=state["stream_changed_at"])
    since = state["stream_down_since"] or state["stream_changed_at"]
    fault = _say_fault(state["stream_fault"], state["stream_fault_detail"])
    return ConnectionWords("stream closed", is_trouble=True, since=since, fault=fault)


def _of_calls(state: Mapping[str, Any]) -> ConnectionWords | None:
    match state["call_status"]:
        case "succeeded":
            return ConnectionWords(
                "calls answered", is_trouble=False, since=state["last_success_at"]
            )
        case "failed":
            fault = _say_fault(state["fault"], state["fault_detail"])
            since = state["failing_since"] or state["last_failure_at"]
            return ConnectionWords("calls fail", is_trouble=True, since=since, fault=fault)
        case _:
            return None


def _say_fault(kind: str | None, detail: str | None) -> str | None:
    meaning = None if kind is None else MEANINGS["FaultClass"].get(kind, kind)
    return ": ".join(part for part in (meaning, detail) if part) or None
