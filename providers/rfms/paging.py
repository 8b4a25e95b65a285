"""Position of an rFMS run, and the request that comes next. Pure.

Owns the cursor, the page token and the guards of a run. It must never follow a link to another
host, because the credential would go with it.

    no cursor, or too old   latestOnly=true, then lastVin, page by page
    cursor                  starttime=cursor & datetype=received,
                            then the server's link, else starttime=last received

After its last page a run's cursor is the server's time of its first request, to the second: records
received since then belong to the next run. Until then the cursor is the second up to which the
run's pages have come, because history is sent in the order in which it was received. So a run that
is cut off, by a deadline, a fault or max_pages, has moved all the same, and a run that never gets
to its end still catches up.

Asking on from the last second received presumes that order. A link might hide another order, so
what a linked page has come to counts only when the page after it goes on from there.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, Self

import httpx
import orjson

from domain.model import FaultClass
from ports.providers import ProviderFault
from providers.configuration import join_path
from providers.rfms.wire import parse_instant
from runtime.instants import format_instant

if TYPE_CHECKING:
    from providers.rfms.settings import RfmsSettings
    from providers.rfms.wire import StatusPage

MAX_LINK_LENGTH: Final = 4096
_CLOCK_TOLERANCE: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request of a run, as a page token carries it.

    target: path and query on the maker's host. pages: how many were asked for before this one.
    begin: the second at which a run since its cursor began. start: the second that it has come to,
    None when that cannot be said. cursor: where the next run begins if this one gets to its end,
    known after the first page. seen: digests of earlier targets. problem: why this request cannot
    be made. It is raised when the page is asked for, so that the records before it are kept.
    """

    mode: Literal["latest", "since"]
    target: str
    pages: int = 0
    begin: str | None = None
    start: str | None = None
    cursor: str | None = None
    seen: tuple[str, ...] = ()
    problem: str | None = None

    def encode(self) -> str:
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def decode(cls, token: str) -> Self:
        fields = orjson.loads(token)
        return cls(**{**fields, "seen": tuple(fields["seen"])})

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
        since = parse_instant(cursor)
        oldest = now - timedelta(seconds=self._settings.max_cursor_age_seconds)
        if since is None or not oldest <= since <= now + _CLOCK_TOLERANCE:
            return Step(mode="latest", target=self._target({"latestOnly": "true"}))
        start = _to_second(since)
        return Step(mode="since", target=self._since(start), begin=start, start=start)

    def next_step(self, step: Step, page: StatusPage) -> Step | None:
        """Return the request after this page.

        None when the run is complete, or when it is long enough and ahead of where it began.
        """
        if not page.announces_more or self._may_end_here(step, page):
            return None
        seen = (*step.seen, _digest(step.target))
        target, start, problem = step.target, _reached(step, page), None
        if page.link is not None:
            target, problem = self._follow(page.link)
        elif step.mode == "latest":
            target, problem = self._after_vin(page.last_vin)
        elif page.newest_received_at is None:
            problem = (
                "more data is announced, with neither a link nor a receivedDateTime to go on from"
            )
        else:
            start, target = self._after_second(step, page.newest_received_at)
        return Step(
            mode=step.mode,
            target=target,
            pages=step.pages + 1,
            begin=step.begin,
            start=start,
            cursor=_end_of_run(step, page),
            seen=seen,
            problem=problem,
        )

    def cursor_after(self, step: Step, page: StatusPage) -> str | None:
        """Return where the next run may begin once this page and those before it are stored.

        None means where this run began.
        """
        end = _end_of_run(step, page)
        if not page.announces_more:
            return end
        reached = _reached(step, page)
        if reached is None or step.begin is None or step.start is None:
            return None
        reached = reached if page.link is None else step.start
        safe = min(reached, end or reached)
        return safe if safe > step.begin else None

    def _may_end_here(self, step: Step, page: StatusPage) -> bool:
        is_long_enough = step.pages + 1 >= self._settings.max_pages
        return is_long_enough and self.cursor_after(step, page) is not None

    def _after_vin(self, last_vin: str | None) -> tuple[str, str | None]:
        if last_vin is None:
            return "", "more data is announced, with neither a link nor a vin to go on from"
        return self._target({"latestOnly": "true", "lastVin": last_vin}), None

    def _after_second(self, step: Step, newest_received_at: datetime) -> tuple[str, str]:
        """Return the same second again, because a page can end in the middle of one.

        Acceptance drops what is repeated. If that leads nowhere (a second with more records than a
        page), the standard's own rule applies: one second on.
        """
        start = max(_to_second(newest_received_at), step.start or "")
        if start == step.start:
            start = _to_second(datetime.fromisoformat(start) + timedelta(seconds=1))
        return start, self._since(start)

    def _since(self, start: str) -> str:
        return self._target({"starttime": start, "datetype": "received"})

    def _target(self, query: dict[str, str]) -> str:
        if self._settings.content_filter is not None:
            query["contentFilter"] = self._settings.content_filter
        url = join_path(self._base, self._settings.statuses_path).copy_merge_params(query)
        return url.raw_path.decode("ascii")

    def _follow(self, link: str) -> tuple[str, str | None]:
        """Return the link's target on our host, or why it is not followed.

        Links are relative to the host, not to the base.
        """
        if len(link) > MAX_LINK_LENGTH:
            return "", "moreDataAvailableLink is too long"
        try:
            url = self._base.copy_with(path="/").join(link)
        except (httpx.InvalidURL, ValueError):
            return "", "moreDataAvailableLink is not a link"
        origin = (self._base.scheme, self._base.host, self._base.port)
        if (url.scheme, url.host, url.port) != origin or url.userinfo:
            return (
                "",
                "moreDataAvailableLink leads to another host, where the credential must not go",
            )
        return url.raw_path.decode("ascii"), None


def _end_of_run(step: Step, page: StatusPage) -> str | None:
    """Return the first page's server time, to the second.

    Later pages keep it: records that arrive meanwhile may sort before them.
    """
    if step.pages or page.server_time is None:
        return step.cursor
    return _to_second(page.server_time)


def _reached(step: Step, page: StatusPage) -> str | None:
    """Return the second that a run since its cursor has come to with this page.

    Records of that very second may be missing. None for latest statuses. None also from the first
    page on that is not in the order of reception: records that are missing may then be older than
    those that came.
    """
    if step.start is None or page.newest_received_at is None:
        return step.start
    goes_on = _to_second(page.oldest_received_at or page.newest_received_at) >= step.start
    return _to_second(page.newest_received_at) if page.is_in_order and goes_on else None


def _to_second(instant: datetime) -> str:
    """Return the instant as text, rounded down to the second.

    Makers ignore milliseconds, so none are sent. Because it is rounded down, nothing is skipped.
    """
    return format_instant(instant, "seconds")


def _digest(target: str) -> str:
    return hashlib.blake2s(target.encode(), digest_size=8).hexdigest()
