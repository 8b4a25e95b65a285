"""The scenarios: work that is done for `OURS`, each with the statements that it runs.

To add a statement of storage/sql, add its name to the `@drives` of a scenario that makes a store
run it, or write a scenario: an async function that gets the harness, acts for `OURS` through the
stores, and returns what they answered. It should also ask for something that only `THEIRS` has,
because a statement without `workspace_id` finds it. `prepared` is SQL that brings both
databases into the state from which the scenario begins.
"""

from __future__ import annotations

from typing import Any

from domain.deferral import CONNECTION, CYCLE, DEVICE, EXTERNAL
from domain.model import Policy, Submission
from domain.registry import PolicyDraft, Swap
from ports.ingest import UnitPoisoned
from ports.reads import FleetQuery
from storage.queries import sql
from storage.unit.packing import pack
from storage.unit.steps import Statement
from tests.isolation.fleets import (
    NEW,
    OURS,
    SESSION,
    TAG,
    THEIRS,
    Harness,
    ago,
    draft,
    news,
    provider,
    update,
)
from tests.isolation.scenario import drives
from tests.storage.holding import holding

SWITCHED_OFF = f"""
    UPDATE workspaces SET active = false, ordinal = NULL, scheduled_since = NULL
    WHERE workspace_id = '{OURS}'
"""
ALL_HEARD = f"""
    UPDATE device_state SET last_update_received_at = clock_timestamp()
    WHERE workspace_id = '{OURS}'
"""

# --- What is configured ---------------------------------------------------------------------------


@drives("create_workspace", "lock_workspace")
async def make_a_workspace(harness: Harness) -> Any:
    return await harness.put_workspace(NEW), await harness.stores.registry.get_workspace(NEW)


@drives("lock_workspace", "update_workspace")
async def change_a_workspace(harness: Harness) -> Any:
    return await harness.put_workspace(OURS, name="changed", time_zone="Asia/Tokyo")


# One more at its own old place would be too many: only the neighbour is there.
A_NEIGHBOUR_AT_ITS_OFFSET = (
    f"UPDATE workspaces SET start_offset_seconds = 10 WHERE workspace_id = '{OURS}'",
    """
    INSERT INTO workspaces (workspace_id, name, ordinal, scheduled_since, start_offset_seconds)
    VALUES ('neighbour', 'neighbour', 900, clock_timestamp(), 10)
    """,
)


@drives("lock_workspace", "count_other_places", prepared=A_NEIGHBOUR_AT_ITS_OFFSET)
async def move_beside_a_neighbour(harness: Harness) -> Any:
    draft_of_policy = PolicyDraft(Policy(), 600, 10)
    return await harness.stores.registry.put_policy(OURS, draft=draft_of_policy)


@drives("get_workspace", "list_workspaces")
async def read_workspaces(harness: Harness) -> Any:
    registry = harness.stores.registry
    listed = [
        await registry.list_workspaces(
            workspaces=frozenset(names), after=None, limit=9, archived=archived
        )
        for names in ([OURS], ["nowhere"])
        for archived in (False, True)
    ]
    return listed, await registry.get_workspace(OURS), await registry.get_workspace("nowhere")


@drives("lock_workspace", "get_provider", "put_provider", "make_connection_state", "bump_config")
async def put_providers(harness: Harness) -> Any:
    changed = [provider(OURS, name, settings={"changed": True}) for name in ("live", "only-theirs")]
    return [await harness.stores.registry.put_provider(connection) for connection in changed]


@drives("get_provider", "list_providers")
async def read_providers(harness: Harness) -> Any:
    registry = harness.stores.registry
    found = [await registry.get_provider(OURS, name) for name in ("live", "only-theirs")]
    return found, await registry.list_providers(OURS, after=None, limit=9)


@drives(
    *("lock_workspace", "list_providers", "find_devices", "find_external_holders", "put_devices"),
    *("find_assignments", "find_present_assignments", "lock_device_states", "begin_assignments"),
    *("correct_assignments", "make_device_states", "make_snapshots", "bump_config"),
)
async def put_devices(harness: Harness) -> Any:
    put = harness.stores.registry.put_devices
    refused = await put(OURS, [draft("bus-1", provider_id="only-theirs")])
    stored = await put(
        OURS,
        [
            draft("bus-1", vehicle_id=OURS, vehicle_name="changed", tags=("depot",)),
            draft("bus-8"),
            draft("bus-9", vehicle_id=OURS),
        ],
    )
    return refused, stored


@drives("give_up_units")
async def exchange_units(harness: Harness) -> Any:
    drafts = [
        draft("bus-1", external_id="x-bus-2", vehicle_id=OURS),
        draft("bus-2", external_id="x-bus-1", vehicle_id=OURS),
    ]
    return await harness.stores.registry.put_devices(OURS, drafts, may_swap=True)


@drives(
    "find_external_holders",
    prepared=("UPDATE devices SET external_key = 'x-7' WHERE device_id = 'bus-8'",),
)
async def take_an_external_id_that_they_use(harness: Harness) -> Any:
    return await harness.stores.registry.put_devices(OURS, [draft("bus-7", external_id="x-7")])


@drives(
    *("get_device", "end_assignments", "begin_assignments", "make_device_states"),
    *("make_snapshots", "get_assignments", "count_events_after_end", "list_events_after_end"),
)
async def swap_devices(harness: Harness) -> Any:
    change, swap = Swap(external_id="x-1", effective_at=ago(8)), harness.stores.registry.swap_device
    return [await swap(OURS, name, change) for name in ("bus-1", "bus-8")]


@drives("rekey_devices", "rekey_assignments", "list_assignments", "list_devices")
async def compare_ids_by_another_rule(harness: Harness) -> Any:
    changed = [provider(OURS, name, ids_are_vins=True) for name in ("live", "only-theirs")]
    stored = [await harness.stores.registry.put_provider(connection) for connection in changed]
    return stored, await harness.commit(
        Submission("http", "t", (update(OURS, 2, 20, device_id=None, external_id="X-BUS-1"),))
    )


@drives("retire_device", "end_assignments", "get_device", "lock_workspace", "bump_config")
async def retire_devices(harness: Harness) -> Any:
    return [
        await harness.stores.registry.retire_device(OURS, name)
        for name in ("bus-1", "bus-8", "bus-9")
    ]


@drives("get_device", "list_devices")
async def read_devices(harness: Harness) -> Any:
    registry = harness.stores.registry
    found = [await registry.get_device(OURS, name) for name in ("bus-1", "bus-8", "bus-9")]
    lists = [
        await registry.list_devices(OURS, include_retired=flag, after=None, limit=9, tag=tag)
        for flag in (True, False)
        for tag in (None, TAG, THEIRS)
    ]
    return found, lists


@drives("load_config_versions")
async def load_a_fleet(harness: Harness) -> Any:
    sessions = harness.stores.sessions
    return await sessions.load_fleet(OURS), (await sessions.load_config_versions())[OURS]


# A store would not show a row too many: it looks up the workspaces that were asked for.
_OF_FLEETS = (
    "count_fleets",
    "load_fleet_workspaces",
    "load_fleet_connections",
    "load_fleet_devices",
)


@drives(*_OF_FLEETS)
async def fetch_the_rows_of_fleets(harness: Harness) -> Any:
    return [await harness.fetch(sql(name), [OURS]) for name in _OF_FLEETS]


# --- Cycles ---------------------------------------------------------------------------------------


@drives(
    *("lock_workspace", "list_providers", "find_requested_cycle", "request_cycle", "bump_config")
)
async def ask_for_a_run(harness: Harness) -> Any:
    asked = [await harness.stores.registry.request_cycle(OURS, "trace-new") for _ in range(2)]
    return asked[0] == asked[1], asked[0] == "run-1"


OUR_REQUEST = f""" INSERT INTO poll_cycles (workspace_id, slot_start_at, trigger, attempt, cycle_id,
trace_id, requested_at, outcome) VALUES ('{OURS}', '{ago(1).isoformat()}', 'manual', 1, 'run-1',
'trace-1', '{ago(1).isoformat()}', 'requested')
"""


@drives("take_requested_cycle", prepared=(OUR_REQUEST,))
async def take_the_run_that_was_asked_for(harness: Harness) -> Any:
    """Only for the configuration_version of our own."""
    take, ours = (
        harness.stores.cycles.take_requested_cycle,
        (await harness.stores.sessions.load_config_versions())[OURS],
    )
    others = [await take(SESSION, OURS, version) for version in range(20) if version != ours]
    return others, await take(SESSION, OURS, ours)


@drives("find_attempts", "start_cycles")
async def start_in_a_slot_that_they_completed(harness: Harness) -> Any:
    return await harness.start_cycle(OURS, 1, "cycle-9")


@drives("count_devices_at", "record_missed")
async def miss_a_slot_that_they_touched(harness: Harness) -> Any:
    return await harness.stores.cycles.record_missed(SESSION, OURS, [ago(0), ago(1), ago(2)])


@drives("find_orphans", "count_devices", "abandon_orphans")
async def abandon_what_nobody_ends(harness: Harness) -> Any:
    return await harness.stores.cycles.abandon_orphans(SESSION, OURS)


@drives("take_free_turns_on_cycles", "look_back")
async def look_back_at_the_cycles(harness: Harness) -> Any:
    return await harness.stores.cycles.look_back(OURS)


@drives("find_silent_connections", prepared=(ALL_HEARD,))
async def look_for_silent_devices(harness: Harness) -> Any:
    limits = {"live": 3600.0, "only-theirs": 3600.0}
    return await harness.stores.cycles.find_silent_connections(OURS, limits)


@drives("count_devices", "end_cycles")
async def end_a_cycle(harness: Harness) -> Any:
    return await harness.end_cycle(OURS, 4, "cycle-2")


@drives("list_cycles", "get_cycle")
async def read_cycles(harness: Harness) -> Any:
    reads = harness.stores.reads
    found = [await reads.get_cycle(OURS, name) for name in ("cycle-1", "cycle-9")]
    return found, await reads.list_cycles(OURS, before=None, limit=9)


# --- The ingest unit ------------------------------------------------------------------------------


@drives(
    *(
        "resolve_external_ids",
        "lock_devices",
        "write_device_states",
        "write_snapshots",
    ),
    *(
        "lock_connections",
        "write_connections",
        "append_connection_events",
        "append_device_events",
        "append_rejections",
        "append_quarantine",
    ),
    prepared=(
        "UPDATE connection_state SET call_status = 'failed'",
        "UPDATE device_state SET statement = 'left_out'",
    ),
)
async def commit_news(harness: Harness) -> Any:
    return await harness.commit(news(OURS, 2, 20))


@drives("append_rejections", "count_rejections")
async def be_refused_twice(harness: Harness) -> Any:
    return [await harness.commit(news(OURS, 2, 20)) for _ in range(2)]


@drives("resolve_external_ids", "lock_devices")
async def send_for_a_device_that_only_they_have(harness: Harness) -> Any:
    stranger = update(OURS, 2, 20, device_id="bus-8")
    by_name = stranger._replace(device_id=None, external_id="x-bus-8")
    return await harness.commit(Submission("http", "trace-1", (stranger, by_name)))


@drives("append_quarantine")
async def set_poison_aside(harness: Harness) -> Any:
    poison = Submission("http", "t", (update(OURS, 2, 20),))
    poisoned = UnitPoisoned("22021", "NUL")
    (receipt,) = await harness.stores.ingest.quarantine(SESSION, 999, poison, poisoned)
    return receipt.results


_OUR_ROWS = """ SELECT 1 FROM device_state s, snapshots n, connection_state c, poll_cycles p
WHERE s.workspace_id = $1 AND s.device_id = 'bus-1'
  AND n.workspace_id = $1 AND n.device_id = 'bus-2'
  AND c.workspace_id = $1 AND c.provider_id = 'live'
  AND p.workspace_id = $1 AND p.cycle_id = 'cycle-2'
FOR UPDATE
"""


@drives(
    *("resolve_external_ids", "find_locked_device_states", "find_locked_snapshots"),
    *("find_locked_connections", "find_locked_cycles"),
)
async def find_our_locked_rows(harness: Harness) -> Any:
    """Look for rows that are held, rows that are not, and rows that only `THEIRS` has."""
    devices = [(DEVICE, OURS, name) for name in ("bus-1", "bus-2", "bus-8")]
    named = [(EXTERNAL, OURS, "live", f"x-{name}") for name in ("bus-1", "bus-8")]
    links = [(CONNECTION, OURS, name) for name in ("live", "spare", "only-theirs")]
    cycles = [(CYCLE, OURS, name) for name in ("cycle-1", "cycle-2", "cycle-9")]
    async with holding(harness.database, _OUR_ROWS, OURS):
        return sorted(await harness.stores.ingest.find_locked([*devices, *named, *links, *cycles]))


# --- By themselves --------------------------------------------------------------------------------

# Statements whose row too many a store would not show: it takes the first, or the last of a key.
# The unit asks for reread_devices only after it waited for another's lock.
_PAIRS = ([OURS, OURS], ["bus-1", "bus-8"])
_LINKS = ([OURS, OURS], ["live", "only-theirs"])
_ROWS: dict[str, tuple[Any, ...]] = {
    "lock_devices": (*_PAIRS, [True, True]),
    "reread_devices": _PAIRS,
    "resolve_external_ids": (*_LINKS, ["x-bus-1", "x-bus-8"]),
    "lock_connections": _LINKS,
    "get_snapshot": (OURS, "bus-1"),
    "get_fleet": (OURS,),
    "get_assignments": (OURS, "bus-1", [1, 2]),
    "list_assignments": (OURS, "live"),
    "find_assignments": (OURS, *_LINKS[1:], ["x-bus-1", "x-bus-8"]),
    "find_present_assignments": (OURS, ["bus-1", "bus-8"]),
    "list_threshold_classes": ([OURS], False, True),
    "find_access": ("nobodys-key", OURS),
}


@drives(*_ROWS)
async def fetch_every_row(harness: Harness) -> Any:
    return [
        await harness.fetch(sql(name), *pack(Statement(name, args))) for name, args in _ROWS.items()
    ]


# --- What the API reads ---------------------------------------------------------------------------


@drives("list_snapshots", "get_snapshot")
async def read_snapshots(harness: Harness) -> Any:
    reads = harness.stores.reads
    found = [await reads.get_snapshot(OURS, name) for name in ("bus-1", "bus-8", "bus-9")]
    return found, await reads.list_snapshots(OURS, after=None, limit=9)


@drives("get_fleet", "list_fleet_connections", "list_fleet_devices")
async def load_our_fleet(harness: Harness) -> Any:
    load = harness.stores.reads.load_fleet
    return (
        await load(OURS, FleetQuery()),
        await load(OURS, FleetQuery(after="bus-1", limit=1)),
        [await load(OURS, FleetQuery(device_id=name)) for name in ("bus-1", "bus-8", "bus-9")],
    )


@drives("list_events")
async def read_events(harness: Harness) -> Any:
    return await harness.stores.reads.list_events(OURS, "bus-1", before=None, limit=9)


@drives("list_rejections")
async def read_rejections(harness: Harness) -> Any:
    return await harness.stores.reads.list_rejections(OURS, before=None, reason=None, limit=9)
