"""What one page has to be told: all that changed on the board since the tick that it has seen.

Owns the documents of the stream's `change` events. A page that has seen nothing, or missed too
much, gets everything: the first of its documents has `reset`, and what it had before is void. A
large difference comes as several documents; all but the last have `more`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from api.pages.live_rows import row_id
from api.pages.live_watch import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.pages.live_board import LiveBoard
    from api.pages.live_rows import WorkspaceRows
    from api.pages.live_watch import Watch

DOCUMENT_BYTES: Final = 32 * 1024
CLOCK_TICKS: Final = 3
STATES_TICKS: Final = 12  # rows are told at once; what is made of many of them, once a minute


def is_reset(board: LiveBoard, watch: Watch, seen: int) -> bool:
    """Return whether a page that has seen this tick needs everything. A tick of 0: it saw none."""
    spaces = (board.spaces.get(name) for name in watch.rows)
    return seen == 0 or any(space is None or space.known_since > seen for space in spaces)


def find_difference(
    board: LiveBoard, watch: Watch, seen: int, *, had_another: bool = False
) -> Iterator[bytes]:
    """Yield the documents that bring a page from `seen` to the board's newest tick; perhaps none.

    `had_another`: the page comes back, and what it has seen is not known here.
    """
    reset = is_reset(board, watch, seen)
    seen = 0 if reset else seen
    # A page whose rows are not watched must not take them for gone.
    head = {"at": board.evaluated_at} | ({"reset": True} if reset and watch.rows else {})
    pieces, size = [], 0
    for member in _rows_since(board, watch, seen):
        pieces.append(member)
        size += len(member)
        if size > DOCUMENT_BYTES:
            yield _encode(head | {"more": True}, pieces)
            head, pieces, size = {"at": board.evaluated_at}, [], 0
    rest = _rest(board, watch, seen, all_regions=had_another and reset)
    if pieces or rest or reset:
        yield _encode(head | rest, pieces)


def _encode(members: dict[str, Any], rows: list[bytes]) -> bytes:
    """Return one document. The rows are encoded already."""
    encoded = orjson.dumps(members, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    return encoded[:-1] + b',"rows":{' + b",".join(rows) + b"}}"


def _rows_since(board: LiveBoard, watch: Watch, seen: int) -> Iterator[bytes]:
    for space in _spaces(board, watch):
        if space.changed > seen:
            for device_id, row in space.rows.items():
                if row.tick > seen and _shows(watch, space, device_id):
                    yield row.json


def _rest(board: LiveBoard, watch: Watch, seen: int, *, all_regions: bool) -> dict[str, Any]:
    """Return the members beside the rows; those that say nothing are left out."""
    counts = dict(board.counts.since(seen, watch.counts))
    found: dict[str, Any] = {
        "gone": [] if seen == 0 else _gone_since(board, watch, seen),
        "counts": counts,
        "total": board.counts.total(watch.counts) if counts else None,
        "regions": [
            region
            for region, topic in watch.regions.items()
            if all_regions or _has_news(board, watch, topic, seen)
        ],
        "not_live": next((s.why_not_live for s in _spaces(board, watch) if s.why_not_live), None)
        if any(space.changed > seen for space in _spaces(board, watch))
        else None,
    }
    return {name: value for name, value in found.items() if value}


def _gone_since(board: LiveBoard, watch: Watch, seen: int) -> list[str]:
    return [
        row_id(space.workspace_id, device_id)
        for space in _spaces(board, watch)
        for device_id, tick in space.gone.items()
        if tick > seen and _shows(watch, space, device_id)
    ]


def _has_news(board: LiveBoard, watch: Watch, topic: Topic, seen: int) -> bool:
    """Return whether regions of the topic are to be fetched by a page that has seen this tick.

    A page that has seen none was just made; only a cycle of this moment may be missing in it.
    """
    if topic in (Topic.CYCLES, Topic.CONFIGURATION):
        if seen == 0:
            at = board.evaluated_at
            is_new = at is not None and board.marks.is_recent(watch.topics_of, at)
            return is_new and topic is Topic.CYCLES
        return board.marks.changed(topic, watch.topics_of, seen)
    if seen == 0:
        return False
    if topic is Topic.CLOCK:
        return board.tick_number // CLOCK_TICKS > seen // CLOCK_TICKS
    return _states_changed(board, watch, seen)


def _states_changed(board: LiveBoard, watch: Watch, seen: int) -> bool:
    """Return whether states changed since the last time that the page could be told of it."""
    if board.tick_number // STATES_TICKS == seen // STATES_TICKS:
        return False
    told = seen - seen % STATES_TICKS
    return any(space.states_changed > told for space in _spaces(board, watch)) or any(
        board.counts.since(told, watch.counts)
    )


def _spaces(board: LiveBoard, watch: Watch) -> Iterator[WorkspaceRows]:
    return (board.spaces[name] for name in watch.rows if name in board.spaces)


def _shows(watch: Watch, space: WorkspaceRows, device_id: str) -> bool:
    return watch.only is None or row_id(space.workspace_id, device_id) in watch.only
