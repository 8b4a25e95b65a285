"""Position of an rFMS run, and the request that comes next. Pure.

Owns the cursor, the page token and the guards of a run. It must never follow a link to another
host, because the credential would go with it.

    no cursor, or too old   latestOnly=true, then lastVin, page by page
    cursor                  starttime=cursor & datetype=received,
                            then the server's link, else as spans.py decides

After its last page a run's cursor is the server's time of its first request, to the second: records
received since then belong to the next run. Until then the cursor is the second before which
everything is read. So a run that is cut off, by a deadline, a fault or max_pages, has moved all the
same, and a run that never gets to its end still catches up.

A run that cannot be sure to have read everything leaves the cursor where it was sure. The next run
asks again. If a run has asked for more than UNSURE_SECONDS that way, or for max_pages pages, asking
again is given up: the next run takes the latest status of every vehicle.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, Self

import httpx
import orjson

from domain.model import FaultClass
from ports.providers import ProviderFault
from providers.configuration import join_path
from providers.loose_types import read_instant
from providers.rfms.spans import Span
from runtime.instants import format_instant

if TYPE_CHECKING:
    from providers.rfms.settings import RfmsSettings
    from providers.rfms.wire import StatusPage

MAX_LINK_LENGTH: Final = 4096
UNSURE_SECONDS: Final = 7200
LATEST: Final = "latest"  # a cursor with which a run begins with the latest statuses
_CLOCK_TOLERANCE: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request of a run, as a page token carries it.

    target: path and query on the maker's host. pages: how many were asked for before this one.
    begin: the second at which a run since its cursor began. span: what is asked for; None for
    latest statuses. reached: the second that linked pages have come to, None when that cannot be
    said. cursor: where the next run begins if this one gets to its end, known after the first
    page. seen: digests of earlier targets. nameless: whether a record of the run named no vehicle.
    problem: why this request cannot be made. It is raised when the page is asked for, so that the
    records before it are kept.
    """

    mode: Literal["latest", "since"]
    target: str
    pages: int = 0
    begin: int | None = None
    span: Span | None = None
    reached: int | None = None
    cursor: str | None = None
    seen: tuple[str, ...] = ()
    nameless: bool = False
    problem: str | None = None

    def encode(self) -> str:
        span = None if self.span is None else list(self.span)
        return orjson.dumps({**asdict(self), "span": span}).decode()

    @classmethod
    def decode(cls, token: str) -> Self:
        fields = orjson.loads(token)
        span = None if fields["span"] is None else Span(*fields["span"])
        return cls(**{**fields, "seen": tuple(fields["seen"]), "span": span})

    def check(self, max_pages: int) -> None:
        """Raise ProviderFault when this step must not be taken."""
        problem = self.problem
        if problem is None and self.pages >= max_pages:
            problem = (
                f"page cap: more than {max_pages} pages in one run; "
                "raise max_pages or poll more often"
            )
        if problem is None and _digest(self.target) in self.seen:
            problem = "the pages go round in a circle: the same request for the second time"
        if problem is not None:
            raise ProviderFault(FaultClass.PROTOCOL, problem)


class RunPlanner:
    """The steps of one connection's runs."""

    def __init__(self, base: httpx.URL, settings: RfmsSettings) -> None:
        self._base = base
        self._settings = settings

    def first_step(self, cursor: str | None, now: datetime) -> Step:
        """Return the first step of a run with this stored cursor."""
        since = read_instant(cursor)
        oldest = now - timedelta(seconds=self._settings.max_cursor_age_seconds)
        if since is None or not oldest <= since <= now + _CLOCK_TOLERANCE:
            return Step(mode="latest", target=self._target({"latestOnly": "true"}))
        begin = _second(since)
        span = Span.since(begin)
        return Step(mode="since", target=self._since(span), begin=begin, span=span, reached=begin)

    def open_ended(self, step: Step) -> Step | None:
        """Return the step without its stoptime, for a server that refuses it; None without one."""
        if step.span is None or step.span.stop is None:
            return None
        span = step.span.without_stop()
        # The target without stoptime was asked for before, so it is not compared with the others.
        return replace(step, span=span, target=self._since(span), seen=())

    def without_self_link(self, step: Step, page: StatusPage) -> StatusPage:
        """Return the page without a link to itself, unless it says that there is more.

        Some servers have such a link on every page, also on the last one.
        """
        link = page.link
        if page.is_flagged or link is None or self._follow(link) != (step.target, None):
            return page
        return page._replace(link=None)

    def next_step(self, step: Step, page: StatusPage) -> Step | None:
        """Return the request after this page; None when the run ends with it."""
        span = self._span_after(step, page)
        if not page.announces_more and span is None:
            return None
        if page.announces_more and self._may_end_here(step):
            return None
        target, problem = self._target_after(step, span, page)
        return Step(
            mode=step.mode,
            target=target,
            pages=step.pages + 1,
            begin=step.begin,
            span=span,
            reached=_reached(step, page) if page.link is not None else span and span.start,
            cursor=_end_of_run(step, page),
            seen=(*step.seen, _digest(step.target)),
            nameless=step.nameless or page.is_nameless,
            problem=page.problem or problem,
        )

    def is_complete(self, step: Step, page: StatusPage) -> bool:
        """Return whether this page ends a run that has read everything since its cursor."""
        span = self._span_after(step, page)
        is_read = not page.announces_more and span is None
        return is_read and step.span is not None and step.span.is_sure

    def is_roster(self, step: Step, page: StatusPage) -> bool:
        """Return whether this page ends a run that has named every vehicle of the account.

        An answer without any list names nobody, but it does not say that there is nobody. Neither
        does a run with a record whose vehicle could not be read.
        """
        is_read = step.mode == "latest" and not page.announces_more
        is_nameless = step.nameless or page.is_nameless
        return is_read and not is_nameless and (page.is_listed or step.pages > 0)

    def cursor_after(self, step: Step, page: StatusPage) -> str | None:
        """Return where the next run may begin once this page and those before it are stored.

        None means where this run began.
        """
        end = _end_of_run(step, page)
        if step.mode == "latest":
            return None if page.announces_more else end
        if self.is_complete(step, page):
            return end
        safe, begin = self._safe_after(step, page), step.begin or 0
        if safe > begin:
            ends_at = read_instant(end)
            safe = safe if ends_at is None else min(safe, _second(ends_at))
            return _text(safe) if safe > begin else None
        return LATEST if self._is_given_up(step, page) else None

    def _is_given_up(self, step: Step, page: StatusPage) -> bool:
        """Return whether this page ends a run that asks the same again for too long."""
        if page.announces_more or self._span_after(step, page) is not None:
            return self._may_end_here(step)
        return _end_of_span(step, page) - (step.begin or 0) > UNSURE_SECONDS

    def _span_after(self, step: Step, page: StatusPage) -> Span | None:
        """Return what is to be asked for after this page; None after the last one."""
        if step.span is None:
            return None
        span = step.span.as_answered(page.order)
        end = _end_of_span(step, page)
        if not page.announces_more:
            return span.after_all(end)
        if page.link is not None or page.problem is not None:
            return span
        if step.reached == span.start:
            return span.after_part(page.order, end)
        reached = _reached(step, page)  # the pages were linked until this one
        if reached is not None:
            return span.moved_to(reached)
        return span.after_part(page.order._replace(by_reception=False), end)

    def _safe_after(self, step: Step, page: StatusPage) -> int:
        """Return the second before which everything is read after this page."""
        span = self._span_after(step, page) or step.span
        if span is None:
            return 0
        if page.link is None or not span.is_sure or _reached(step, page) is None:
            return span.safe
        return span.safe if step.reached is None else step.reached

    def _may_end_here(self, step: Step) -> bool:
        return step.mode == "since" and step.pages + 1 >= self._settings.max_pages

    def _target_after(
        self, step: Step, span: Span | None, page: StatusPage
    ) -> tuple[str, str | None]:
        if page.link is not None:
            return self._follow(page.link)
        if span is not None:
            return self._since(span), _no_way_on(step, page)
        if page.last_vin is None:
            return "", "more data is announced, with neither a link nor a vin to go on from"
        return self._target({"latestOnly": "true", "lastVin": page.last_vin}), None

    def _since(self, span: Span) -> str:
        query = {"starttime": _text(span.start)}
        if span.stop is not None:
            query["stoptime"] = _text(span.stop)
        return self._target({**query, "datetype": "received"})

    def _target(self, query: dict[str, str]) -> str:
        if self._settings.content_filter is not None:
            query["contentFilter"] = self._settings.content_filter
        url = join_path(self._base, self._settings.statuses_path).copy_merge_params(query)
        return url.raw_path.decode("ascii")

    def _follow(self, link: str) -> tuple[str, str | None]:
        """Return the link's target on our host, or why it is not followed.

        Links are relative to the host, not to the base; a mere query is relative to the path.
        """
        if len(link) > MAX_LINK_LENGTH:
            return "", "moreDataAvailableLink is too long"
        try:
            url = self._place_of(link).join(link)
        except (httpx.InvalidURL, ValueError):
            return "", "moreDataAvailableLink is not a link"
        origin = (self._base.scheme, self._base.host, self._base.port)
        if (url.scheme, url.host, url.port) != origin or url.userinfo:
            return (
                "",
                "moreDataAvailableLink leads to another host, where the credential must not go",
            )
        return url.raw_path.decode("ascii"), None

    def _place_of(self, link: str) -> httpx.URL:
        if link.startswith("?"):
            return join_path(self._base, self._settings.statuses_path)
        return self._base.copy_with(path="/")


def _no_way_on(step: Step, page: StatusPage) -> str | None:
    """Return why the receptions of this page's records lead nowhere; None if they lead on."""
    newest = page.order.newest_received_at
    if not page.announces_more or step.span is None:
        return None
    if newest is None:
        return "more data is announced, with neither a link nor a receivedDateTime to go on from"
    if _second(newest) < step.span.start:
        return "the pages go round in a circle: all records are from before the starttime"
    return None


def _end_of_run(step: Step, page: StatusPage) -> str | None:
    """Return the first page's server time, to the second.

    Later pages keep it: records that arrive meanwhile may sort before them.
    """
    if step.pages or page.server_time is None:
        return step.cursor
    return _text(_second(page.server_time))


def _end_of_span(step: Step, page: StatusPage) -> int:
    """Return the run's end in seconds, as far as it is known."""
    end = read_instant(_end_of_run(step, page))
    known = [instant for instant in (end, page.order.newest_received_at) if instant is not None]
    return max(map(_second, known), default=step.begin or 0)


def _reached(step: Step, page: StatusPage) -> int | None:
    """Return the second that linked pages since the cursor have come to with this page.

    Records of that very second may be missing. None for latest statuses. None also from the first
    page on that is not in the order of reception: records that are missing may then be older than
    those that came.
    """
    newest, oldest = page.order.newest_received_at, page.order.oldest_received_at
    if step.reached is None or newest is None:
        return step.reached
    goes_on = _second(oldest or newest) >= step.reached
    return _second(newest) if page.order.by_reception and goes_on else None


def _second(instant: datetime) -> int:
    return int(instant.timestamp() // 1)


def _text(second: int) -> str:
    """Return the second as text. Makers ignore milliseconds, so none are sent."""
    return format_instant(datetime.fromtimestamp(second, UTC), "seconds")


def _digest(target: str) -> str:
    return hashlib.blake2s(target.encode(), digest_size=8).hexdigest()
