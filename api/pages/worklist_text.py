"""The worklist as plain text, for an e-mail: by workspace and whose fault, with ids and dates."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from api.pages.reason_words import reason_words
from api.pages.times import parse_instant
from api.pages.words import party_name, reason_name, state_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_RULE: Final = "-"


def write_summary(
    items: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], address: str
) -> str:
    """Return the text about the devices of a page. Times are UTC, since readers are anywhere."""
    at = parse_instant(summary["evaluated_at"])
    lines = [f"Devices to ask about, {at:%Y-%m-%d %H:%M} UTC: {summary['devices']}", ""]
    lines += [
        f"Not known: {missing['workspace_id']}, its legacy system does not answer."
        for missing in summary["unavailable_workspaces"]
    ]
    lines += _write_groups(items)
    lines += _tell_reasons(items)
    more = summary["devices"] - len(items)
    if more > 0:
        lines.append(f"… and {more} more: {address}worklist")
    return "\n".join(lines).rstrip() + "\n"


def _write_groups(items: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Return the lines of each workspace and party; within them the order of the list stays."""
    for workspace, of_workspace in groupby(sorted(items, key=_workspace_of), key=_workspace_of):
        yield f"{workspace[0]} ({workspace[1]})"
        for party, devices in groupby(sorted(of_workspace, key=_party_of), key=_party_of):
            yield f"  whose side: {party}"
            yield from (f"  {_RULE} {_write_device(item)}" for item in devices)
        yield ""


def _tell_reasons(items: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Return what each reason of the list means, since its reader may never have seen a page."""
    for reason in sorted({item["reason"] for item in items}):
        yield f"{reason_name(reason)}: {reason_words(reason).why}"


def _workspace_of(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["workspace_name"], item["workspace_id"]


def _party_of(item: Mapping[str, Any]) -> str:
    return party_name(item["party"])


def _write_device(item: Mapping[str, Any]) -> str:
    heard = item["last_update_received_at"]
    since = parse_instant(heard or item["configured_at"])
    when = f"last heard {since:%Y-%m-%d %H:%M}" if heard else f"never heard since {since:%Y-%m-%d}"
    ids = f"vehicle {item['vehicle_id']}, device {item['device_id']}, id {item['external_id']}"
    why = f"{state_name(item['state'])}, {reason_name(item['reason'])}"
    return f"{item['vehicle_name']}: {why}; {when} ({ids})"
