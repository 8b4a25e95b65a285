"""What an edge of a connection or a device means, in words. Owns the words of every kind."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class EdgeWords(NamedTuple):
    """`fact` is what the edge is about: an edge holds until the next one of the same fact."""

    fact: str
    is_good: bool
    words: str


CONNECTION_EDGES: Final[Mapping[str, EdgeWords]] = MappingProxyType(
    {
        "call_succeeded": EdgeWords("calls", True, "calls to the provider succeed"),
        "call_failed": EdgeWords("calls", False, "calls to the provider fail"),
        "stream_opened": EdgeWords("stream", True, "the stream was opened"),
        "stream_closed": EdgeWords("stream", False, "the stream was closed"),
        "stream_steady": EdgeWords("stream", True, "the stream is steady again"),
        "cycle_asked": EdgeWords("cycles", True, "cycles ask the provider"),
        "cycle_not_asked": EdgeWords("cycles", False, "a cycle ended without asking"),
        "answer_complete": EdgeWords("answers", True, "answers are complete"),
        "answer_incomplete": EdgeWords("answers", False, "answers are not complete"),
        "data_readable": EdgeWords("data", True, "what comes can be read"),
        "data_unreadable": EdgeWords("data", False, "nothing that comes can be read"),
        "roster_answered": EdgeWords("roster", True, "the provider named every vehicle"),
        "sender_returned": EdgeWords("sender", True, "somebody sends again"),
    }
)
DEVICE_EDGES: Final[Mapping[str, EdgeWords]] = MappingProxyType(
    {
        "named": EdgeWords("statement", True, "the provider names the device"),
        "left_out": EdgeWords("statement", False, "the provider left the device out"),
        "error": EdgeWords("statement", False, "the provider answered with an error for it"),
        "refused": EdgeWords("acceptance", False, "what it sends is refused"),
        "outdated": EdgeWords("acceptance", False, "what it sends is older than what is stored"),
        "accepted": EdgeWords("acceptance", True, "what it sends is accepted again"),
    }
)


def edge_words(kind: str) -> EdgeWords:
    """Return the words of a kind; of one that a newer release made, its own name."""
    found = CONNECTION_EDGES.get(kind) or DEVICE_EDGES.get(kind)
    return found or EdgeWords(kind, True, kind.replace("_", " "))
