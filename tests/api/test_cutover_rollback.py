"""The rollback of a cutover by hand: without a tag, or judged by the one that is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.app import create_app
from domain.cutover import Cutover, ProviderMode
from storage.cutovers import PostgresCutovers
from tests.api.test_cutover import CORE, DEFAULT, LEGACY, PATH, write

if TYPE_CHECKING:
    from ports.cutovers import StoredCutover
    from tests.api.harness import Answer, Harness
    from tests.api.standing_time import FrozenDatabase


async def roll_back(harness: Harness, match: str | None = None) -> Answer:
    headers = {} if match is None else {"If-Match": match}
    body = {"reason": "values look wrong"}
    return await harness.ask("POST", f"{PATH}/rollback", json=body, headers=headers)


async def test_a_rollback_needs_no_tag_and_may_be_sent_again(harness: Harness) -> None:
    await write(harness, "PUT", {"poll_owner": "both_shadow", "legacy": LEGACY})
    first, again = await roll_back(harness), await roll_back(harness)
    flags = {**CORE, "poll_owner": "legacy", "read_owner": "legacy"}
    assert (first.status, first.json) == (200, {**DEFAULT, **flags, "legacy": LEGACY})
    assert (again.json, again.headers["etag"]) == (first.json, first.headers["etag"])
    audit = await harness.get("/workspaces/north/audit?kind=cutover")
    assert audit["items"][0]["after"]["rollback"] == {"reason": "values look wrong"}
    assert len(audit["items"]) == 2


async def test_a_rollback_honours_a_tag_that_is_sent(harness: Harness) -> None:
    tag = (await write(harness, "PUT", {"legacy": LEGACY})).headers["etag"]
    await write(harness, "PATCH", {"provider_mode": "mixed"})
    answer = await roll_back(harness, match=tag)
    assert (answer.status, answer.problem) == (412, "precondition-failed")
    assert (await harness.get(PATH))["poll_owner"] == "core"


class OvertakenCutovers(PostgresCutovers):
    """Cutovers of which another client changes one between its reading and the command."""

    async def get_cutover(self, workspace_id: str) -> StoredCutover | None:
        stored = await super().get_cutover(workspace_id)
        assert stored is not None
        flags = Cutover(provider_mode=ProviderMode.MIXED)
        await self.put_cutover(workspace_id, draft=stored.draft._replace(flags=flags))
        return stored


async def test_a_rollback_with_a_tag_is_judged_in_its_transaction(
    harness: Harness, frozen: FrozenDatabase
) -> None:
    tag = (await write(harness, "PUT", {"legacy": LEGACY})).headers["etag"]
    services = harness.make_services(cutovers=OvertakenCutovers(frozen))
    harness.client = create_app(services).test_client()
    answer = await roll_back(harness, match=tag)
    assert (answer.status, answer.problem) == (412, "precondition-failed")


async def test_a_rollback_to_no_legacy_system_is_refused(harness: Harness) -> None:
    answer = await roll_back(harness)
    assert (answer.status, answer.problem) == (409, "legacy-missing")


async def test_a_rollback_needs_a_reason(harness: Harness) -> None:
    answer = await harness.ask("POST", f"{PATH}/rollback", json={})
    assert (answer.status, answer.pointers) == (422, ["/reason"])
