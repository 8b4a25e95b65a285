"""The simulator's README and help name every fault."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from simulator.faults import Faults, describe_faults
from simulator.quirks import Quirk

README = (Path(__file__).parents[2] / "simulator/README.md").read_text()
# A flag that ends so says when, how long or how far; --help explains it.
PARTS = ("rhythm_every", "_seconds", "_for", "_after", "_age", "_abrupt", "_at")


def test_the_readme_names_every_fault() -> None:
    whole = [one.name for one in fields(Faults) if not one.name.endswith(PARTS)]
    assert [name for name in whole if name not in README] == []


def test_the_help_names_every_quirk() -> None:
    described = describe_faults()
    assert [quirk for quirk in Quirk if f"{quirk} (fraction): " not in described] == []
