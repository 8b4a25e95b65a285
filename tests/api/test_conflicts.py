"""The place of a conflict's field in the body."""

from __future__ import annotations

import pytest

from api.conflicts import locate_conflict
from api.shapes import Overrides
from domain.registry import Conflict


@pytest.mark.parametrize(
    ("field", "within", "pointer"),
    [
        ("external_id", "", "/external_id"),
        ("external_id", "/devices/7", "/devices/7/external_id"),
        ("grace_seconds", "", "/overrides/grace_seconds"),
        ("grace_seconds", "/devices/7", "/devices/7/overrides/grace_seconds"),
    ],
)
def test_a_conflict_points_to_its_field(field: str, within: str, pointer: str) -> None:
    conflict = Conflict("must be above 0", field)
    fault = locate_conflict(conflict, group="overrides", members=Overrides, within=within)
    assert (fault.detail, fault.pointer) == ("must be above 0", pointer)
