"""The unit as a dialogue: what a device's present assignment means for its updates."""

from __future__ import annotations

from datetime import timedelta

from domain.model import Ownership
from domain.resource import workspace_resource
from tests.storage.device_rows import device_row, reread_row
from tests.storage.fixtures import submission
from tests.storage.test_unit import NOON, SESSION, Dialogue, bad_item, update


def test_a_device_swapped_while_the_unit_waited_is_read_again() -> None:
    swapped = reread_row(4, "{}", registered_assignment=2, external_id="x-other", vehicle_id="B 2")
    row = device_row(version=4, snapshot_version=4, assignment=2)
    dialogue = Dialogue(lock_devices=[row], reread_devices=[swapped])
    results = dialogue.run(
        submission(
            update(vehicle_id="vehicle-bus-1"),
            update(external_id="x-bus-1"),
            update(external_id="x-other", vehicle_id="B 2"),
        )
    )
    assert results == [["rejected:identity_conflict"] * 2 + ["accepted"]]
    assert dialogue.sent("append_events", "assignment") == ([2],)


def test_our_own_outdated_view_of_a_device_is_not_its_fault() -> None:
    owner = Ownership(workspace_resource("harbour"), *SESSION, 1)
    dialogue = Dialogue()
    sent = submission(update(external_id="x-former"), ownership=owner)
    assert dialogue.run(sent) == [["rejected:unknown_device"]]
    assert "write_device_states" not in dialogue.said


def test_what_came_before_an_assignment_is_not_held_against_it() -> None:
    entered = device_row(entered_at=NOON + timedelta(seconds=1))
    dialogue = Dialogue(lock_devices=[entered])
    refused = update(soc=200.0)
    assert dialogue.run(submission(refused, invalid=(bad_item(),))) == [["rejected:invalid"]]
    assert "write_device_states" not in dialogue.said


def test_another_vehicles_readings_change_nothing_on_the_device() -> None:
    spans = f'[["0001-01-01T00:00:00Z", "{(NOON + timedelta(hours=1)).isoformat()}"]]'
    dialogue = Dialogue(lock_devices=[device_row(other_spans=spans)])
    assert dialogue.run(submission(update())) == [["rejected:outside_assignment"]]
    assert list(dialogue.said) == ["fence", "lock_devices", "append_rejections"]
