"""Lines on stderr that say how far a long run is. Owns the clock of the run and nothing else."""

from __future__ import annotations

import sys
from time import monotonic
from typing import Final

TELL_EVERY_SECONDS: Final = 30.0


class Progress:
    """Tells acts as they begin, each once, and a count now and then."""

    def __init__(self) -> None:
        self._began = self._told_at = monotonic()
        self._acts: set[str] = set()

    def tell(self, text: str) -> None:
        self._told_at = monotonic()
        print(f"{self._told_at - self._began:5.0f} s  {text}", file=sys.stderr, flush=True)

    def begin(self, act: str) -> None:
        """Tell that an act begins, unless that was told before, for another workspace."""
        if act not in self._acts:
            self._acts.add(act)
            self.tell(act)

    def count(self, text: str) -> None:
        """Tell this if nothing was told for half a minute."""
        if monotonic() - self._told_at >= TELL_EVERY_SECONDS:
            self.tell(text)
