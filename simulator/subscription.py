"""The messages of a client of the stream, read and checked. Pure.

Owns the reading of client messages on `/api/v2/live`: subscriptions per domain, which may be sent
again at any time, and the two plain text debug commands. Must never touch a socket.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

DOMAINS: Final = frozenset({"vehicles", "chargestations", "incidents"})


@dataclass(frozen=True, slots=True)
class Subscription:
    """A well-formed query, which the server echoes as `query`.

    `vehicles` is None when the message does not mention them. `unknown` are ids that were asked for
    and do not belong to this client.
    """

    query: dict[str, Any]
    vehicles: dict[str, tuple[str, ...]] | None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """`show acl` or `show query`."""

    name: str


@dataclass(frozen=True, slots=True)
class InvalidMessage:
    """A message that is not a query; `message` goes into the error frame."""

    message: str
    details: dict[str, Any] = field(default_factory=dict)


def read_message(text: str, known: Mapping[str, object]) -> Subscription | Command | InvalidMessage:
    """Read one message. The keys of `known` are the vehicle ids that this client may see."""
    if text.strip() in ("show acl", "show query"):
        return Command(text.strip().removeprefix("show "))
    try:
        query = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return InvalidMessage(f"not JSON: {error}")
    if not isinstance(query, dict) or not query:
        return InvalidMessage("a subscription is an object of domains")
    strangers = sorted(set(query) - DOMAINS)
    if strangers:
        return InvalidMessage("unknown domain", {"domains": strangers, "allowed": sorted(DOMAINS)})
    return _read_vehicles(query, known) if "vehicles" in query else Subscription(query, None)


def _read_vehicles(
    query: dict[str, Any], known: Mapping[str, object]
) -> Subscription | InvalidMessage:
    asked = query["vehicles"]
    if not isinstance(asked, dict):
        return InvalidMessage("vehicles must map a vid to its labels")
    for vid, labels in asked.items():
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            return InvalidMessage("labels must be a list of names", {"vid": vid})
    granted = {vid: tuple(labels) for vid, labels in asked.items() if vid in known}
    return Subscription(query, granted, tuple(vid for vid in asked if vid not in known))
