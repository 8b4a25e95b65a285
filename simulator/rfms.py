"""The rFMS 4.0 interface of one fleet: `/rfms/vehicles` and `/rfms/vehiclestatuses`.

Owns the media types, the standard's error bodies, paging and rate limits. Records come from
`StatusLog`.

Choices where the standard leaves room:
- VINs are in alphabetical order.
- A starttime before the storage horizon is no error and gets the records that are kept ("a period
  where no data has been received" is an empty list).
- An Accept header must name the version exactly; any other (also `*/*`) is 406.
- A missing token is 400 and a wrong one 401, as in the standard's own examples.
- With `created_order` or `unsorted_pages` a page has no link, as of a maker that does not sort by
  reception. A client then goes on from a receivedDateTime.
- With `held_back_seconds` the server answers as if it were that much earlier, its own time
  included.
- Paging by "last receivedDateTime + 1 second" works too, and loses the rest of the second in which
  a page ended: this weakness of the standard is kept on purpose. Following moreDataAvailableLink
  loses nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from simulator.answer_forms import unwrap
from simulator.chance import draw
from simulator.distortions import render
from simulator.exchange import Request, VendorAnswer, json_answer
from simulator.rfms_log import StatusLog, iso_utc, vehicle_body
from simulator.rfms_query import Refusal, StatusQuery, next_link, read_query

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulator.config import RateLimit, Tenant
    from simulator.rfms_log import Status

STATUSES_PATH: Final = "/rfms/vehiclestatuses"
VEHICLES_PATH: Final = "/rfms/vehicles"
_MEDIA_TYPES: Final = {
    STATUSES_PATH: "application/json; rfms=vehiclestatuses.v4.0",
    VEHICLES_PATH: "application/json; rfms=vehicles.v4.0",
}
_ERROR_URI: Final = "https://rfms.invalid/errors/"


class RateWindow:
    """Calls of one resource in a fixed window.

    `take` counts a call and returns how many are left; below zero means refused.
    """

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self.resets_at = 0.0
        self._used = 0

    def take(self, wall: float) -> int:
        if wall >= self.resets_at:
            self.resets_at = wall + self.limit.window_seconds
            self._used = 0
        self._used += 1
        return self.limit.calls - self._used

    def headers(self, remaining: int) -> dict[str, str]:
        """X-Rate-Limit-Reset is the epoch second in UTC, not a duration."""
        return {
            "X-Rate-Limit-Limit": str(self.limit.calls),
            "X-Rate-Limit-Remaining": str(max(0, remaining)),
            "X-Rate-Limit-Reset": str(ceil(self.resets_at)),
        }


class RfmsFleet:
    """The server's side for one tenant. `answer` is synchronous.

    Records are counted as sent after their answer was sent.
    """

    def __init__(self, tenant: Tenant, seed: int) -> None:
        self.tenant = tenant
        self.log = StatusLog(tenant, seed)
        self.sent: Counter[str] = Counter()
        self.sent_with_quirk: Counter[str] = Counter()
        self.last_sent: dict[str, dict[str, float]] = {}
        self._vins = sorted(self.log.roster.vehicles)
        self._windows: dict[str, RateWindow] = {}
        self._answers = {STATUSES_PATH: self._statuses, VEHICLES_PATH: self._vehicles}

    def answer(self, request: Request, wall: float) -> VendorAnswer:
        headers: dict[str, str] = {}
        if self.tenant.rate_limit is not None:
            window = self._windows.setdefault(request.path, RateWindow(self.tenant.rate_limit))
            remaining = window.take(wall)
            headers = window.headers(remaining)
            if remaining < 0:
                return refuse(Refusal(429, "RateExceeded", "Too many requests per window"), headers)
        if request.path not in self._answers:
            return refuse(
                Refusal(404, "UnknownResource", f"{request.path} is not served here"), headers
            )
        if request.method != "GET":
            return refuse(
                Refusal(405, "MethodNotAllowed", "The resource can only be read"), headers
            )
        media_type = _MEDIA_TYPES[request.path]
        if _plain(request.headers.get("accept", "")) != _plain(media_type):
            wrong = Refusal(
                406, "UnsupportedAcceptParameter", "The provided accept parameter is not supported"
            )
            return refuse(wrong, headers)
        content = self._answers[request.path](request, wall)
        if isinstance(content, Refusal):
            return refuse(content, headers)
        body, sent = content
        answer = json_answer(
            200,
            body,
            content_type=media_type,
            headers=headers,
            when_sent=lambda: self._account(sent),
        )
        return replace(answer, body=render(answer.body))

    # /rfms/vehicles

    def _vehicles(self, request: Request, _wall: float) -> tuple[dict[str, Any], Sequence[Status]]:
        buses, vehicles = self.log.roster.buses, self.log.roster.vehicles
        present = [vin for vin in self._vins if not self.log.roster.is_left_out(vehicles[vin])]
        first = bisect_right(present, request.query.get("lastVin", ""))
        page = present[first : first + self.tenant.page_size]
        is_more = first + len(page) < len(present)
        body: dict[str, Any] = {
            "vehicleResponse": {"vehicles": [vehicle_body(buses[vehicles[vin]]) for vin in page]},
            "moreDataAvailable": is_more,
        }
        if is_more:
            body["moreDataAvailableLink"] = next_link(
                VEHICLES_PATH, request.query, {"lastVin": page[-1]}
            )
        return body, ()

    # /rfms/vehiclestatuses

    def _statuses(
        self, request: Request, wall: float
    ) -> tuple[dict[str, Any], Sequence[Status]] | Refusal:
        query = read_query(request.query)
        if isinstance(query, Refusal):
            return query
        if query.vin is not None and query.vin not in self.log.roster.vehicles:
            return Refusal(404, "UnknownVin", "The provided VIN cannot be found")
        faults = self.log.roster.faults
        wall -= faults.held_back_seconds
        found = self._latest(query, wall) if query.latest_only else self._history(query, wall)
        page = found[: self.tenant.page_size]
        body: dict[str, Any] = {
            "vehicleStatusResponse": {
                "vehicleStatuses": [self.log.body(status) for status in page]
            },
            "moreDataAvailable": len(found) > len(page),
            "requestServerDateTime": iso_utc(wall),
        }
        if len(found) > len(page) and not self._is_out_of_order:
            changes = self._place(query, page[-1])
            body["moreDataAvailableLink"] = next_link(STATUSES_PATH, request.query, changes)
        return unwrap(body) if faults.unwrapped else body, page

    @property
    def _is_out_of_order(self) -> bool:
        faults = self.log.roster.faults
        return bool(faults.created_order or faults.unsorted_pages)

    def _latest(self, query: StatusQuery, wall: float) -> list[Status]:
        latest = self.log.latest_at(wall)
        found: list[Status] = []  # at most one more than a page
        for number in range(bisect_right(self._vins, query.last_vin or ""), len(self._vins)):
            status = latest.get(self.log.roster.vehicles[self._vins[number]])
            if status is not None and self._matches(query, status):
                found.append(status)
            if len(found) > self.tenant.page_size:
                break
        return found

    def _history(self, query: StatusQuery, wall: float) -> list[Status]:
        horizon = self.log.horizon
        stop = min(query.stop, wall) if self.log.roster.faults.held_back_seconds else query.stop
        query = replace(query, stop=stop)
        if query.by_created:
            entries = sorted(self.log.entries, key=lambda status: (status.created, status.sequence))
            return [
                status
                for status in entries
                if query.start <= status.created < query.stop
                and status.received >= horizon
                and (query.after is None or (status.created, status.sequence) > query.after)
                and self._matches(query, status)
            ]
        if self._is_out_of_order:
            return self._out_of_order(query, max(query.start, horizon))
        return self._received_page(query, max(query.start, horizon))

    def _out_of_order(self, query: StatusQuery, start: float) -> list[Status]:
        """Return everything received from `start` on: by creation, or in an order of no meaning."""
        found = [
            status
            for status in self.log.entries
            if start <= status.received < query.stop and self._matches(query, status)
        ]
        if self.log.roster.faults.created_order:
            return sorted(found, key=lambda status: (status.created, status.sequence))
        seed = self.log.roster.seed
        return sorted(found, key=lambda status: draw(seed, -5, status.sequence))

    def _received_page(self, query: StatusQuery, start: float) -> list[Status]:
        key = (start, 0) if query.after is None else (query.after[0], query.after[1] + 1)
        first = bisect_left(
            self.log.entries, key, key=lambda status: (status.received, status.sequence)
        )
        found: list[Status] = []  # at most one more than a page: the log is in this order already
        for number in range(first, len(self.log.entries)):
            status = self.log.entries[number]
            if status.received >= query.stop or len(found) > self.tenant.page_size:
                break
            if self._matches(query, status):
                found.append(status)
        return found

    def _matches(self, query: StatusQuery, status: Status) -> bool:
        """Return whether the query asks for this record.

        Every record of this fleet has a snapshot, and no accumulated or uptime block.
        """
        if query.vin is not None and self.log.vin(status) != query.vin:
            return False
        if self.log.roster.is_left_out(status.vehicle):
            return False
        if query.triggers and status.trigger not in query.triggers:
            return False
        return not query.contents or "SNAPSHOT" in query.contents

    def _place(self, query: StatusQuery, last: Status) -> dict[str, str]:
        if query.latest_only:
            return {"lastVin": self.log.vin(last)}
        instant = last.created if query.by_created else last.received
        return {"after": f"{instant!r}~{last.sequence}"}

    def _account(self, page: Sequence[Status]) -> None:
        for status in page:
            vin = self.log.vin(status)
            self.sent[vin] += 1
            if status.quirk is not None:
                self.sent_with_quirk[str(status.quirk)] += 1
                continue
            last = self.last_sent.setdefault(vin, {})
            for name in self.log.values(status):
                last[name] = max(last.get(name, 0.0), status.created)


def _plain(media_type: str) -> str:
    return media_type.replace(" ", "").lower()


def read_token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def refuse(refusal: Refusal, headers: Mapping[str, str] | None = None) -> VendorAnswer:
    """Return the standard's ErrorObject; a 401 has its challenge."""
    extra = dict(headers or {})
    if refusal.status == 401:
        extra["WWW-Authenticate"] = 'Bearer realm="rfms", error="invalid_token"'
    body = {
        "error": refusal.error,
        "error_description": refusal.description,
        "error_uri": f"{_ERROR_URI}{refusal.error}.html",
    }
    return json_answer(refusal.status, body, headers=extra)


def unauthorised(request: Request) -> VendorAnswer:
    if read_token(request) is None:
        return refuse(Refusal(400, "NoBearerToken", "No bearer token provided in the request"))
    return refuse(Refusal(401, "InvalidAccessToken", "The provided access token is not valid"))
