"""The runtime as a page, and its answer to "are we behind?"."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

import pytest

from api.pages.behind import answer_are_we_behind
from api.pages.runtime import list_shards
from domain.health_causes import MAX_WAITING_SECONDS
from tests.api.harness import instant
from tests.pages.test_settings import words
from tests.pages.visiting import visit

if TYPE_CHECKING:
    from tests.api.harness import Harness

NOW: Final = instant("2026-05-01T12:00:00+00:00")
LATER, EARLIER = "2026-05-01T12:00:10Z", "2026-05-01T11:59:50Z"
LANE: Final = {"waiting_size": 5, "capacity": 10, "parked_senders": 0}
POOL: Final = {"waiting": 1, "pool_size": 3}
RUNTIME: Final[dict[str, Any]] = {
    "shards": [
        {
            "shard_id": "a",
            "state": "live",
            "expires_at": LATER,
            "draining": False,
            "ended_at": None,
            "statistics": {"oldest_waiting_seconds": 2.0, "restarts": 0, "parked": []},
        }
    ],
    "process": {
        "ingest": {
            "oldest_waiting_seconds": 0.0,
            "deferred": {"oldest_seconds": 0.0},
            "mailbox": {"lanes": {"poll": LANE}},
        },
        "database": {"in_use": 1, "pool_size": 8, "pools": {"api": POOL}},
        "shard": {"trusted": True, "clock": {"is_certain": True}},
        "rollups": {"behind": False},
    },
}
TOO_LONG: Final = MAX_WAITING_SECONDS + 1


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the healthy runtime with another value at the path."""
    found = deepcopy(RUNTIME)
    *way, last = path.split("/")
    place: Any = found
    for part in way:
        place = place[int(part) if part.isdigit() else part]
    place[last] = value
    return found


async def test_the_page_answers_first_whether_we_are_behind(harness: Harness) -> None:
    page = words(await (await visit(harness)).read("/runtime"))
    assert re.search(r"Are we behind\? (Yes|Partly|No)", page)
    assert "shard-1" in page


async def test_a_limited_key_is_told_why_it_does_not_see_it(harness: Harness) -> None:
    answer = await (await visit(harness, "north")).get("/runtime")
    assert answer.status == 403
    assert "A key that is limited to workspaces does not see the runtime." in words(answer)


async def test_a_shard_of_another_release_is_shown_too(harness: Harness) -> None:
    """Its heartbeat may lack members that this release knows."""
    await harness.stores.sessions.begin_session("other", ttl_seconds=60)
    page = words(await (await visit(harness)).read("/runtime"))
    assert re.search(r"other \S+ alive not said", page)


def test_nothing_amiss_is_a_no() -> None:
    answer = answer_are_we_behind(RUNTIME, {"states": {"on_time": 3}}, NOW)
    assert (answer.word, answer.kind, answer.because) == ("No", "good", [])


@pytest.mark.parametrize(
    ("path", "value", "word", "said"),
    [
        ("shards", [], "Yes", "0 alive"),
        ("shards/0/expires_at", EARLIER, "Yes", "0 alive, a silent"),
        ("shards/0/statistics/paused", True, "Yes", "1 of 1"),
        ("shards/0/statistics/oldest_waiting_seconds", TOO_LONG, "Yes", "31 s"),
        ("shards/0/statistics/deferred_seconds", {"north": TOO_LONG}, "Yes", "locked row: 31 s"),
        (
            "shards/0/statistics/stream_waiting_seconds",
            {"north": {"live": TOO_LONG}},
            "Yes",
            "in a stream: 31 s",
        ),
        ("shards/0/statistics/failing", True, "Yes", "the last one failed on 1 of 1 shards"),
        ("shards/0/statistics/parked", ["stream:north/live"], "Yes", "1 parked"),
        ("process/ingest/oldest_waiting_seconds", TOO_LONG, "Yes", "stored: 31 s"),
        ("process/ingest/mailbox/lanes/poll", LANE | {"waiting_size": 10}, "Yes", "full: poll"),
        ("process/ingest/mailbox/lanes/poll", LANE | {"parked_senders": 1}, "Yes", "full: poll"),
        ("process/database/pools/api", POOL | {"waiting": 4}, "Partly", "4 calls wait for 3"),
        ("process/shard/trusted", False, "Yes", "not trusted"),
        ("process/shard/clock/is_certain", False, "Partly", "uncertain"),
        ("process/rollups/behind", True, "Partly", "more hours wait"),
    ],
)
def test_each_trouble_makes_the_answer(path: str, value: Any, word: str, said: str) -> None:
    answer = answer_are_we_behind(changed(path, value), {"states": {}}, NOW)
    assert answer.word == word
    assert said in ". ".join(answer.because)


@pytest.mark.parametrize(
    ("states", "word"),
    [({"overdue": 1}, "Yes"), ({"missed": 1}, "Partly"), ({"late": 2, "on_time": 9}, "Partly")],
)
def test_starts_that_went_wrong_make_the_answer(states: dict[str, int], word: str) -> None:
    assert answer_are_we_behind(RUNTIME, {"states": states}, NOW).word == word


def test_a_dead_shard_alone_is_no_trouble() -> None:
    """Another one has taken over its work; its row stays for ever."""
    dead = RUNTIME["shards"][0] | {"shard_id": "b", "state": "dead", "expires_at": EARLIER}
    found = RUNTIME | {"shards": [*RUNTIME["shards"], dead]}
    assert answer_are_we_behind(found, {"states": {}}, NOW).word == "No"
    assert [(one.shard["shard_id"], one.word) for one in list_shards(found["shards"], NOW)] == [
        ("a", "alive"),
        ("b", "dead"),
    ]
