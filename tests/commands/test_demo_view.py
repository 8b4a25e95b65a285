"""What the demo says at the end, and with which exit code."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from lastheard.demo_view import DemoView, WorkspaceWatch
from lastheard.tables import STATES

FRAMES = {"received": 5, "merged": 3, "ignored": 1, "malformed": 1, "pending": 0}
UPDATES = {"submitted": 3, "outcomes": {"accepted": 2, "stale": 1}, "pending": 0, "by_resource": {}}


def service(**changes: Any) -> Any:
    """As much of a service as the verdict is about."""
    frames, updates = Counter(changes.get("frames", FRAMES)), changes.get("updates", UPDATES)
    shard = SimpleNamespace(frames=lambda: frames, frames_of=lambda _workspace: frames)
    return SimpleNamespace(
        shard=shard, ingest=SimpleNamespace(statistics=lambda: SimpleNamespace(**updates))
    )


def watch(states: tuple[str, ...] = STATES, *, cycles: int = 1) -> WorkspaceWatch:
    seen = WorkspaceWatch(["harbour"], datetime(2026, 5, 1, tzinfo=UTC))
    seen.seen.update(states)
    seen.cycles["harbour"]["completed"] = cycles
    return seen


@pytest.mark.parametrize(
    ("seen", "counted", "terms", "code", "words"),
    [
        (watch(), service(), {}, 0, "everything holds"),
        (watch(STATES[1:]), service(), {}, 1, f"should have occurred: {STATES[0]}"),
        (watch(STATES[1:]), service(), {"wants_states": False}, 0, "everything holds"),
        (watch(cycles=0), service(), {}, 1, "no completed cycle in: harbour"),
        (watch(cycles=0), service(), {"in_full": False, "wants_states": False}, 0, "(ended early)"),
        (watch(), service(), {"lacks_story": True}, 1, "the cutover should have come to its end"),
        (watch(), service(frames=FRAMES | {"merged": 2}), {}, 1, "DOES NOT HOLD"),
        (watch(), service(updates=UPDATES | {"pending": 1}), {}, 1, "DOES NOT HOLD"),
    ],
)
def test_it_ends_well_if_all_holds_and_names_what_does_not(
    capsys: pytest.CaptureFixture[str],
    seen: WorkspaceWatch,
    counted: Any,
    terms: dict[str, bool],
    code: int,
    words: str,
) -> None:
    assert (
        DemoView().conclude(seen, counted, **{"in_full": True, "wants_states": True} | terms)
        == code
    )
    assert words in capsys.readouterr().out
