"""The stream of one live page: server-sent events, until the page is left.

Owns what is sent when, and why a stream ends. There is no queue: whenever the page has taken what
was sent, it gets what has changed meanwhile, merged. A page that stops reading is cut off by the
server's deadline for a write.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import orjson
import trio
from quart import Response, request

from api.pages.live_difference import find_difference, is_reset
from api.pages.live_limits import StreamLimits
from api.pages.viewer import current_viewer, read_ticket, view_as
from api.problem_types import ENDING, UNAUTHENTICATED
from api.problems import Problem
from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from api.pages.live_board import LiveBoard
    from api.pages.live_watch import Watch
    from api.services import ApiServices

MAX_ONLY: Final = 500
SPREAD: Final = 100
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Standing(StrEnum):
    """Whether a stream may go on; else the event with which it ends."""

    GOOD = "good"
    CHANGED = "ending"  # the key opens something else now: the page comes back, and is asked anew
    SIGNED_OUT = "signed-out"


def open_stream(services: ApiServices, watch: Watch) -> Response:
    """Return the stream of the request's page. Raises Problem 503 while this shard is ending."""
    board = services.live
    if board is None or board.is_ending:
        raise Problem(ENDING, retry_after_seconds=1.0)
    events = stream_events(
        board,
        _only_shown(watch).limited_to(current_viewer().access),
        _make_look(services),
        last_id=request.headers.get("Last-Event-ID") or request.args.get("last", ""),
        limits=services.stream_limits,
    )
    response = Response(events, content_type="text/event-stream; charset=utf-8", headers=HEADERS)
    response.timeout = None  # it has no end; each write has a deadline
    return response


def _only_shown(watch: Watch) -> Watch:
    """Limit a watch to the rows that the page names in its query, if it names any."""
    named = frozenset(request.args.getlist("row")[:MAX_ONLY])
    if not named:
        return watch
    return replace(watch, only=named if watch.only is None else named & watch.only)


def _make_look(services: ApiServices) -> Callable[[], Awaitable[Standing]]:
    """Return what asks the database whether the viewer is still signed in, with the same rights."""
    viewer, ticket = current_viewer(), read_ticket(request.scope["headers"])
    if ticket is None:
        raise Problem(UNAUTHENTICATED, "Sign in first, at /sign-in.")

    async def look() -> Standing:
        found = await services.sign_ins.find_sign_in(ticket.sign_in_id)
        now = view_as(found, ticket, services.clock.now(), viewer.address)
        if now is None:
            return Standing.SIGNED_OUT
        return Standing.GOOD if now.access == viewer.access else Standing.CHANGED

    return look


async def stream_events(
    board: LiveBoard,
    watch: Watch,
    look: Callable[[], Awaitable[Standing]],
    *,
    last_id: str = "",
    limits: StreamLimits | None = None,
) -> AsyncIterator[bytes]:
    """Yield the events of one page until its stream ends. `look` says whether it may go on.

    `last_id` is the id of the last event that the page got from an earlier stream.
    """
    limits = limits or StreamLimits()
    with board.open(watch):
        yield f"retry: {1000 * limits.retry:.0f}\n\n".encode()
        news, times = _News(board, watch, last_id), _Times(limits, board.told["opened"])
        while True:
            ends = await _why_it_ends(board, look, times)
            if ends is not None:
                seconds = limits.retry_when_ending if board.is_ending else limits.retry
                yield f"retry: {1000 * seconds:.0f}\nevent: {ends}\ndata: {{}}\n\n".encode()
                return
            looked_at = board.tick_number  # while the events are sent, there may be more
            events = news.take()
            for event in events:
                yield event
            if not events and times.beat_is_due():
                yield _beat(board)
            if events or times.beat_is_due():
                times.note_sent()
            with trio.move_on_after(times.seconds_to_next()):
                await board.wait_for_news(looked_at)


class _News:
    """What is new for one page since it last took something."""

    def __init__(self, board: LiveBoard, watch: Watch, last_id: str) -> None:
        self._board = board
        self._watch = watch
        self._came_back = bool(last_id)
        self._seen = _read_id(board, last_id)

    def take(self) -> list[bytes]:
        """Return the events that bring the page to the newest tick, in order. Does not block."""
        board, tick = self._board, self._board.tick_number
        if tick <= self._seen or not board.has(self._watch):
            return []
        if self._came_back:
            board.told[
                "started_anew" if is_reset(board, self._watch, self._seen) else "resumed"
            ] += 1
        documents = list(
            find_difference(board, self._watch, self._seen, had_another=self._came_back)
        )
        self._seen, self._came_back = tick, False
        name = f"id: {board.name}-{tick}\n".encode()
        last = len(documents) - 1
        return [
            (name if number == last else b"") + b"event: change\ndata: " + document + b"\n\n"
            for number, document in enumerate(documents)
        ]


class _Times:
    """When a stream sends a sign of life, has its sign-in checked, and ends."""

    def __init__(self, limits: StreamLimits, number: int) -> None:
        now = trio.current_time()
        self._limits = limits
        self._beat_at = now + limits.beat
        self._check_at = now + limits.check
        # Streams that began together do not end together.
        self._end_at = now + limits.life * (1 - 0.1 * (number % SPREAD) / SPREAD)

    def beat_is_due(self) -> bool:
        return trio.current_time() >= self._beat_at

    def note_sent(self) -> None:
        self._beat_at = trio.current_time() + self._limits.beat

    def check_is_due(self) -> bool:
        """Return whether the sign-in is to be checked. The next check is due later."""
        now = trio.current_time()
        is_due = now >= self._check_at
        if is_due:
            self._check_at = now + self._limits.check
        return is_due

    def is_over(self) -> bool:
        return trio.current_time() >= self._end_at

    def seconds_to_next(self) -> float:
        next_at = min(self._beat_at, self._check_at, self._end_at)
        return max(0.0, next_at - trio.current_time())


async def _why_it_ends(
    board: LiveBoard, look: Callable[[], Awaitable[Standing]], times: _Times
) -> Standing | None:
    """Return the event with which the stream ends now; None: it goes on."""
    if board.is_ending or times.is_over():
        return Standing.CHANGED
    if not times.check_is_due():
        return None
    try:
        standing = await look()
    except EnvironmentFault:
        return None  # the database is away, and with it all news
    if standing is Standing.SIGNED_OUT:
        board.told["signed_out"] += 1
    return None if standing is Standing.GOOD else standing


def _beat(board: LiveBoard) -> bytes:
    """Return a sign of life. `behind`: the database does not answer, so there is no news."""
    said = {"at": board.evaluated_at, "behind": board.is_failing}
    return b"event: beat\ndata: " + orjson.dumps(said, option=orjson.OPT_UTC_Z) + b"\n\n"


def _read_id(board: LiveBoard, last_id: str) -> int:
    """Return the tick of an event's id; 0 if it is of another board, or no id."""
    name, _, tick = last_id.rpartition("-")
    known = name == board.name and tick.isascii() and tick.isdigit() and len(tick) < 12
    return int(tick) if known and int(tick) <= board.tick_number else 0
