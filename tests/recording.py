"""Measures that keep what they are told, for tests of the parts that report."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

from runtime.measures import Measures


class Told(NamedTuple):
    """One figure with its labels."""

    name: str
    value: float
    labels: tuple[str, ...]


class Recording:
    """What was reported, oldest first. `measures` is for the part under test."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        observes: Any = {one.name: partial(self._keep, one.name) for one in fields(Measures)}
        self.measures = Measures(**observes)

    def of(self, name: str) -> list[Told]:
        return [one for one in self.told if one.name == name]

    def labels_of(self, name: str) -> list[tuple[str, ...]]:
        return [one.labels for one in self.of(name)]

    def _keep(self, name: str, value: float, /, *labels: str) -> None:
        self.told.append(Told(name, value, labels))
