"""The gate to core reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.cutover import NEW_CUTOVER, ReadOwner
from domain.parity import ParityCounts, ParityVerdict
from domain.parity_gate import GateSettings, passes_gate, refuse_gate, view_gate

GATE = GateSettings()


def cycle(equal: int, different: int = 0, incomparable: int = 0) -> ParityCounts:
    by_verdict = {
        ParityVerdict.EQUAL: equal,
        ParityVerdict.DIFFERENT: different,
        ParityVerdict.INCOMPARABLE: incomparable,
    }
    return ParityCounts(equal + different + incomparable, by_verdict)


@pytest.mark.parametrize("before", ReadOwner)
@pytest.mark.parametrize("after", ReadOwner)
def test_only_the_way_to_core_reads_leads_through_the_gate(
    before: ReadOwner, after: ReadOwner
) -> None:
    stored, wanted = (replace(NEW_CUTOVER, read_owner=owner) for owner in (before, after))
    assert passes_gate(stored, wanted) == ((before, after) == (ReadOwner.LEGACY, ReadOwner.CORE))


@pytest.mark.parametrize(
    ("cycles", "is_open"),
    [
        ([cycle(100)] * 12, True),
        ([cycle(100)] * 11, False),
        ([cycle(99, 1)] * 12, True),  # 1 %, exactly
        ([cycle(99, 1)] * 11 + [cycle(98, 2)], False),
        ([cycle(88, 12)] + [cycle(100)] * 11, True),  # 12 of 1,200
        ([cycle(87, 13)] + [cycle(100)] * 11, False),
        ([cycle(90, 0, 10)] * 12, True),  # 90 % comparable, exactly
        ([cycle(100)] * 11 + [cycle(89, 0, 11)], False),
        ([cycle(100)] * 12 + [cycle(0, 100)], True),  # a thirteenth is not looked at
        ([cycle(0)] * 12, False),  # no devices
        ([], False),
    ],
)
def test_the_gate_opens_on_twelve_comparable_cycles(
    cycles: list[ParityCounts], is_open: bool
) -> None:
    view = view_gate(cycles, GATE)
    assert view.is_open == is_open
    assert (refuse_gate(view, GATE) is None) == is_open


def test_a_shut_gate_says_the_numbers_and_the_way_out() -> None:
    view = view_gate([cycle(90, 10)] * 12 + [cycle(1)], GATE)
    refusal = refuse_gate(view, GATE)
    assert refusal is not None
    assert refusal.rule == "parity-gate"
    for words in ("12 cycles", "12 of them comparable", "10.00%", "both_shadow", "force"):
        assert words in refusal.detail
