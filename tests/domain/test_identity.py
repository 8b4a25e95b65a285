"""Which external ids are the same."""

from __future__ import annotations

import pytest

from domain.identity import external_key


@pytest.mark.parametrize(
    ("one", "other", "is_vin", "same"),
    [
        (" X1", "X1", False, True),
        ("X1\u00a0", "X1", False, True),
        ("x1", "X1", False, False),
        ("x1", "X1 ", True, True),
        ("é", "É", True, False),  # a VIN is ASCII; PostgreSQL's upper() must agree
        ("X 1", "X1", True, False),
    ],
)
def test_ids_are_compared_by_their_keys(one: str, other: str, is_vin: bool, same: bool) -> None:
    assert (external_key(one, is_vin=is_vin) == external_key(other, is_vin=is_vin)) == same
