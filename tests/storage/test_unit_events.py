"""The rows of events that a unit copies: what each carries, and what is left out."""

from __future__ import annotations

from domain.model import Ownership, Reading
from domain.resource import workspace_resource
from tests.storage.fixtures import WORKSPACE, submission
from tests.storage.test_unit import NOON, SESSION, Dialogue, update


def test_events_carry_the_ownership_they_were_collected_under() -> None:
    owned = submission(
        update(), ownership=Ownership(workspace_resource("harbour"), "shard-1", 7, 12)
    )
    dialogue = Dialogue()
    dialogue.run(owned)
    sent = dialogue.sent("append_events", "token", "shard_id", "epoch")
    assert sent == ([12], ["shard-1"], [7])


def test_an_event_names_a_resource_only_if_it_is_another_one() -> None:
    own, other = (
        submission(update(soc=soc, readings=reading), ownership=Ownership(resource, *SESSION, 12))
        for soc, reading, resource in (
            (50.0, (Reading("soc_percent", 50.0, NOON),), workspace_resource(WORKSPACE)),
            (51.0, (Reading("speed_kmh", 51.0, NOON),), workspace_resource("elsewhere")),
        )
    )
    dialogue = Dialogue()
    dialogue.run(own, other)
    assert dialogue.sent("append_events", "resource") == ([None, "workspace:elsewhere"],)


def test_a_trace_id_is_stored_as_uuid_where_that_is_the_same() -> None:
    hexadecimal, upper = "4bf92f3577b34da6a3ce929d0e0e4736", "4BF92F3577B34DA6A3CE929D0E0E4736"
    dialogue = Dialogue()
    dialogue.run(
        submission(
            update(trace_id=hexadecimal),
            update(trace_id=upper, readings=(Reading("speed_kmh", 1.0, NOON),)),
        )
    )
    assert dialogue.sent("append_events", "trace", "trace_id") == (
        [hexadecimal, None],
        [None, upper],
    )
