"""Time spans of a run since its cursor: which records were surely read, what to ask next. Pure.

A span is [start, stop) in seconds of the server's reception, or everything since its start. The
standard's way to the next page (starttime = reception of the last record) skips records if the
server's order is another one. So an answer that announces more moves the span's start only if its
order is proven (record_order.py). Otherwise the span is halved with `stoptime`, until an answer has
no more: then every record of the span is read, whatever the order was.

Some servers do not keep `stoptime`. Then the run goes on from the last record, and is no longer
sure. Neither is it after a single second with more records than a page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from datetime import datetime

    from providers.rfms.record_order import RecordOrder


class Span(NamedTuple):
    """What the next request asks for, in seconds since the epoch.

    Every record that was received before `safe` is read. The run is sure while `safe` is `start`.
    `keeps_stop` is False once the server has shown that it ignores stoptime.
    """

    start: int
    safe: int
    stop: int | None = None
    keeps_stop: bool = True

    @classmethod
    def since(cls, start: int) -> Self:
        return cls(start, start)

    @property
    def is_sure(self) -> bool:
        return self.safe == self.start

    def without_stop(self) -> Self:
        """Return the open span, for a server that does not keep stoptime."""
        return self._replace(stop=None, keeps_stop=False)

    def as_answered(self, order: RecordOrder) -> Self:
        """Return the span that the answer really covers: open, if a record is beyond its stop."""
        newest = _second(order.newest_received_at)
        ignored = self.stop is not None and newest is not None and newest >= self.stop
        return self.without_stop() if ignored else self

    def after_all(self, end: int) -> Self | None:
        """Return the span after one that is read; None if it was open, so that nothing is left.

        The next one is twice as long, and open if it reaches the run's end.
        """
        if self.stop is None:
            return None
        stop = self.stop + 2 * (self.stop - self.start)
        return self._moved_to(self.stop, is_sure=True)._replace(stop=stop if stop < end else None)

    def after_part(self, order: RecordOrder, end: int) -> Self:
        """Return the span after an answer that announces more of this one."""
        newest = _second(order.newest_received_at)
        if newest is not None and newest <= self.start:
            return self._after_full_second()
        if order.by_reception and newest is not None:
            return self._moved_to(newest, is_sure=True)
        if self.keeps_stop:
            return self._halved(max(end, (newest or 0) + 1))
        return self._after_last(order)

    def moved_to(self, start: int) -> Self:
        """Return the span from here on, after everything before it was read."""
        return self._moved_to(start, is_sure=True)

    def _halved(self, end: int) -> Self:
        seconds = (end if self.stop is None else self.stop) - self.start
        if seconds <= 1:
            return self._after_full_second()
        return self._replace(stop=self.start + seconds // 2)

    def _after_full_second(self) -> Self:
        """Return the span one second on. It is not known what else the second held."""
        after = self._moved_to(self.start + 1, is_sure=False)
        return after._replace(stop=None) if after.start == self.stop else after

    def _after_last(self, order: RecordOrder) -> Self:
        """Return the span from the last record on.

        In order of creation, all records that are left were created after the last one, and
        received even later. In another order they may have been received at any time.
        """
        created, received = _second(order.last_created_at), _second(order.last_received_at)
        if order.by_creation and created is not None and created > self.start:
            return self._moved_to(created, is_sure=True)
        if received is not None and received > self.start:
            return self._moved_to(received, is_sure=False)
        return self._after_full_second()

    def _moved_to(self, start: int, *, is_sure: bool) -> Self:
        safe = start if is_sure and self.is_sure else self.safe
        return self._replace(start=start, safe=safe)


def _second(instant: datetime | None) -> int | None:
    """Return the second that the instant is in. Rounding down skips nothing."""
    return None if instant is None else int(instant.timestamp() // 1)
