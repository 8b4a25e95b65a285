"""From shadow to core reads through the gate, and back by a guardrail, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from simulator.legacy_faults import LegacyFaults
from tests.acceptance.fleets import polled
from tests.acceptance.harness import QUICK, open_harness, until

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.config import Tenant
    from tests.acceptance.harness import Harness
    from tests.acceptance.shard import Answer

FLEET: Final = "fleet-1"
PATH: Final = f"/workspaces/{FLEET}/cutover"
INTERVAL: Final = 2
SHADOW: Final = {"poll_owner": "both_shadow", "read_owner": "legacy"}
# Few cycles, so that a test takes seconds.
GATE: Final = {"cycles": 4}
GUARDRAILS: Final = {"cycles": 4, "min_completed_cycles": 3}
VEHICLES: Final = 3
# For a few compared cycles on a crowded machine.
GATE_SECONDS: Final = 75.0


async def begin_shadow(harness: Harness, fleet: Tenant) -> None:
    await harness.add_fleet(fleet, interval=INTERVAL, thresholds=QUICK)
    answer = await change(
        harness, **SHADOW, legacy=harness.legacy_of(), gate=GATE, guardrails=GUARDRAILS
    )
    assert answer.status == 200, answer.body


async def change(harness: Harness, **members: Any) -> Answer:
    return await harness.shard.ask("PATCH", PATH, json=members, headers={"If-Match": "*"})


async def read(harness: Harness) -> Any:
    return await harness.shard.get(PATH)


async def parity(harness: Harness) -> Any:
    return await harness.shard.get(f"{PATH}/parity")


async def is_gate_open(harness: Harness) -> bool:
    return bool((await read(harness))["gate_view"]["is_open"])


async def reads_core_again(harness: Harness) -> bool:
    return (await change(harness, read_owner="core")).status == 200


async def is_rolled_back(harness: Harness) -> bool:
    return bool((await read(harness))["read_owner"] == "legacy")


async def test_acceptance_12_sc_14_core_is_read_only_through_the_gate(
    dsn: str, tmp_path: Path
) -> None:
    fleet = polled(FLEET, VEHICLES)
    async with open_harness(dsn, tmp_path, fleet, legacy=LegacyFaults(wrong=1.0)) as harness:
        await begin_shadow(harness, fleet)

        # 1. Nothing is compared yet.
        early = await change(harness, read_owner="core")
        assert (early.status, early.problem) == (409, "parity-gate")

        # 2. The legacy system shows other values: the gate stays shut, and names the devices.
        async def differs() -> bool:
            view = (await read(harness))["gate_view"]
            return bool(view["cycles"] == GATE["cycles"] and (view["mismatch_share"] or 0) > 0.01)

        await until(differs)
        refused = await change(harness, read_owner="core")
        assert (refused.status, refused.problem) == (409, "parity-gate")
        assert refused.json["gate_view"]["mismatch_share"] > 0.01
        assert refused.json["worst_devices"]
        newest = next(one for one in (await parity(harness))["items"] if one["samples"])
        assert newest["samples"][0]["verdict"] == "different"
        assert newest["samples"][0]["vehicle_id"].startswith("vehicle-")

        # 3. Both show the same: after as many cycles the gate opens.
        await harness.change_legacy(FLEET)
        await until(lambda: is_gate_open(harness), within=GATE_SECONDS)
        assert await reads_core_again(harness)
        shown = await parity(harness)
        assert shown["now"] == "comparable"
        assert shown["items"][0]["devices"] == VEHICLES
        assert (await read(harness))["read_owner"] == "core"


async def test_acceptance_13_sc_08_d_010_a_guardrail_gives_back_to_legacy(
    dsn: str, tmp_path: Path
) -> None:
    fleet = polled(FLEET, VEHICLES)
    async with open_harness(dsn, tmp_path, fleet, legacy=LegacyFaults()) as harness:
        await begin_shadow(harness, fleet)
        await until(lambda: is_gate_open(harness), within=GATE_SECONDS)
        await until(lambda: reads_core_again(harness))
        revision = (await harness.shard.ask("GET", PATH)).headers["etag"]
        stored = await harness.fetch("SELECT count(*) AS events FROM events")

        await harness.change_faults(FLEET, "http_500=1")
        await until(lambda: is_rolled_back(harness))

        after = await harness.shard.ask("GET", PATH)
        cutover = after.json
        assert (cutover["read_owner"], cutover["poll_owner"]) == ("legacy", "legacy")
        assert after.headers["etag"] != revision
        (event,) = cutover["guardrail_events"]
        assert (event["kind"], event["why_not"]) == ("rollback", None)
        assert event["crossings"]
        assert cutover["rolled_back_at"] is not None

        # Nothing is destroyed, service goes on, and it stays so.
        kept = await harness.fetch("SELECT count(*) AS events FROM events")
        assert kept[0]["events"] >= stored[0]["events"] > 0
        assert (await harness.shard.ask("GET", f"/workspaces/{FLEET}/health")).status == 200
        assert len((await harness.shard.get(f"/workspaces/{FLEET}/snapshots"))["items"]) == VEHICLES
        (entry,) = await rollbacks(harness)
        assert entry["after"]["rollback"]["crossings"] == event["crossings"]
        await harness.change_faults(FLEET)
        before = len(await harness.shard.cycles(FLEET))
        await until(lambda: has_more_cycles(harness, before + 2))
        assert await read(harness) == cutover | {
            name: (await read(harness))[name] for name in ("legacy_answered_at", "gate_view")
        }
        assert (await parity(harness))["now"] == "incomparable"


async def rollbacks(harness: Harness) -> list[Any]:
    page = await harness.shard.get(f"/workspaces/{FLEET}/audit", kind="cutover")
    return [entry for entry in page["items"] if entry["who"] == "guardrail"]


async def has_more_cycles(harness: Harness, number: int) -> bool:
    return len(await harness.shard.cycles(FLEET)) >= number


async def test_acceptance_13_a_dead_legacy_system_is_not_gone_back_to(
    dsn: str, tmp_path: Path
) -> None:
    fleet = polled(FLEET, VEHICLES)
    async with open_harness(dsn, tmp_path, fleet, legacy=LegacyFaults()) as harness:
        await begin_shadow(harness, fleet)
        limits = GUARDRAILS | {"legacy_answered_within_seconds": 20}
        force = {"reason": "a test"}
        answer = await change(harness, read_owner="core", guardrails=limits, force=force)
        assert answer.status == 200, answer.body
        await harness.change_legacy(FLEET, "outage=1")
        await harness.execute("UPDATE cutovers SET legacy_answered_at = NULL")
        await harness.change_faults(FLEET, "http_500=1")

        async def has_alerted() -> bool:
            return bool((await read(harness))["guardrail_events"])

        await until(has_alerted)
        cutover = await read(harness)
        assert (cutover["read_owner"], cutover["poll_owner"]) == ("core", "both_shadow")
        (event,) = cutover["guardrail_events"]
        assert event["kind"] == "alert"
        assert "did not answer" in event["why_not"]
        shown = await parity(harness)
        assert shown["now"] == "incomparable"
        assert shown["items"][0]["counts"]["incomparable"] == VEHICLES
