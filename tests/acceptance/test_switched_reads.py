"""Reads while `read_owner` is switched: each answer has one source, and says which.

The two sources are told apart by what they show. Core holds one state of charge for every device,
which no simulated vehicle ever has, from before the switches. The legacy system shows those of the
simulated vehicles, which go on reporting.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import trio

from simulator.legacy_faults import LegacyFaults
from tests.acceptance.fleets import bus, streamed
from tests.acceptance.harness import open_harness, until
from tests.acceptance.shard import update

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.harness import Harness
    from tests.acceptance.shard import Answer, Shard

FLEET: Final = "fleet-1"
WORKSPACE: Final = f"/workspaces/{FLEET}"
DEVICES: Final = 1000
CLIENTS: Final = 8
SWITCHES: Final = 50
PAUSE_SECONDS: Final = 0.15
CORE_SOC: Final = 0.25  # a simulated vehicle has one decimal
CORE, LEGACY = "core", "legacy"
BUSES: Final = [bus(number) for number in range(DEVICES)]
# Every kind of answer that shows values or times, in turn.
READS: Final = (
    f"{WORKSPACE}/snapshots?limit=20",
    f"{WORKSPACE}/health?limit=20",
    f"{WORKSPACE}/snapshots/{BUSES[7]}",
    f"{WORKSPACE}/issues?limit=20",
    "/worklist?limit=20",
)


class Witness:
    """Judges every answer, and counts them by what served them. `core_times`: when core heard."""

    def __init__(self, core_times: frozenset[str]) -> None:
        self.served: Counter[str] = Counter()
        self.valued: Counter[str] = Counter()  # items that showed a value or time of the source
        self._core_times = core_times

    def judge(self, path: str, answer: Answer) -> None:
        if answer.status == 409:
            assert ("cursor=" in path, answer.problem) == (True, "source-changed"), path
            self.served["source-changed"] += 1
        elif answer.status >= 500:
            assert (answer.status, answer.problem) == (502, "legacy-unreachable"), answer.body
            self.served["legacy-unreachable"] += 1
        else:
            assert answer.status == 200, (path, answer.body)
            self._judge_values(path, answer)

    def _judge_values(self, path: str, answer: Answer) -> None:
        items = answer.json.get("items", [answer.json])
        sources = {one["served_by"] for one in (*items, answer.json) if "served_by" in one}
        assert len(sources) <= 1, f"{path} mixes both sources"
        for item in items:
            shown = self._source_shown(item)
            assert shown in (None, item["served_by"]), (path, item)
            self.valued[item["served_by"]] += shown is not None
        # A worklist says it of each item, since its workspaces may have several sources.
        assert sources or (path.startswith("/worklist") and not items), path
        self.served.update(sources or {"empty"})

    def _source_shown(self, item: dict[str, Any]) -> str | None:
        """Return the source to which the item's own values and times belong; None without any."""
        found = set()
        if soc := (item.get("values") or {}).get("soc_percent"):
            found.add(CORE if soc["value"] == CORE_SOC else LEGACY)
        if at := item["last_update_received_at"]:
            found.add(CORE if at in self._core_times else LEGACY)
        assert len(found) <= 1, item
        return found.pop() if found else None


async def read_on(shard: Shard, first: int, witness: Witness, is_over: trio.Event) -> None:
    """Read one path after the other, and the second page of each list, until it is over.

    A read begins when the one before has ended and a moment has passed, as those of people do.
    """
    turn = first
    while not is_over.is_set():
        await trio.sleep(PAUSE_SECONDS)
        path = READS[turn % len(READS)]
        turn += 1
        answer = await shard.ask("GET", path)
        witness.judge(path, answer)
        if answer.status == 200 and "limit=" in path and answer.json["next_cursor"]:
            following = f"{path}&cursor={answer.json['next_cursor']}"
            witness.judge(following, await shard.ask("GET", following))


async def switch(shard: Shard, owner: str) -> None:
    body = {"read_owner": owner, "force": {"reason": "a test"} if owner == CORE else None}
    answer = await shard.ask("PATCH", f"{WORKSPACE}/cutover", json=body, headers={"If-Match": "*"})
    assert answer.status == 200, answer.body


async def prepare(harness: Harness) -> Witness:
    """Give core its values, and wait until the legacy system has heard most vehicles."""
    shard = harness.shard
    await shard.add_pushed_fleet(FLEET, BUSES)
    flags = {"poll_owner": "both_shadow", "read_owner": LEGACY, "legacy": harness.legacy_of()}
    answer = await shard.ask("PATCH", f"{WORKSPACE}/cutover", json=flags, headers={"If-Match": "*"})
    assert answer.status == 200, answer.body
    now = await harness.now()
    for part in (BUSES[:500], BUSES[500:]):
        outcomes = await shard.outcomes(
            *(update(FLEET, each, now, soc_percent=CORE_SOC) for each in part)
        )
        assert set(outcomes) == {"accepted"}

    async def is_heard() -> bool:
        counts = (await shard.get(f"{WORKSPACE}/health", limit=1))["counts"]
        return bool(counts["healthy"] > DEVICES / 2)

    await until(is_heard)
    core = await shard.get(f"{WORKSPACE}/snapshots", limit=500, read_owner=CORE)
    rest = await shard.get(
        f"{WORKSPACE}/snapshots", limit=500, read_owner=CORE, cursor=core["next_cursor"]
    )
    items = [*core["items"], *rest["items"]]
    assert len(items) == DEVICES
    return Witness(frozenset(item["last_update_received_at"] for item in items))


async def test_d_010_no_answer_mixes_both_sources_while_switched(dsn: str, tmp_path: Path) -> None:
    fleet = streamed(FLEET, DEVICES, rate=0.2)
    async with open_harness(dsn, tmp_path, fleet, legacy=LegacyFaults()) as harness:
        witness = await prepare(harness)
        is_over = trio.Event()
        with trio.fail_after(75):
            async with trio.open_nursery() as readers:
                for number in range(CLIENTS):
                    readers.start_soon(read_on, harness.shard, number, witness, is_over)
                for number in range(SWITCHES):
                    await switch(harness.shard, LEGACY if number % 2 else CORE)
                    await trio.sleep(0.1)
                is_over.set()
    # Both were read, with values that tell them apart.
    assert witness.served[CORE] > CLIENTS
    assert witness.served[LEGACY] > CLIENTS
    assert min(witness.valued[CORE], witness.valued[LEGACY]) > DEVICES / 4
