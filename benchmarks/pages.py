"""`make bench-pages`: the first render of each page against the JSON that it asks for.

Everything runs in one process, through the same gate, frame and applications as a browser's
requests, over a fleet of many workspaces in a PostgreSQL of its own. For each page it records the
questions that the page asks the API, and then times the page and the same questions with a key, in
turn. It ends with 1 when a page takes more than MOST times its JSON, and with 3 when a page or an
answer was not right.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import trio
from quart import request

from api.app import create_app
from api.auth import INSIDE
from api.keys import Scope
from api.pages.viewer import COOKIE
from benchmarks import live_fleet
from benchmarks.place import fetch, open_place
from benchmarks.rounds import in_turn
from benchmarks.verification import NotVerified, require
from domain.model import SessionRef
from ports.sessions import VitalSigns
from runtime.clock import SystemClock
from runtime.logs import configure_logging
from storage.gateway import Database, open_bridge
from storage.migrations import migrate
from tests.api.harness import Harness
from tests.conftest import make_postgres_stores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tests.api.standing_time import DatabaseClock

MOST: Final = 2.0
EXIT_ABOVE: Final = 1
EXIT_NOT_VERIFIED: Final = 3
WARM_UP: Final = 3
SESSION: Final = SessionRef("shard-1", 1)
WORKSPACE: Final = "w7"
DEVICE: Final = "d3"
_ROOT: Final = f"/workspaces/{WORKSPACE}"
# Each page, and a text that it must have.
PAGES: Final = (
    ("/", "Workspace 7"),
    (_ROOT, "Bus 3"),
    (f"{_ROOT}/devices/{DEVICE}", "Bus 3"),
    ("/worklist", "Bus"),
    ("/plan", "second"),
    (f"{_ROOT}/indicators", WORKSPACE),
    (f"{_ROOT}/settings", WORKSPACE),
    (f"{_ROOT}/admin", WORKSPACE),
    ("/audit", "Audit"),
    ("/runtime", "shard-1"),
)


class PageCost(NamedTuple):
    """Milliseconds to the last byte, medians: of the page, and of its `questions` one by one."""

    path: str
    questions: int
    page: float
    json: float

    @property
    def ratio(self) -> float:
        return self.page / self.json

    def row(self) -> str:
        return (
            f"{self.path:38} {self.questions:9} {self.json:9.1f} {self.page:9.1f} {self.ratio:6.2f}"
        )


@dataclass
class InProcess:
    """The applications, without a socket. `asked` has the questions of the page being served."""

    app: Any
    key: str
    cookie: str = ""
    asked: list[str] = field(default_factory=list)

    async def get(self, path: str, *, with_key: bool) -> bytes:
        """Return the body of an answer. Raises NotVerified unless it is 200."""
        headers = (
            [(b"authorization", f"Bearer {self.key}".encode())]
            if with_key
            else [(b"cookie", f"{COOKIE}={self.cookie}".encode()), (b"accept", b"text/html")]
        )
        status, _, body = await self.exchange("GET", path, headers)
        require([] if status == 200 else [f"{path} answers {status}"])
        return body

    async def sign_in(self) -> None:
        headers = [
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"origin", b"http://bench"),
        ]
        status, answered, _ = await self.exchange(
            "POST", "/sign-in", headers, f"key={self.key}".encode()
        )
        require([] if status == 303 else [f"the sign-in answers {status}"])
        self.cookie = answered[b"set-cookie"].split(b";")[0].partition(b"=")[2].decode()

    async def exchange(
        self, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes = b""
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        bare, _, query = path.partition("?")
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": bare,
            "raw_path": bare.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"bench"), *headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "extensions": {},
            "state": {},
        }
        left, sent = [body], []

        async def receive() -> dict[str, Any]:
            if not left:
                await trio.sleep_forever()  # until the application has answered
            return {"type": "http.request", "body": left.pop(), "more_body": False}

        async def send(event: dict[str, Any]) -> None:
            sent.append(event)

        await self.app(scope, receive, send)
        parts = [event["body"] for event in sent[1:]]
        return sent[0]["status"], dict(sent[0]["headers"]), b"".join(parts)


class RealTime:
    """The database's time, which on one machine is the machine's."""

    def now(self) -> datetime:
        return SystemClock().wall()


async def main(flags: argparse.Namespace) -> int:
    async with open_place() as place:
        await migrate(place.dsn)
        await _fill(place.dsn, flags)
        with TemporaryDirectory() as folder:
            async with aclosing(Database(place.dsn, pool_size=4)) as database:
                costs = await _measure(database, Path(folder), flags.rounds)
    print(f"{flags.devices} devices in {flags.workspaces} workspaces; medians of {flags.rounds}")
    print(f"{'page':38} {'questions':>9} {'JSON ms':>9} {'page ms':>9} {'ratio':>6}")
    print("\n".join(cost.row() for cost in costs))
    above = [cost.path for cost in costs if cost.ratio > MOST]
    print(f"above {MOST} times: {', '.join(above) or 'none'}")
    return EXIT_ABOVE if above else 0


async def _fill(dsn: str, flags: argparse.Namespace) -> None:
    """Store the fleet, every device of which was just heard, but for a tenth."""
    print(f"storing {flags.devices} devices …", file=sys.stderr)
    await fetch(dsn, live_fleet.WORKSPACES, flags.workspaces)
    await fetch(dsn, live_fleet.CONNECTIONS, flags.workspaces)
    await fetch(dsn, live_fleet.DEVICES, flags.workspaces, flags.devices // flags.workspaces)
    for turn in range(9):
        await fetch(dsn, live_fleet.HEAR, 10, turn)
    await fetch(dsn, "ANALYZE")


async def _measure(database: Database, folder: Path, rounds: int) -> list[PageCost]:
    stores = make_postgres_stores(database)
    start = await stores.sessions.begin_session(SESSION.shard_id, ttl_seconds=3600)
    require([] if start is not None else ["the database has a session already"])
    await stores.sessions.beat(SESSION, ttl_seconds=3600, statistics=VitalSigns())
    await stores.upkeep.ensure_partitions(days_ahead=2)
    harness = Harness(stores, cast("DatabaseClock", RealTime()), SESSION, folder)
    await harness.add_key("bench", list(Scope), None)
    app = create_app(harness.services)
    inside = InProcess(app, harness.tokens["bench"])

    @app.before_request
    async def note() -> None:
        if INSIDE in request.scope["state"]:
            inside.asked.append(request.full_path.rstrip("?"))

    await inside.sign_in()
    return [await _time_page(inside, path, text, rounds) for path, text in PAGES]


async def _time_page(inside: InProcess, path: str, text: str, rounds: int) -> PageCost:
    """Time a page and its questions in turn. Raises NotVerified for a page without `text`."""
    inside.asked.clear()
    page = await inside.get(path, with_key=False)
    require([] if text in page.decode() else [f"{path} lacks {text!r}"])
    questions = tuple(inside.asked)
    taken: dict[str, list[float]] = {"page": [], "json": []}
    for number in range(WARM_UP + rounds):
        for side in in_turn(number, "page", "json"):
            paths = (path,) if side == "page" else questions
            began = time.perf_counter()
            for each in paths:
                await inside.get(each, with_key=side == "json")
            taken[side].append(1000 * (time.perf_counter() - began))
    page_ms, json_ms = (median(taken[side][WARM_UP:]) for side in ("page", "json"))
    print(f"measured {path}", file=sys.stderr)
    return PageCost(path, len(questions), page_ms, json_ms)


def run(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make bench-pages", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--workspaces", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=20, help="of which the median is taken")
    flags = parser.parse_args(arguments)
    configure_logging(level="error")

    async def within_bridge() -> int:
        async with open_bridge():
            return await main(flags)

    try:
        return trio.run(within_bridge)
    except NotVerified as failure:
        print(f"not verified: {failure}", file=sys.stderr)
        return EXIT_NOT_VERIFIED


if __name__ == "__main__":
    sys.exit(run())
