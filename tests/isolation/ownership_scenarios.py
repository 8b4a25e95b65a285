"""The scenarios of leases and sessions, and of what a shard loads."""

from __future__ import annotations

from typing import Any

from domain.resource import workspace_resource
from tests.isolation.fleets import OURS, SESSION, Harness
from tests.isolation.scenario import drives
from tests.isolation.scenarios import SWITCHED_OFF

OUR_LEASE = workspace_resource(OURS)


@drives("look_at_leases")
async def look_at_leases(harness: Harness) -> Any:
    return (await harness.stores.leases.look(SESSION)).mine.get(OUR_LEASE)


@drives("make_leases", "claim_leases", prepared=("DELETE FROM leases",))
async def claim_what_nobody_ever_had(harness: Harness) -> Any:
    return await harness.stores.leases.claim(SESSION, [OUR_LEASE])


@drives("make_leases", prepared=(f"DELETE FROM leases WHERE resource = '{OUR_LEASE}'",))
async def claim_what_only_they_had(harness: Harness) -> Any:
    return await harness.stores.leases.claim(SESSION, [OUR_LEASE])


@drives("claim_leases", prepared=("UPDATE leases SET shard_id = NULL, epoch = NULL, token = 7",))
async def claim_what_is_free(harness: Harness) -> Any:
    return await harness.stores.leases.claim(SESSION, [OUR_LEASE])


@drives("claim_leases", prepared=("UPDATE leases SET shard_id = NULL, epoch = NULL", SWITCHED_OFF))
async def claim_what_is_switched_off(harness: Harness) -> Any:
    return await harness.stores.leases.claim(SESSION, [OUR_LEASE])


@drives("release_leases", prepared=("UPDATE leases SET token = 7",))
async def release_a_lease(harness: Harness) -> Any:
    return await harness.stores.leases.release(SESSION, {OUR_LEASE: 7})


@drives("load_credentials")
async def load_credentials(harness: Harness) -> Any:
    return (await harness.stores.leases.load_credentials())[OUR_LEASE]
